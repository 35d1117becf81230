/** Lines whose sums are right and which are wrong all the same: what a fault of ours would write. */
import { describe, expect, test } from 'vitest';
import { ZERO_SUM } from '../../src/journal/line.ts';
import { JournalReader } from '../../src/journal/reader.ts';
import { salvage } from '../../src/journal/salvage.ts';
import { verifyJournal } from '../../src/journal/verify.ts';
import { NOTES, opStory, START_MS, startOn } from '../support/journal-script.ts';
import { MemoryDisk } from '../support/memory-disk.ts';
import { linesOf, reseal } from '../support/resealed.ts';

const AT = new Date(START_MS).toISOString();
const FIRST = '00000001.jsonl';

type Lines = ReturnType<typeof linesOf>;

/** Opened twice, so that its epoch is 2; the second opening in the same segment. */
async function smallJournal(): Promise<MemoryDisk> {
  const disk = new MemoryDisk();
  for (const op of [1, 2]) {
    const journal = await startOn(disk, { segmentBytes: 1024 * 1024 });
    for (const record of opStory(op)) await journal.ledger.append(record);
    for (const note of NOTES.slice(0, 2)) await journal.ledger.note(note);
    await journal.close();
  }
  return disk;
}

const written = await smallJournal();

function changed(change: (lines: Lines) => void): MemoryDisk {
  const lines = linesOf(written);
  change(lines);
  return reseal(lines);
}

test('a journal that is sealed anew, unchanged, is sound', async () => {
  const { problems } = await verifyJournal(new JournalReader(changed(() => undefined)));
  expect(problems).toEqual([]);
});

interface Wrong {
  readonly what: string;
  readonly rule: string;
  readonly message: RegExp;
  readonly change: (lines: Lines) => void;
}

const WRONG: readonly Wrong[] = [
  {
    what: 'a record of a type nobody knows',
    rule: 'format',
    message: /unknown type "new"/,
    change: (lines) => lines.get(FIRST)?.push({ type: 'new', seq: 99 }),
  },
  {
    what: 'an op without an id',
    rule: 'J4',
    message: /op_id/,
    change: (lines) =>
      lines.get(FIRST)?.push({ ...lines.get(FIRST)?.at(-2), type: 'op', vmid: 'x' }),
  },
  {
    what: 'a second header',
    rule: 'J10',
    message: /type segment behind the restated part/,
    change: (lines) => lines.get(FIRST)?.push({ ...lines.get(FIRST)?.[0] }),
  },
  {
    what: 'something restated behind the restated part',
    rule: 'J10',
    message: /type live behind the restated part/,
    change: (lines) => lines.get(FIRST)?.push({ type: 'live_guest', vmid: 101 }),
  },
  {
    what: 'a second end of the restated part',
    rule: 'J10',
    message: /type live_end behind the restated part/,
    change: (lines) => lines.get(FIRST)?.push({ type: 'live_end' }),
  },
  {
    what: 'a numbered record in the restated part',
    rule: 'J10',
    message: /type lost in the restated part/,
    change: (lines) => lines.get(FIRST)?.splice(1, 0, { type: 'lost', seq: 1, at: AT }),
  },
  {
    what: 'no header',
    rule: 'J10',
    message: /begins without its header/,
    change: (lines) => {
      lines.get(FIRST)?.splice(0, 1, { type: 'lost', seq: 1, at: AT, prev_sum: ZERO_SUM });
    },
  },
  {
    what: 'the header of another segment',
    rule: 'J10',
    message: /its header is that of 00000007/,
    change: (lines) => Object.assign(lines.get(FIRST)?.[0] ?? {}, { segment: 7 }),
  },
  {
    what: 'a format of a newer version',
    rule: 'format',
    message: /newer version of this program/,
    change: (lines) => Object.assign(lines.get(FIRST)?.[0] ?? {}, { format: 99 }),
  },
  {
    what: 'a number twice',
    rule: 'seq',
    message: /its seq is \d+, not \d+/,
    change: (lines) => lines.get(FIRST)?.push({ type: 'lost', seq: 3, at: AT }),
  },
];

describe.each(WRONG)('$what', ({ rule, message, change }) => {
  test('is found by verifying, by its rule', async () => {
    const { problems } = await verifyJournal(new JournalReader(changed(change)));
    expect(problems[0]).toMatchObject({
      segment: FIRST,
      rule,
      message: expect.stringMatching(message),
    });
  });

  test('keeps the journal from being opened', async () => {
    await expect(startOn(changed(change))).rejects.toMatchObject({ code: 'journal_corrupt' });
  });

  test('is put right by a repair', async () => {
    const copy = new MemoryDisk();
    await salvage(changed(change), copy, AT);
    expect((await verifyJournal(new JournalReader(copy))).problems).toEqual([]);
    await (await startOn(copy)).close();
  });
});

