import { describe, expect, test } from 'vitest';
import type { StartOptions } from '../../src/journal/journal.ts';
import { JournalReader } from '../../src/journal/reader.ts';
import { segmentNumbers } from '../../src/journal/segments.ts';
import { verifyJournal } from '../../src/journal/verify.ts';
import { type Problem, ReconcilerError } from '../../src/reconcile/errors.ts';
import { NOTES, opId, opStory, startOn, tickingClock, vmid } from '../support/journal-script.ts';
import { type DiskCall, MemoryDisk } from '../support/memory-disk.ts';

const DAY_MS = 86_400_000;

function starts(from: number, count: number): ReturnType<typeof opStory> {
  return Array.from({ length: count }, (_, index) => opStory(from + index, { end: null })).map(
    ([first]) => first ?? fail(),
  );
}

function fail(): never {
  throw new TypeError('a story has records');
}

/** Counts the calls of a kind from now on. */
function countCalls(disk: MemoryDisk, wanted: DiskCall): () => number {
  let count = 0;
  disk.faults = ({ kind }) => {
    if (kind === wanted) count += 1;
    return null;
  };
  return () => count;
}

test('what is appended together shares one write and one sync, in the order of the calls', async () => {
  const disk = new MemoryDisk();
  const journal = await startOn(disk, { segmentBytes: 1024 * 1024 });
  const syncs = countCalls(disk, 'sync');
  const records = await Promise.all(starts(1, 200).map((draft) => journal.ledger.append(draft)));
  expect(syncs()).toBe(1);
  expect(records.map(({ seq }) => seq)).toEqual(records.map((_, index) => index + 2));
  await journal.close();
});

test('what is appended while a sync runs shares the next one', async () => {
  const disk = new MemoryDisk();
  const journal = await startOn(disk, { segmentBytes: 1024 * 1024 });
  const [first = fail(), ...others] = starts(1, 40);
  const late: Promise<unknown>[] = [];
  let syncs = 0;
  disk.faults = ({ kind }) => {
    if (kind !== 'sync') return null;
    syncs += 1;
    if (syncs === 1) late.push(...others.map((draft) => journal.ledger.append(draft)));
    return null;
  };
  await journal.ledger.append(first);
  await Promise.all(late);
  expect(syncs).toBe(2);
  await journal.close();
});

describe.each(['append', 'sync'] as const)('a failed %s', (failing) => {
  test('poisons for good: all that waits and all that comes is rejected, nothing is written', async () => {
    const halts: ReconcilerError[] = [];
    const disk = new MemoryDisk();
    const journal = await startOn(disk, { onHalt: (error) => halts.push(error) });
    let hasFailed = false;
    disk.faults = ({ kind }) => {
      if (hasFailed || kind !== failing) return null;
      hasFailed = true;
      return 'EIO';
    };
    const results = await Promise.allSettled([
      ...starts(1, 3).map((draft) => journal.ledger.append(draft)),
      ...NOTES.slice(0, 2).map((note) => journal.ledger.note(note)),
    ]);
    const files = disk.files();
    const poisoned = { code: 'journal_poisoned', disposition: 'halt' };
    expect(results.map(({ status }) => status)).not.toContain('fulfilled');
    await expect(journal.ledger.append(starts(9, 1)[0] ?? fail())).rejects.toMatchObject(poisoned);
    await expect(journal.flushed()).rejects.toMatchObject(poisoned);
    expect(() => journal.assertStillOwner()).toThrow('journal_poisoned');
    expect(halts).toMatchObject([poisoned]);
    await journal.close();
    expect(disk.files()).toEqual(files);
  });
});

test('a write that fails before a change of segment fails what waits behind that, too', async () => {
  const disk = new MemoryDisk();
  const journal = await startOn(disk, { segmentBytes: 1024 });
  disk.faults = ({ kind }) => (kind === 'append' ? 'EIO' : null);
  const drafts = starts(1, 12);
  const results = await Promise.allSettled(drafts.map((draft) => journal.ledger.append(draft)));
  expect(journal.stats().segment).toBeGreaterThan(1);
  expect(results.map(({ status }) => status)).toEqual(drafts.map(() => 'rejected'));
  expect(disk.files().has('00000002.jsonl')).toBe(false);
  await journal.close();
});

