import { describe, expect, test } from 'vitest';
import { JournalReader, openReader } from '../../src/journal/reader.ts';
import { salvage } from '../../src/journal/salvage.ts';
import { tailJournal } from '../../src/journal/tail.ts';
import { verifyJournal } from '../../src/journal/verify.ts';
import { journalOf } from '../support/journal-of.ts';
import { opId, opStory, START_MS, startOn, tickingClock, vmid } from '../support/journal-script.ts';
import { MemoryDisk } from '../support/memory-disk.ts';

const AT = '2026-03-01T13:00:00.000Z';

const numbersOf = (ops: readonly { readonly op_id: string }[]): number[] =>
  ops.map(({ op_id: id }) => Number(id));

describe('listing ops', async () => {
  const stories = Array.from({ length: 30 }, (_, index) =>
    opStory(index + 1, {
      guest: 101 + (index % 3),
      end: index % 10 === 4 ? 'failed' : index === 7 ? null : 'succeeded',
    }),
  );
  const { reader, journal } = await journalOf(stories);

  test('gives the latest record of each, newest first, across segments', async () => {
    const all = await reader.listOps();
    expect((await reader.segments()).length).toBeGreaterThan(3);
    expect(numbersOf(all)).toEqual(Array.from({ length: 30 }, (_, index) => 30 - index));
    expect(all[0]).toMatchObject({ state: 'succeeded' });
    await journal.close();
  });

  test.each([
    ['the newest', { limit: 3 }, [30, 29, 28]],
    ['those after one', { limit: 2, after: opId(20) }, [19, 18]],
    ['those of a guest', { vmid: vmid(102), limit: 2 }, [29, 26]],
    ['those that failed', { state: 'failed' as const }, [25, 15, 5]],
    ['those in flight, however old', { state: 'in_flight' as const }, [8]],
    ['those since a time', { sinceMs: START_MS + 1_000_000 }, []],
  ])('gives %s', async (_, query, expected) => {
    expect(numbersOf(await reader.listOps(query))).toEqual(expected);
  });

  test('finds an op by an unambiguous prefix, with all its records in order', async () => {
    const found = await reader.readOp(opId(7));
    expect(found).toMatchObject({ kind: 'found', opId: opId(7) });
    const states = found.kind === 'found' ? found.records.map(({ state }) => state) : [];
    expect(states).toEqual(['started', 'task_running', 'succeeded']);
    expect(await reader.readOp('00000000000000')).toMatchObject({ kind: 'ambiguous' });
    expect(await reader.readOp('zzzz')).toEqual({ kind: 'none' });
    expect(await reader.readOp('not an id')).toEqual({ kind: 'none' });
  });
});

test('an op whose first segments are gone is told as far as it is restated', async () => {
  const { reader, journal } = await journalOf(
    [opStory(1, { end: null }), ...Array.from({ length: 30 }, (_, index) => opStory(index + 2))],
    { keepSegments: 2 },
  );
  expect((await reader.segments()).length).toBe(2);
  expect(await reader.readOp(opId(1))).toMatchObject({
    kind: 'found',
    records: [{ state: 'started' }, { state: 'task_running' }],
  });
  expect(numbersOf(await reader.listOps({ state: 'in_flight' }))).toEqual([1]);
  await journal.close();
});

test('of ops that are only restated no more are listed than were asked for', async () => {
  const { disk, journal: first } = await journalOf(
    [1, 2, 3].map((op) => opStory(op, { end: null })),
  );
  await first.close();
  const journal = await startOn(disk, { isTakeover: true });
  const reader = new JournalReader(disk);
  const state = 'in_flight';
  expect(numbersOf(await reader.listOps({ state, limit: 2 }))).toEqual([3, 2]);
  expect(numbersOf(await reader.listOps({ state, limit: 2, after: opId(2) }))).toEqual([1]);
  await journal.close();
});

test('the parts of a composite op are named with it', async () => {
  const part = opStory(2).map((record) => ({ ...record, parent_op_id: opId(1) }));
  const { reader, journal } = await journalOf([opStory(1, { end: null }), part]);
  expect(await reader.readOp(opId(1))).toMatchObject({ kind: 'found', parts: [opId(2)] });
  await journal.close();
});

test("a hub's op is read back to the record that received it", async () => {
  const { reader, journal } = await journalOf([
    opStory(1),
    opStory(2, { origin: 'hub' }),
    opStory(3),
  ]);
  const found = await reader.readOp(opId(2));
  expect(found.kind === 'found' && found.records.map(({ state }) => state)).toEqual([
    'received',
    'started',
    'task_running',
    'succeeded',
  ]);
  await journal.close();
});

test('a part of an op that is lost is not named with one whose id begins alike', async () => {
  const part = opStory(2).map((record) => ({ ...record, parent_op_id: opId(11) }));
  const { reader, journal } = await journalOf([opStory(10), part]);
  const prefix = opId(10).slice(0, -1);
  expect(opId(11).startsWith(prefix)).toBe(true);
  expect(await reader.readOp(prefix)).toMatchObject({ opId: opId(10), parts: [] });
  await journal.close();
});

