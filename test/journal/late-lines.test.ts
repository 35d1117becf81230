/** What a stale writer appends after another has taken over is read by nobody (J8). */
import { describe, expect, test } from 'vitest';
import { findRecordsSince } from '../../src/agent/control/records-since.ts';
import { createReceiptSource } from '../../src/agent/hub/receipt-source.ts';
import type { Journal } from '../../src/journal/journal.ts';
import { JournalReader } from '../../src/journal/reader.ts';
import { tailJournal } from '../../src/journal/tail.ts';
import { verifyJournal } from '../../src/journal/verify.ts';
import type { OpRecord, OpRecordDraft } from '../../src/reconcile/op.ts';
import { opId, opStory, startOn, tickingClock } from '../support/journal-script.ts';
import { MemoryDisk } from '../support/memory-disk.ts';

const FIRST = '00000001.jsonl';
const signal = new AbortController().signal;

interface TakenOver {
  readonly disk: MemoryDisk;
  readonly reader: JournalReader;
  readonly journal: Journal;
}

/** `early` by the first writer; then another takes over, and `late` comes from the first one. */
async function takeOver(
  early: readonly OpRecordDraft[],
  late: readonly OpRecordDraft[],
): Promise<TakenOver> {
  const disk = new MemoryDisk();
  const stale = await startOn(disk, { segmentBytes: 65_536 });
  for (const record of early) await stale.ledger.append(record);
  const journal = await startOn(disk, { isTakeover: true });
  for (const record of late) await stale.ledger.append(record);
  return { disk, reader: new JournalReader(disk), journal };
}

const endsOf = async ({ reader, journal }: TakenOver, afterSeq = 0): Promise<readonly string[]> => {
  const source = createReceiptSource(reader, journal.ledger);
  const untilSeq = journal.stats().nextSeq - 1;
  const { ends, lost } = await source.readEnds({ afterSeq, untilSeq });
  expect(lost).toBe(0);
  return ends.map(({ seq, state }) => `${seq} ${state}`);
};

/** `received` and `started`, and what ends it. */
const [received, started, succeeded] = opStory(1, { origin: 'hub', task: false });
const [, , failed] = opStory(1, { origin: 'hub', task: false, end: 'failed' });
if (!received || !started || !succeeded || !failed) throw new TypeError('a story has records');

describe('a late end', async () => {
  const taken = await takeOver([received, started], [succeeded]);
  const { reader, journal } = taken;

  test('is not the op’s, wherever it is read', async () => {
    expect(await reader.listOps()).toMatchObject([{ op_id: opId(1), state: 'started' }]);
    const found = await reader.readOp(opId(1));
    expect(found.kind === 'found' && found.records.map(({ state }) => state)).toEqual([
      'received',
      'started',
    ]);
    expect(await endsOf(taken)).toEqual([]);
  });

  test('is not told beside the true one', async () => {
    await journal.ledger.append(failed);
    expect(await reader.listOps()).toMatchObject([{ state: 'failed' }]);
    const found = await reader.readOp(opId(1));
    const story = ['2 received', '3 started', '5 failed'];
    expect(found.kind === 'found' && found.records.map((op) => `${op.seq} ${op.state}`)).toEqual(
      story,
    );
    const request = { seq: 0, missing: 10, clock: tickingClock(), signal };
    const missed = await findRecordsSince(reader, request);
    const records: OpRecord[] = [];
    for await (const piece of missed ?? []) records.push(...piece);
    expect(records.map((op) => `${op.seq} ${op.state}`)).toEqual(story);
    expect(await endsOf(taken, 3)).toEqual(['5 failed']);
  });

  test('is not in the tail, which goes on in the next segment', async () => {
    const seqs: number[] = [];
    const request = { lines: 1_000, follow: false, clock: tickingClock(), signal };
    for await (const { record } of tailJournal(reader, request)) {
      if ('seq' in record) seqs.push(record.seq);
    }
    expect(seqs).toEqual([1, 2, 3, 4, 5]);
  });

  test('is a notice of verifying', async () => {
    const { ok, notices } = await verifyJournal(reader);
    const message = '1 late lines of a stale writer; they do not count';
    expect({ ok, notices }).toEqual({
      ok: true,
      notices: [{ segment: FIRST, line: 6, rule: 'J8', message }],
    });
  });
});

test('a late beginning does not hide the end that the hub is owed', async () => {
  const again = { ...started, attempt: 2 };
  const taken = await takeOver([received, started, failed], [again]);
  expect(await taken.reader.listOps()).toMatchObject([{ state: 'failed', attempt: 1 }]);
  expect(await endsOf(taken)).toEqual(['4 failed']);
});

test('the hub is not told of a late end either where the damaged line before it hides that it is late', async () => {
  const { disk, journal } = await takeOver([received, started], [succeeded]);
  const bytes = disk.files().get(FIRST) ?? Buffer.alloc(0);
  // In the sum of the line that the next segment follows from.
  const link = bytes.lastIndexOf('\n', bytes.lastIndexOf('\n') - 1);
  bytes.write(bytes[link - 3] === 0x30 ? '1' : '0', link - 3);
  const reader = new JournalReader(MemoryDisk.of(new Map(disk.files()).set(FIRST, bytes)));
  expect((await verifyJournal(reader)).problems.map(({ rule }) => rule)).toContain('J10');
  const source = createReceiptSource(reader, journal.ledger);
  expect(await source.readEnds({ afterSeq: 0, untilSeq: 4 })).toMatchObject({ ends: [] });
});

test('a line that is late to a segment twice taken over is as late as any', async () => {
  const disk = new MemoryDisk();
  const stale = await startOn(disk, { segmentBytes: 65_536 });
  for (const record of [received, started]) await stale.ledger.append(record);
  await startOn(disk, { isTakeover: true });
  const journal = await startOn(disk, { isTakeover: true });
  await stale.ledger.append(succeeded);
  expect(await new JournalReader(disk).listOps()).toMatchObject([{ state: 'started' }]);
  await journal.close();
});
