/** What the journal remembers of a guest beside its ops: its newest task, starts, and since when. */
import { expect, test } from 'vitest';
import {
  HMAC,
  opStory,
  START_MS,
  startOn,
  tickingClock,
  upid,
  vmid,
} from '../support/journal-script.ts';
import { MemoryDisk } from '../support/memory-disk.ts';

const MINUTE_MS = 60_000;

test('the newest UPID is the one that began last, in whatever order they are found', async () => {
  const journal = await startOn(new MemoryDisk());
  for (const number of [5, 9, 7]) {
    await journal.ledger.note({ kind: 'late_effect', vmid: vmid(101), upid: upid(number) });
  }
  expect(journal.ledger.lastUpid(vmid(101))).toBe(upid(9));
  await journal.close();
});

test('a start that somebody asked for is remembered as one, and is none that the guest needed', async () => {
  const disk = new MemoryDisk();
  const clock = tickingClock();
  const journal = await startOn(disk, { clock });
  for (const record of opStory(1, { origin: 'hub' })) await journal.ledger.append(record);
  await journal.close();
  // A segment that only restates it.
  const reopened = await startOn(disk, { clock, isTakeover: true });
  expect(reopened.ledger.recentStarts(vmid(101))).toEqual([]);
  expect(reopened.ledger.wasStartedLately(vmid(101))).toBe(true);
  clock.advance(10 * MINUTE_MS);
  expect(reopened.ledger.wasStartedLately(vmid(101))).toBe(false);
  await reopened.close();
});

test('starts count for ten minutes, and no longer once somebody has looked', async () => {
  const clock = tickingClock();
  const journal = await startOn(new MemoryDisk(), { clock });
  for (const record of opStory(1)) await journal.ledger.append(record);
  clock.advance(5 * MINUTE_MS);
  for (const record of opStory(2)) await journal.ledger.append(record);
  expect(journal.ledger.recentStarts(vmid(101))).toHaveLength(2);
  clock.advance(5 * MINUTE_MS);
  expect(journal.ledger.recentStarts(vmid(101))).toHaveLength(1);
  await journal.ledger.note({ kind: 'resume_guest', vmid: vmid(101) });
  expect(journal.ledger.recentStarts(vmid(101))).toHaveLength(0);
  await journal.close();
});

test('what is remembered of a guest dates from its oldest, until it is forgotten', async () => {
  const clock = tickingClock();
  const disk = new MemoryDisk();
  const id = vmid(101);
  const first = await startOn(disk, { clock });
  const { ledger } = first;
  expect(ledger.rememberedSince(id)).toBeNull();
  await ledger.note({ kind: 'initial_done', vmid: id });
  const sinceMs = ledger.rememberedSince(id) ?? 0;
  expect(Math.abs(sinceMs - START_MS)).toBeLessThan(1_000);
  clock.advance(MINUTE_MS);
  await ledger.note({ kind: 'secret_applied', vmid: id, key: 'cipassword', hash: HMAC });
  for (const record of opStory(1)) await ledger.append(record);
  expect(ledger.rememberedSince(id)).toBe(sinceMs);
  await first.close();
  const second = await startOn(disk, { clock, isTakeover: true });
  expect(second.ledger.rememberedSince(id)).toBe(sinceMs);
  await second.ledger.note({ kind: 'forget_guest', vmid: id });
  expect(second.ledger.rememberedSince(id)).toBeNull();
  await second.ledger.note({ kind: 'hold', hold: { vmid: id, untilMs: null, reason: 'by hand' } });
  expect(second.ledger.rememberedSince(id)).toBeGreaterThan(START_MS + MINUTE_MS / 2);
  await second.close();
});

test('starts are remembered for as long as they count', async () => {
  const clock = tickingClock();
  const journal = await startOn(new MemoryDisk(), { clock });
  for (const record of opStory(1)) await journal.ledger.append(record);
  expect(journal.ledger.rememberedSince(vmid(101))).not.toBeNull();
  clock.advance(11 * MINUTE_MS);
  expect(journal.ledger.rememberedSince(vmid(101))).toBeNull();
  await journal.close();
});