test('what is being written is not seen before its line is whole', async () => {
  const { disk } = await journalOf([opStory(1)]);
  const files = disk.files();
  const bytes = files.get('00000001.jsonl') ?? Buffer.alloc(0);
  const cut = new Map(files).set('00000001.jsonl', bytes.subarray(0, -20));
  const reader = new JournalReader(MemoryDisk.of(cut));
  expect(await reader.listOps()).toMatchObject([{ state: 'task_running' }]);
  expect(await verifyJournal(reader)).toMatchObject({ ok: true, notices: [{ rule: 'J4' }] });
});

test.each([
  ['no journal yet', new JournalReader(new MemoryDisk())],
  ['no folder for one', openReader('/nonexistent/state')],
])('%s reads as an empty one', async (_, reader) => {
  expect(await reader.listOps()).toEqual([]);
  expect(await reader.readOp('0')).toEqual({ kind: 'none' });
  expect(await verifyJournal(reader)).toMatchObject({ ok: true, segments: 0, records: 0 });
});

describe('the tail', () => {
  const textOf = async (reader: JournalReader, lines: number): Promise<string[]> => {
    const texts: string[] = [];
    const request = { lines, follow: false, clock: tickingClock(), signal: never };
    for await (const { text } of tailJournal(reader, request)) texts.push(text);
    return texts;
  };
  const never = new AbortController().signal;

  test('is the newest lines, from as many segments as that takes', async () => {
    const stories = Array.from({ length: 12 }, (_, index) => opStory(index + 1));
    const { disk, reader, journal } = await journalOf(stories);
    await journal.close();
    const lines = [...disk.files()]
      .filter(([name]) => name.endsWith('.jsonl'))
      .flatMap(([, bytes]) => bytes.toString().trimEnd().split('\n'));
    expect(await textOf(reader, 10)).toEqual(lines.slice(-10));
    expect(await textOf(reader, 1000)).toEqual(lines);
    expect(await textOf(reader, 0)).toEqual([]);
  });

  test('goes on as lines are written, over every change of segment, missing none', async () => {
    const { reader, journal } = await journalOf([opStory(1)]);
    const aborter = new AbortController();
    const clock = tickingClock();
    // Whenever it waits, something is appended.
    const later = Array.from({ length: 20 }, (_, index) => opStory(index + 2)).flat();
    const sleep = async (): Promise<void> => {
      const next = later.splice(0, 4);
      if (next.length === 0) aborter.abort();
      for (const record of next) await journal.ledger.append(record);
    };
    const seqs: number[] = [];
    const request = { lines: 0, follow: true, clock: { ...clock, sleep }, signal: aborter.signal };
    for await (const { record } of tailJournal(reader, request)) {
      if ('seq' in record) seqs.push(record.seq);
    }
    expect((await reader.segments()).length).toBeGreaterThan(5);
    expect(seqs).toEqual(Array.from({ length: 60 }, (_, index) => index + 5));
    await journal.close();
  });
});

test('a late line of a stale writer is reported, and counts for nothing', async () => {
  const { disk, journal: stale } = await journalOf([opStory(1)], { segmentBytes: 65_536 });
  const journal = await startOn(disk, { isTakeover: true });
  // The stale one writes on, to the segment that is not the newest any more.
  for (const record of opStory(2)) await stale.ledger.append(record);
  for (const record of opStory(3)) await journal.ledger.append(record);
  await journal.close();
  const reader = new JournalReader(disk);
  expect(await verifyJournal(reader)).toMatchObject({
    ok: true,
    notices: [{ segment: '00000001.jsonl', rule: 'J8' }],
  });
  const reopened = await startOn(disk);
  expect(reopened.ledger.findOp(opId(2))).toBeNull();
  expect(reopened.ledger.findOp(opId(3))).not.toBeNull();
  await reopened.close();
});