test('what was appended is durable once all is flushed', async () => {
  const disk = new MemoryDisk();
  const journal = await startOn(disk);
  const appended = starts(1, 3).map((draft) => journal.ledger.append(draft));
  await journal.flushed();
  const left = await startOn(disk.afterPowerLoss(() => 0));
  expect(left.ledger.opsInFlight()).toHaveLength(3);
  await Promise.all(appended);
  await Promise.all([journal.close(), left.close()]);
});

test('a writer whose lock is lost halts before it writes', async () => {
  const lost = new ReconcilerError('journal_locked', 'lost', { disposition: 'halt' });
  let isLost = false;
  const disk = new MemoryDisk();
  const journal = await startOn(disk, {
    assertStillOwner: () => {
      if (isLost) throw lost;
    },
  });
  isLost = true;
  const files = disk.files();
  await expect(journal.ledger.append(starts(1, 1)[0] ?? fail())).rejects.toBe(lost);
  expect(disk.files()).toEqual(files);
  await journal.close();
});

test('a closed journal takes nothing more', async () => {
  const journal = await startOn(new MemoryDisk());
  await journal.close();
  await expect(journal.ledger.append(starts(1, 1)[0] ?? fail())).rejects.toThrow('closed');
});

describe('at a change of segment,', () => {
  const HOUR_MS = 3_600_000;
  /** Some of them bring what follows to the end of the segment. */
  const PADS = Array.from({ length: 20 }, (_, pad) => pad);

  /** A hub's op just about to fail, its key past its time, behind so many records. */
  async function openBefore(pad: number) {
    const [disk, clock] = [new MemoryDisk(), tickingClock()];
    const journal = await startOn(disk, { clock, segmentBytes: 4096 });
    const story = opStory(1, { origin: 'hub', end: 'failed' });
    const failed = story.pop() ?? fail();
    for (const record of story) await journal.ledger.append(record);
    clock.advance(2 * HOUR_MS);
    const note = NOTES[0] ?? fail();
    for (let index = 0; index < pad; index++) await journal.ledger.note(note);
    const { upid: _, error: __, ...base } = failed;
    const again = { ...base, state: 'started', attempt: 2 } as const;
    return { disk, clock, journal, failed, again };
  }

  test('what belongs together is one write: who is killed after its first record has both', async () => {
    const segments = new Set<number>();
    for (const pad of PADS) {
      const { disk, clock, journal, failed, again } = await openBefore(pad);
      const { ledger } = journal;
      const one = () => ledger.together(() => ledger.append(failed));
      const [first, second] = ledger.together(() => [one(), ledger.append(again)]);
      await first;
      const left = await startOn(disk.afterKill(), { clock });
      expect(left.ledger.opsInFlight()).toMatchObject([
        { latest: { state: 'started', attempt: 2 } },
      ]);
      await second;
      segments.add(journal.stats().segment);
    }
    expect(segments).toEqual(new Set([1, 2]));
  });

  test('a record that may not follow what is restated is refused, and what is there is sound', async () => {
    let refused = 0;
    for (const pad of PADS) {
      const { disk, clock, journal, failed, again } = await openBefore(pad);
      await journal.ledger.append(failed);
      const outcome = await journal.ledger.append(again).catch((error: unknown) => error);
      if (outcome instanceof ReconcilerError) refused += 1;
      await journal.close();
      expect(await verifyJournal(new JournalReader(disk))).toMatchObject({ ok: true });
      await (await startOn(disk, { clock })).close();
    }
    expect(refused).toBeGreaterThan(0);
    expect(refused).toBeLessThan(PADS.length);
  });
});

