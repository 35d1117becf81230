/**
 * A journal of every format there ever was is read by this version, and goes on in this one's.
 * The fixtures are never made anew: what was written once must stay readable.
 */
import * as fs from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { JournalReader } from '../../src/journal/reader.ts';
import { FOLD, FORMAT } from '../../src/journal/records.ts';
import { verifyJournal } from '../../src/journal/verify.ts';
import { HMAC, opId, opStory, START_MS, startOn, upid, vmid } from '../support/journal-script.ts';
import { MemoryDisk } from '../support/memory-disk.ts';
import { linesOf, reseal } from '../support/resealed.ts';

const FIXTURES = join(import.meta.dirname, '../fixtures/journal');

function diskOf(format: string): MemoryDisk {
  const folder = join(FIXTURES, format);
  return MemoryDisk.of(
    fs.readdirSync(folder).map((name) => [name, fs.readFileSync(join(folder, name))] as const),
  );
}

test('there is a fixture of every format', () => {
  const expected = Array.from({ length: FORMAT }, (_, index) => `format-${index + 1}`);
  expect(fs.readdirSync(FIXTURES).toSorted()).toEqual(expected);
});

describe.each(fs.readdirSync(FIXTURES))('a journal of %s', (format) => {
  test('verifies, opens with all it knew, and can be written on', async () => {
    const disk = diskOf(format);
    expect((await verifyJournal(new JournalReader(disk))).problems).toEqual([]);
    const journal = await startOn(disk);
    const { ledger } = journal;
    expect(ledger.opsInFlight().map(({ opId: id }) => id)).toEqual([opId(3)]);
    expect(ledger.findKey('key-1')).toEqual({
      opId: opId(1),
      payloadHmac: HMAC,
      expiresAtMs: START_MS + 3_600_000,
    });
    expect(ledger.holds().get(vmid(101))).toMatchObject({ untilMs: null, reason: 'by hand' });
    expect(ledger.pause()).toEqual({ untilMs: START_MS + 86_400_000, reason: 'maintenance' });
    expect(ledger.isInitialDone(vmid(102))).toBe(true);
    expect(ledger.rememberedSince(vmid(102))).toBeGreaterThanOrEqual(START_MS);
    expect(ledger.lastUpid(vmid(103))).toBe(upid(9, 103));
    expect(ledger.appliedSecret(vmid(102), 'cipassword')).toBe(HMAC);
    for (const record of opStory(4)) await ledger.append(record);
    await journal.close();
    expect((await verifyJournal(new JournalReader(disk))).problems).toEqual([]);
  });
});

test('what a version with other rules has restated is taken as it is', async () => {
  const disk = new MemoryDisk();
  const journal = await startOn(disk, { segmentBytes: 1024 });
  for (const record of [...opStory(1), ...opStory(2)]) await journal.ledger.append(record);
  await journal.close();
  const segments = linesOf(disk);
  const [header, ...lines] = [...segments.values()].at(-1) ?? [];
  expect(header?.['fold']).toBe(FOLD);
  const guest = lines.find(({ type }) => type === 'live_guest');
  expect(guest).toMatchObject({ vmid: 101 });
  Object.assign(guest ?? {}, { last_upid: upid(9) });
  const verify = async () => (await verifyJournal(new JournalReader(reseal(segments)))).problems;
  expect(await verify()).toMatchObject([
    { rule: 'J10', message: expect.stringMatching('guest 101') },
  ]);
  Object.assign(header ?? {}, { fold: FOLD - 1 });
  expect(await verify()).toEqual([]);
  const next = await startOn(reseal(segments));
  expect(next.ledger.lastUpid(vmid(101))).toBe(upid(9));
  await next.close();
});

/** CONTRACT 5, read by nothing of ours but JSON.parse: as anybody else would. */
test('the bytes are those of the contract', async () => {
  const { createHash } = await import('node:crypto');
  let sum = '0'.repeat(32);
  let seq = 0;
  for (const name of [...diskOf('format-1').files().keys()].sort()) {
    if (!name.endsWith('.jsonl')) continue;
    const text = diskOf('format-1').files().get(name)?.toString() ?? '';
    expect(text.endsWith('\n')).toBe(true);
    const lines = text.slice(0, -1).split('\n');
    const types: string[] = [];
    for (const [index, line] of lines.entries()) {
      const [, body = '', stated] = /^(.*),"sum":"([0-9a-f]{32})"\}$/.exec(line) ?? [];
      const record = JSON.parse(`${body}}`);
      expect(JSON.stringify(record)).toBe(`${body}}`);
      if (index === 0) expect(record).toMatchObject({ prev_sum: sum, first_seq: seq + 1 });
      sum = createHash('sha256')
        .update(sum + body)
        .digest('hex')
        .slice(0, 32);
      expect(stated).toBe(sum);
      if ('seq' in record) expect(record.seq).toBe(++seq);
      types.push(record.type);
    }
    expect(types[0]).toBe('segment');
    expect(types.slice(0, types.indexOf('live_end'))).not.toContain('op');
  }
  expect(seq).toBeGreaterThan(10);
});