describe('following the tail', () => {
  interface Followed {
    readonly disk: MemoryDisk;
    readonly lines: number;
    /** Whenever the tail waits, the next of these happens; then it is told to end. */
    readonly steps: readonly ((disk: MemoryDisk) => Promise<void> | void)[];
  }

  async function follow({ disk, lines, steps }: Followed): Promise<string[]> {
    const aborter = new AbortController();
    const rest = [...steps];
    const sleep = async (): Promise<void> => {
      const step = rest.shift();
      if (step === undefined) aborter.abort();
      else await step(disk);
    };
    const clock = { ...tickingClock(), sleep };
    const request = { lines, follow: true, clock, signal: aborter.signal };
    const texts: string[] = [];
    for await (const { text } of tailJournal(new JournalReader(disk), request)) texts.push(text);
    return texts;
  }

  const FIRST = '00000001.jsonl';

  async function put(disk: MemoryDisk, name: string, bytes: Buffer): Promise<void> {
    const file = await disk.create('new');
    await file.append(bytes);
    await disk.rename('new', name);
  }

  test('begins at a line, also where half of one has been written', async () => {
    const { disk, journal } = await journalOf([opStory(1)], { segmentBytes: 65_536 });
    await journal.close();
    const bytes = disk.files().get(FIRST) ?? Buffer.alloc(0);
    const all = bytes.toString().trimEnd().split('\n');
    for (const lines of [0, 2]) {
      const half = MemoryDisk.of([[FIRST, bytes.subarray(0, -70)]]);
      const append = async (): Promise<void> => {
        await (await half.openAppend(FIRST)).append(bytes.subarray(-70));
      };
      expect(await follow({ disk: half, lines, steps: [append] })).toEqual(all.slice(-1 - lines));
    }
  });

  test.each([
    ['from the end on', 0, 3],
    ['from the end on, behind records', 0, 4],
    ['from a few lines on', 3, 3],
    ['from a few records on', 3, 4],
  ])('%s over a repair shows what is new, and no line in part or twice', async (_, lines, ops) => {
    const stories = Array.from({ length: ops }, (_, index) => opStory(index + 1));
    const { disk, journal } = await journalOf(stories);
    await journal.close();
    const before = segmentsOf(disk);
    const shown = lines === 0 ? [] : (before.at(-1) ?? []).slice(-lines);
    const bytes = Buffer.from(disk.files().get(FIRST) ?? '');
    bytes.write('x', bytes.indexOf('"at":"2026') + 7);
    const copy = new MemoryDisk();
    await salvage(MemoryDisk.of(new Map(disk.files()).set(FIRST, bytes)), copy, AT);
    const repair = async (): Promise<void> => {
      for (const name of disk.files().keys()) await disk.remove(name);
      for (const [name, content] of copy.files()) await put(disk, name, content);
    };
    const goOn = async (): Promise<void> => {
      const reopened = await startOn(disk);
      for (const record of opStory(9)) await reopened.ledger.append(record);
      await reopened.close();
    };
    const seen = await follow({ disk, lines, steps: [repair, goOn] });
    const added = segmentsOf(disk).slice(before.length).flat();
    expect(added.length).toBeGreaterThan(5);
    expect(seen).toEqual([...shown, ...added]);
  });

  test('shows a replaced segment from the first line on that it has not shown', async () => {
    const { disk, journal } = await journalOf([opStory(1)], { segmentBytes: 65_536 });
    await journal.close();
    const [lines = []] = segmentsOf(disk);
    const [header = '', ...others] = lines;
    const next = '{"type":"lost","seq":5,"at":"2026-03-01T12:00:01.000Z"}';
    const text = [header.replace(',"sum"', ',"repaired":true,"sum"'), ...others, next].join('\n');
    const replace = (): Promise<void> => put(disk, FIRST, Buffer.from(`${text}\n`));
    expect(await follow({ disk, lines: 2, steps: [replace] })).toEqual([...lines.slice(-2), next]);
  });
});

/** The lines of each segment. */
function segmentsOf(disk: MemoryDisk): string[][] {
  return [...disk.files()]
    .filter(([name]) => name.endsWith('.jsonl'))
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([, bytes]) => bytes.toString().trimEnd().split('\n'));
}

describe('a list since a time', () => {
  const HOUR_MS = 3_600_000;

  async function hourly(segmentCount: number, clock: ReturnType<typeof tickingClock>) {
    const disk = new MemoryDisk();
    const journal = await startOn(disk, { segmentBytes: 2048, clock });
    let op = 0;
    while (journal.stats().segment < segmentCount) {
      op += 1;
      for (const record of opStory(op)) await journal.ledger.append(record);
      clock.advance(HOUR_MS);
    }
    await journal.close();
    return { disk, ops: op };
  }

  async function list(disk: MemoryDisk, sinceMs: number) {
    const opened = new Set<string>();
    const openRead = disk.openRead.bind(disk);
    disk.openRead = (name) => {
      opened.add(name);
      return openRead(name);
    };
    const ops = numbersOf(await new JournalReader(disk).listOps({ sinceMs }));
    return { ops, opened: opened.size };
  }

  test('reads no further back than to a segment with nothing as young', async () => {
    const clock = tickingClock();
    const { disk, ops } = await hourly(20, clock);
    const sinceMs = clock.now() - 2.5 * HOUR_MS;
    const listed = await list(disk, sinceMs);
    expect(listed.ops).toEqual([ops, ops - 1]);
    expect(listed.opened).toBeLessThan(6);
  });

  test('finds what was written before a start with a clock that was far behind', async () => {
    const clock = tickingClock();
    const { disk, ops } = await hourly(5, clock);
    const sinceMs = clock.now() - 3.5 * HOUR_MS;
    // A dead battery: the next start believes that it is long ago, for a while.
    const behind = await startOn(disk, { clock: tickingClock(0), isTakeover: true });
    for (const record of opStory(98)) await behind.ledger.append(record);
    await behind.close();
    const journal = await startOn(disk, { clock });
    for (const record of opStory(99)) await journal.ledger.append(record);
    await journal.close();
    const listed = await list(disk, sinceMs);
    expect(listed.ops).toEqual([99, ops, ops - 1, ops - 2]);
  });
});
