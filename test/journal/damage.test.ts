import { describe, expect, test } from 'vitest';
import { JournalReader } from '../../src/journal/reader.ts';
import { verifyJournal } from '../../src/journal/verify.ts';
import { ReconcilerError } from '../../src/reconcile/errors.ts';
import { NOTES, opStory, startOn } from '../support/journal-script.ts';
import { MemoryDisk } from '../support/memory-disk.ts';

/** Segments 1 to 3, every type of record in them, as a writer that closed left them. */
async function smallJournal(): Promise<ReadonlyMap<string, Buffer>> {
  const disk = new MemoryDisk();
  const journal = await startOn(disk, { segmentBytes: 1024 });
  for (const record of opStory(1, { origin: 'hub' })) await journal.ledger.append(record);
  for (const note of NOTES.slice(0, 3)) await journal.ledger.note(note);
  for (const record of opStory(2, { end: 'failed' })) await journal.ledger.append(record);
  await journal.close();
  return disk.files();
}

const files = await smallJournal();
const segments = [...files.keys()].filter((name) => name.endsWith('.jsonl')).sort();
const newest = segments.at(-1) ?? '';

function withFile(name: string, bytes: Buffer): MemoryDisk {
  return MemoryDisk.of(new Map(files).set(name, bytes));
}

function bytesOf(name: string): Buffer {
  return Buffer.from(files.get(name) ?? '');
}

async function codeOfOpening(disk: MemoryDisk): Promise<string> {
  try {
    await (await startOn(disk)).close();
    return 'opened';
  } catch (error) {
    return error instanceof ReconcilerError ? error.code : String(error);
  }
}

test('the journal of these tests is sound and has several segments', async () => {
  const report = await verifyJournal(new JournalReader(MemoryDisk.of(files)));
  expect(report).toMatchObject({ ok: true, problems: [], notices: [] });
  expect(segments.length).toBeGreaterThan(2);
});

describe.each(segments)('a flipped bit in %s', (name) => {
  test('is found by verifying, whichever byte it is in, and what follows from it says so', async () => {
    const missed: number[] = [];
    const restated = new Set<string>();
    for (let index = 0; index < bytesOf(name).length; index++) {
      const bytes = bytesOf(name);
      bytes[index] = (bytes[index] ?? 0) ^ (1 << (index % 8));
      const { ok, problems } = await verifyJournal(new JournalReader(withFile(name, bytes)));
      if (ok) missed.push(index);
      const [, ...others] = problems.map(({ message }) => message);
      for (const each of others) if (each.includes('restates')) restated.add(each);
    }
    expect(missed).toEqual([]);
    const one =
      /: (op \w+ of guest \d+|guest \d+|the pause); that may follow from the finding before$/;
    for (const message of restated) expect(message).toMatch(one);
    expect(restated.size).toBeGreaterThan(0);
  });
});

test('a flipped bit in the newest segment keeps it from being opened, and nothing is changed', async () => {
  const length = bytesOf(newest).length;
  const opened: string[] = [];
  for (let index = 0; index < length; index++) {
    // Every bit of the last line and of its newline, which a torn end could be taken for.
    const bits = index > length - 300 ? [0, 1, 2, 3, 4, 5, 6, 7] : [index % 8];
    for (const bit of bits) {
      const bytes = bytesOf(newest);
      bytes[index] = (bytes[index] ?? 0) ^ (1 << bit);
      const disk = withFile(newest, bytes);
      if ((await codeOfOpening(disk)) !== 'journal_corrupt') opened.push(`${index}.${bit}`);
      if (!disk.files().get(newest)?.equals(bytes)) opened.push(`${index}.${bit} changed`);
    }
  }
  expect(opened).toEqual([]);
});

test('an end cut at any byte of the last line is repaired, its bytes kept aside', async () => {
  const bytes = bytesOf(newest);
  const lastLine = bytes.lastIndexOf('\n', bytes.length - 2) + 1;
  for (let length = lastLine + 1; length < bytes.length; length++) {
    const disk = withFile(newest, bytes.subarray(0, length));
    const before = await verifyJournal(new JournalReader(disk));
    expect(before).toMatchObject({ ok: true, notices: [{ rule: 'J4' }] });
    const journal = await startOn(disk);
    expect(journal.report.torn).toEqual({ segment: segments.length, bytes: length - lastLine });
    await journal.close();
    const torn = disk.files().get(newest.replace('.jsonl', '.torn'));
    expect(torn).toEqual(bytes.subarray(lastLine, length));
    expect(disk.files().get(newest)?.subarray(0, lastLine)).toEqual(bytes.subarray(0, lastLine));
    expect(await verifyJournal(new JournalReader(disk))).toMatchObject({ ok: true, notices: [] });
  }
});