test('an op with a time that is none is left out by a repair', async () => {
  const copy = new MemoryDisk();
  const spoiled = changed((lines) => {
    const op = lines.get(FIRST)?.find(({ type }) => type === 'op');
    Object.assign(op ?? {}, { at: '2026-03-01t12:00:00.000z' });
  });
  const { leftOut } = await salvage(spoiled, copy, AT);
  expect(leftOut).toContainEqual(expect.objectContaining({ why: 'its time is none' }));
  expect((await verifyJournal(new JournalReader(copy))).problems).toEqual([]);
});

describe('between two segments', () => {
  const second = '00000002.jsonl';
  const header = (fields: object): object => ({
    ...linesOf(written).get(FIRST)?.[0],
    segment: 2,
    first_seq: 11,
    epoch: 2,
    ...fields,
  });
  const withSecond = (fields: object): MemoryDisk =>
    changed((lines) => {
      lines.set(second, [{ ...header(fields) }, { type: 'live_end' }]);
    });

  test.each([
    ['an earlier epoch', { epoch: 1 }, 'J8', /epoch 1 is an earlier one/],
    ['another journal', { journal: 'other' }, 'J10', /of another journal/],
    ['a number that does not follow', { first_seq: 99 }, 'seq', /first seq is 99/],
    [
      'less restated than was live',
      {},
      'J10',
      /^it restates other than what was live: the pause; that may follow from the finding before$/,
    ],
  ])('%s is found', async (_, fields, rule, message) => {
    const { problems } = await verifyJournal(new JournalReader(withSecond(fields)));
    const found = expect.objectContaining({ rule, message: expect.stringMatching(message) });
    expect(problems).toContainEqual(found);
  });

  test('a place in what the hub sent that is another is found', async () => {
    const disk = new MemoryDisk();
    const journal = await startOn(disk, { segmentBytes: 1024 });
    await journal.ledger.note({ kind: 'hub_cursor', cursor: 'c1' });
    for (const record of [...opStory(1), ...opStory(2)]) await journal.ledger.append(record);
    await journal.close();
    const lines = linesOf(disk);
    const place = lines.get(second)?.find(({ type }) => type === 'live_hub');
    Object.assign(place ?? {}, { cursor: 'c2' });
    const { problems } = await verifyJournal(new JournalReader(reseal(lines)));
    const message = 'it restates other than what was live: the place in what the hub sent';
    expect(problems).toContainEqual(expect.objectContaining({ rule: 'J10', message }));
  });

  test('a repair leaves out the segment of another journal, and what lies before a gap', async () => {
    const other = await salvage(withSecond({ journal: 'zzz' }), new MemoryDisk(), AT);
    expect(other.leftOut.map(({ why }) => why)).toContain('it is not of this journal');
    const gap = changed((lines) => {
      lines.set('00000005.jsonl', [{ ...header({ segment: 5 }) }, { type: 'live_end' }]);
    });
    const { leftOut } = await salvage(gap, new MemoryDisk(), AT);
    expect(leftOut.map(({ why }) => why)).toContain('segments behind it are missing');
  });
});

describe('a repair of little', () => {
  test('makes an empty journal of none, and of one that nobody can read', async () => {
    for (const files of [[], [[FIRST, Buffer.from('no line\nat all\n')] as const]]) {
      const copy = new MemoryDisk();
      const { kept } = await salvage(MemoryDisk.of(files), copy, AT);
      expect(kept).toBe(0);
      await (await startOn(copy)).close();
    }
  });

  test('says that the newest segment is missing, where the file `newest` names it', async () => {
    const files = new Map(written.files()).set('newest', Buffer.from('9\n'));
    const copy = new MemoryDisk();
    const { leftOut } = await salvage(MemoryDisk.of(files), copy, AT);
    expect(leftOut).toEqual([
      { segment: '00000009.jsonl', line: 0, why: 'the segment is missing' },
    ]);
    await (await startOn(copy)).close();
  });

  test('keeps what a segment restates though it is cut within that part', async () => {
    const lines = linesOf(written);
    const restated = { type: 'live_guest', vmid: 105, initial_done: true };
    lines.set('00000002.jsonl', [
      { ...lines.get(FIRST)?.[0], segment: 2, first_seq: 11, epoch: 2 },
      restated,
    ]);
    const copy = new MemoryDisk();
    await salvage(reseal(lines), copy, AT);
    expect((await verifyJournal(new JournalReader(copy))).problems).toEqual([]);
    expect(copy.files().get('00000003.jsonl')?.toString()).toContain('"vmid":105');
  });
});