test('a batch that is full takes what belongs together all the same', async () => {
  const disk = new MemoryDisk();
  const { ledger } = await startOn(disk, { segmentBytes: 1024 * 1024 });
  const reason = 'x'.repeat(100_000);
  const syncs = countCalls(disk, 'sync');
  const note = () => ledger.note({ kind: 'pause', pause: { untilMs: null, reason } });
  await Promise.all(ledger.together(() => [note(), note()]));
  expect(syncs()).toBe(1);
  await Promise.all([note(), note()]);
  expect(syncs()).toBe(3);
});

describe('segments', () => {
  const namesOf = (disk: MemoryDisk): string[] =>
    [...disk.files().keys()].filter((name) => name.endsWith('.jsonl')).sort();

  test('are about as long as asked for, and the newest ones are kept', async () => {
    const disk = new MemoryDisk();
    const journal = await startOn(disk, { segmentBytes: 4096, keepSegments: 3 });
    for (let op = 1; op <= 60; op++) {
      for (const record of opStory(op)) await journal.ledger.append(record);
    }
    await journal.close();
    expect(namesOf(disk)).toHaveLength(3);
    const sizes = namesOf(disk).map((name) => disk.files().get(name)?.length ?? 0);
    for (const size of sizes.slice(0, -1)) expect(size).toSatisfy(between(3000, 4097));
    expect((await verifyJournal(new JournalReader(disk))).problems).toEqual([]);
  });

  test('are no longer than 2 MiB where the writer rests between records, and full where it does not', async () => {
    const long = (op: number) =>
      opStory(op).map((record) => ({ ...record, exit_status: 'x'.repeat(50_000) }));
    const stories = Array.from({ length: 32 }, (_, index) => long(index + 1));
    const settings = { segmentBytes: 16 * 1024 * 1024, keepSegments: 1 };
    const disk = new MemoryDisk();
    const resting = await startOn(disk, settings);
    for (let op = 1; op <= 160; op++) {
      for (const record of long(op)) await resting.ledger.append(record);
    }
    const sizes = namesOf(disk).map((name) => disk.files().get(name)?.length ?? 0);
    for (const size of sizes.slice(0, -1)) expect(size).toSatisfy(between(1.8e6, 2 * 1024 ** 2));
    // Together they are one full one; of 24 MB the older ones are gone.
    const kept = sizes.reduce((total, size) => total + size, 0);
    expect(kept).toSatisfy(between(14e6, 16 * 1024 ** 2));
    const busy = await startOn(new MemoryDisk(), settings);
    await Promise.all(stories.flat().map((record) => busy.ledger.append(record)));
    expect(busy.stats()).toMatchObject({ segment: 1 });
    await Promise.all([resting.close(), busy.close()]);
  });

  test('that restate much hold at least as much news', async () => {
    const disk = new MemoryDisk();
    const journal = await startOn(disk, { segmentBytes: 4096 });
    for (const record of starts(1, 400)) await journal.ledger.append(record);
    await journal.close();
    // Not one for every few records, though all ops are in flight and restated each time.
    expect(namesOf(disk).length).toBeLessThan(15);
    const reopened = await startOn(disk);
    expect(reopened.ledger.opsInFlight()).toHaveLength(400);
    await reopened.close();
  });

  test('older than they are to be kept go when the next one is begun, torn ends with them', async () => {
    const clock = tickingClock();
    const disk = new MemoryDisk();
    const options = { clock, segmentBytes: 1024, keepForMs: DAY_MS };
    const journal = await startOn(disk, options);
    for (const record of opStory(1)) await journal.ledger.append(record);
    const old = namesOf(disk);
    const torn = await disk.create('00000001.torn');
    await torn.append(Buffer.from('x'));
    clock.advance(2 * DAY_MS);
    for (const record of [...opStory(2), ...opStory(3), ...opStory(4)]) {
      await journal.ledger.append(record);
    }
    await journal.close();
    // The last of the old ones ends with records of two days later.
    expect(old.slice(0, -1).filter((name) => disk.files().has(name))).toEqual([]);
    expect(disk.files().has('00000001.torn')).toBe(false);
    expect((await verifyJournal(new JournalReader(disk))).problems).toEqual([]);
  });

  /** What is left of the segments of an op a start, each a day later, none closed. */
  async function afterStarts(starts: number, options: Partial<StartOptions>): Promise<number[]> {
    const clock = tickingClock();
    const disk = new MemoryDisk();
    for (let start = 1; start <= starts; start++) {
      const journal = await startOn(disk, { clock, isTakeover: start > 1, ...options });
      if (start === 1) await journal.ledger.note({ kind: 'receipt_acked', recordSeq: 0 });
      if (start === 6) await journal.ledger.note({ kind: 'receipt_acked', recordSeq: 10 });
      for (const record of opStory(start)) await journal.ledger.append(record);
      clock.advance(DAY_MS);
    }
    expect((await verifyJournal(new JournalReader(disk))).problems).toEqual([]);
    return namesOf(disk).map((name) => Number.parseInt(name, 10));
  }

  test.each([
    ['a sector that cannot be read', 'read', 'EIO', 'journal_corrupt'],
    ['a folder that gives nothing up', 'remove', 'EPERM', 'forbidden'],
  ] as const)('stay for %s, which is told and stops nobody', async (_, failing, fault, code) => {
    const disk = new MemoryDisk();
    const problems: Problem[] = [];
    const journal = await startOn(disk, {
      segmentBytes: 1024,
      keepSegments: 1,
      onProblem: (problem) => problems.push(problem),
    });
    disk.faults = ({ kind }) => (kind === failing ? fault : null);
    for (let op = 1; op <= 4; op++) {
      for (const record of opStory(op)) await journal.ledger.append(record);
    }
    await journal.close();
    const message = expect.stringContaining('old segments stay');
    expect(problems[0]).toEqual({ code, message });
    disk.faults = () => null;
    expect(segmentNumbers(await disk.list()).length).toBeGreaterThan(2);
    expect(await verifyJournal(new JournalReader(disk))).toMatchObject({ ok: true });
  });

  test('with records that the hub has not acknowledged stay, however many and old', async () => {
    const few = { keepSegments: 2 };
    const young = { keepForMs: 1.5 * DAY_MS };
    expect(await afterStarts(5, { keepSegments: 1 })).toEqual([5]);
    expect(await afterStarts(5, few)).toEqual([4, 5]);
    expect(await afterStarts(5, young)).toEqual([3, 4, 5]);
    expect(await afterStarts(5, { ...few, keepUnacked: true })).toEqual([1, 2, 3, 4, 5]);
    expect(await afterStarts(5, { ...young, keepUnacked: true })).toEqual([1, 2, 3, 4, 5]);
    // Record 10 is the first in segment 3.
    expect(await afterStarts(7, { ...few, keepUnacked: true })).toEqual([3, 4, 5, 6, 7]);
  });

  test('with records that the hub has not acknowledged have room for so many, and no more', async () => {
    const owing = { keepUnacked: true, keepSegments: 1 };
    expect(await afterStarts(5, { ...owing, segmentBytes: 4096 })).toEqual([3, 4, 5]);
    expect(await afterStarts(18, { ...owing, segmentBytes: 1024 * 1024 })).toHaveLength(16);
  });

  function between(low: number, high: number): (value: number) => boolean {
    return (value) => value >= low && value <= high;
  }
});

test('a sum that was restated is the sum of the record', async () => {
  const disk = new MemoryDisk();
  const journal = await startOn(disk);
  const { sum } = { sum: '', ...(await journal.ledger.append(starts(1, 1)[0] ?? fail())) };
  await journal.close();
  const again = await startOn(disk, { isTakeover: true });
  expect(again.ledger.findOp(opId(1))?.latest).toMatchObject({ sum, vmid: vmid(101) });
  await again.close();
});
