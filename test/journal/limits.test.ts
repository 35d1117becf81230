/** What is kept of ops is kept for as long as somebody needs it, and bounded. */
import { expect, test } from 'vitest';
import { KEYS_MAX, OPS_OPEN_MAX, OpBook } from '../../src/journal/op-book.ts';
import type { SealedOp } from '../../src/journal/op-record.ts';
import type { OpRecordDraft } from '../../src/reconcile/op.ts';
import { opId, opStory, START_MS, startOn, tickingClock } from '../support/journal-script.ts';
import { MemoryDisk } from '../support/memory-disk.ts';

const HOUR_MS = 3_600_000;
/** The keys of opStory are good for an hour. */
const OVER_MS = START_MS + HOUR_MS + 120_001;

const MIB = 1024 * 1024;

const [RECEIVED] = opStory(1, { origin: 'hub' });

/** The one record that is left of an op that never began. */
function ended(number: number): SealedOp {
  if (RECEIVED === undefined) throw new Error('a story has a beginning');
  return {
    ...RECEIVED,
    type: 'op',
    seq: number,
    at: new Date(START_MS).toISOString(),
    sum: '0'.repeat(32),
    op_id: opId(number),
    idemp_key: `key-${number}`,
    state: 'failed',
  };
}

test('beyond the bound a new key is refused until others are past their time', () => {
  const book = new OpBook();
  for (let number = 1; number <= KEYS_MAX; number++) book.restore([ended(number)]);
  const next = { ...ended(KEYS_MAX + 1), state: 'received' } as const;
  expect(book.refuse(next, START_MS)).toMatchObject({ rule: 'limit' });
  expect(book.refuse({ ...next, idemp_key: 'key-1' }, START_MS)).toMatchObject({ rule: 'J6' });
  // Nothing was written meanwhile, and no segment begun: asking is enough.
  expect(book.refuse(next, OVER_MS)).toBeNull();
  expect(book.findKey('key-1', START_MS)).toBeNull();
});

test('a key that is given again once it is over is that of the op that has it now', async () => {
  const clock = tickingClock();
  const disk = new MemoryDisk();
  const journal = await startOn(disk, { clock, segmentBytes: MIB });
  const story = opStory(1, { origin: 'hub' });
  for (const record of story) await journal.ledger.append(record);
  clock.advance(OVER_MS - START_MS);
  const expires_at_ms = OVER_MS + HOUR_MS;
  for (const record of story) {
    const again: OpRecordDraft = { ...record, op_id: opId(2) };
    await journal.ledger.append(again.state === 'received' ? { ...again, expires_at_ms } : again);
  }
  expect(journal.ledger.findKey('key-1')).toMatchObject({ opId: opId(2) });
  await journal.close();
  clock.advance(HOUR_MS + 120_001);
  // A new segment restates neither, and says up to when keys are forgotten.
  const next = await startOn(disk, { clock, isTakeover: true });
  expect([next.ledger.findOp(opId(1)), next.ledger.findOp(opId(2))]).toEqual([null, null]);
  expect(next.ledger.findKey('key-1')).toBeNull();
  expect(next.hub().forgottenToMs).toBe(expires_at_ms);
  await next.close();
});

test('beyond the bound no op begins until another has ended', async () => {
  const journal = await startOn(new MemoryDisk(), { segmentBytes: 64 * MIB });
  const begin = async (number: number): Promise<unknown> => {
    const [started] = opStory(number, { end: null, task: false });
    return started && journal.ledger.append(started);
  };
  const numbers = Array.from({ length: OPS_OPEN_MAX }, (_, index) => index + 1);
  await Promise.all(numbers.map(begin));
  await expect(begin(OPS_OPEN_MAX + 1)).rejects.toMatchObject({
    code: 'queue_full',
    disposition: 'reject',
  });
  const [, end] = opStory(1, { task: false });
  if (end !== undefined) await journal.ledger.append(end);
  await expect(begin(OPS_OPEN_MAX + 1)).resolves.toMatchObject({ state: 'started' });
  await journal.close();
});

test('beyond the bound of what all of them set no op begins, however few they are', async () => {
  const book = new OpBook();
  const description = 'x'.repeat(4_000_000);
  const params = { set: { description }, delete: [], after: 'none' } as const;
  const op = (number: number): SealedOp => ({ ...ended(number), kind: 'set_config', params });
  let number = 1;
  for (; book.refuse({ ...op(number), state: 'received' }, START_MS) === null; number++) {
    book.restore([op(number)]);
  }
  expect(number).toBeGreaterThan(10);
  expect(book.refuse({ ...op(number), state: 'received' }, START_MS)).toMatchObject({
    rule: 'limit',
  });
  const small = { ...ended(number), state: 'received' } as const;
  expect(book.refuse(small, START_MS)).toBeNull();
  // All are past their time, and with the keys go the ops.
  book.forgetPast(OVER_MS);
  expect(book.refuse({ ...op(number), state: 'received' }, START_MS)).toBeNull();
});

test('of ended ops the last are answered for, and each part of an op in flight', async () => {
  const journal = await startOn(new MemoryDisk(), { segmentBytes: MIB });
  const { ledger } = journal;
  const whole = opStory(1, { origin: 'hub', end: null });
  const part = opStory(2).map((record) => ({ ...record, parent_op_id: opId(1) }));
  const others = Array.from({ length: 40 }, (_, index) => opStory(index + 3));
  for (const record of [whole, part, ...others].flat()) await ledger.append(record);
  expect(ledger.childrenOf(opId(1))).toMatchObject([{ opId: opId(2) }]);
  expect(ledger.findOp(opId(3))).toBeNull();
  expect(ledger.findOp(opId(42))).not.toBeNull();
  await journal.close();
});