test('a tail whose first line has lost a whole sector is repaired, with sound lines behind it', async () => {
  const bytes = bytesOf(newest);
  const disk = MemoryDisk.of(files);
  const journal = await startOn(disk, { segmentBytes: 65_536 });
  const [first, second] = opStory(7, { end: null });
  if (first === undefined || second === undefined) throw new TypeError('a story has records');
  const long = { ...first, actor: 'x'.repeat(1500) };
  await journal.ledger.append(long);
  await journal.ledger.append(second);
  await journal.close();
  const whole = disk.files().get(newest) ?? Buffer.alloc(0);
  const sector = Math.ceil(whole.indexOf('"actor"') / 512) * 512;
  whole.fill(0, sector, sector + 512);
  const broken = withFile(newest, whole);
  const reopened = await startOn(broken);
  expect(reopened.ledger.findOp(first.op_id)).toBeNull();
  expect(reopened.report.torn?.bytes).toBeGreaterThan(1500);
  await reopened.close();
  expect(broken.files().get(newest)?.subarray(0, bytes.length)).toEqual(bytes);
  expect(reopened.ledger.findOp(second.op_id)).toBeNull();
});

test('zeros that are less than a sector are damage, not a torn end', async () => {
  const bytes = bytesOf(newest);
  const lastLine = bytes.lastIndexOf('\n', bytes.length - 2) + 1;
  bytes.fill(0, lastLine + 20, lastLine + 60);
  expect(await codeOfOpening(withFile(newest, bytes))).toBe('journal_corrupt');
});

describe('a journal whose segments are not what they were', () => {
  const rename = (from: string, to: string): Map<string, Buffer> => {
    const renamed = new Map(files);
    renamed.delete(from);
    return renamed.set(to, bytesOf(from));
  };
  const swap = (a: string, b: string): Map<string, Buffer> =>
    new Map(files).set(a, bytesOf(b)).set(b, bytesOf(a));
  const without = (name: string): Map<string, Buffer> => {
    const rest = new Map(files);
    rest.delete(name);
    return rest;
  };
  const [first = '', second = ''] = segments;
  const before = segments.at(-2) ?? '';

  test.each([
    ['the newest is missing', without(newest)],
    ['the one before the newest is missing', without(before)],
    ['the last two are swapped', swap(newest, before)],
    ['the newest has another number', rename(newest, '00000009.jsonl')],
    ['all are missing', new Map([['newest', Buffer.from(`${segments.length}\n`)]])],
    ['the marker is damaged', new Map(files).set('newest', Buffer.from('x\n'))],
    ['the newest is empty', new Map(files).set(newest, Buffer.alloc(0))],
  ])('is refused where %s', async (_, changed) => {
    expect(await codeOfOpening(MemoryDisk.of(changed))).toBe('journal_corrupt');
    const report = await verifyJournal(new JournalReader(MemoryDisk.of(changed)));
    expect(report.ok).toBe(false);
  });

  test.each([
    ['one in the middle is missing', without(second)],
    ['two old ones are swapped', swap(first, second)],
  ])('is found by verifying where %s', async (_, changed) => {
    const report = await verifyJournal(new JournalReader(MemoryDisk.of(changed)));
    expect(report.problems[0]).toMatchObject({ rule: 'J10' });
  });

  test('is refused where the newest is of another journal', async () => {
    const other = new MemoryDisk();
    const journal = await startOn(other, { random: { next: () => 0.25 }, segmentBytes: 1024 });
    for (let op = 1; op < 5; op++) {
      for (const record of opStory(op)) await journal.ledger.append(record);
    }
    await journal.close();
    const theirs = other.files().get(newest);
    if (theirs === undefined) throw new TypeError('the other journal is too short');
    expect(await codeOfOpening(withFile(newest, theirs))).toBe('journal_corrupt');
  });
});

test('a format of a later version is refused, and said to be that', async () => {
  const bytes = Buffer.from(bytesOf(newest).toString().replace('"format":1', '"format":2'));
  const disk = withFile(newest, bytes);
  await expect(startOn(disk)).rejects.toMatchObject({ code: 'journal_corrupt' });
});
