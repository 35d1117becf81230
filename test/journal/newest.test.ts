/** Whoever looks without the lock: what is missing, what is damaged, and what goes meanwhile. */
import { describe, expect, test } from 'vitest';
import { findMissing } from '../../src/journal/missing.ts';
import { readNewest } from '../../src/journal/newest.ts';
import { JournalReader } from '../../src/journal/reader.ts';
import { segmentName } from '../../src/journal/segments.ts';
import { verifyJournal } from '../../src/journal/verify.ts';
import { opStory, startOn } from '../support/journal-script.ts';
import { MemoryDisk } from '../support/memory-disk.ts';
import { linesOf, reseal } from '../support/resealed.ts';

async function writeJournal(segmentBytes = 1024): Promise<MemoryDisk> {
  const disk = new MemoryDisk();
  const journal = await startOn(disk, { segmentBytes });
  for (let op = 1; op <= 6; op++) {
    for (const record of opStory(op)) await journal.ledger.append(record);
  }
  await journal.close();
  return disk;
}

const whole = await writeJournal();
const newest = (await readNewest(whole))?.number ?? 0;

function without(...names: readonly string[]): MemoryDisk {
  return MemoryDisk.of([...whole.files()].filter(([name]) => !names.includes(name)));
}

describe('what is missing is told by the names', () => {
  test.each<[string, MemoryDisk, string | null]>([
    ['nothing', whole, null],
    ['nothing where there is no journal', new MemoryDisk(), null],
    ['nothing by age', without(segmentName(1)), null],
    ['a segment in between', without(segmentName(newest - 1)), segmentName(newest - 1)],
    ['the newest', without(segmentName(newest)), segmentName(newest)],
    [
      'which is the newest',
      MemoryDisk.of(new Map(whole.files()).set('newest', Buffer.from('?'))),
      'cannot be read',
    ],
  ])('%s', async (_, disk, found) => {
    const missing = await findMissing(new JournalReader(disk));
    if (found === null) expect(missing).toBeNull();
    else expect(missing).toContain(found);
  });
});

test('a segment that retention takes while its successor is looked at is none that is missing', async () => {
  const disk = MemoryDisk.of(whole.files());
  const before = segmentName(newest - 1);
  const openRead = disk.openRead.bind(disk);
  disk.openRead = async (name) => {
    if (name === before) await disk.remove(before);
    return openRead(name);
  };
  expect(await readNewest(disk)).toMatchObject({ number: newest, isMarked: true });
});

test('a disk that does not give the segment before is no proof of a link', async () => {
  const disk = MemoryDisk.of(whole.files());
  const openRead = disk.openRead.bind(disk);
  disk.openRead = (name) =>
    name === segmentName(newest - 1)
      ? Promise.reject(Object.assign(new Error('EIO'), { code: 'EIO' }))
      : openRead(name);
  await expect(readNewest(disk)).rejects.toMatchObject({ code: 'EIO' });
});

test('a list counts the lines that it cannot read, and gives the others', async () => {
  const one = await writeJournal(1024 * 1024);
  const name = segmentName(1);
  const text = one.files().get(name)?.toString() ?? '';
  const disk = MemoryDisk.of([
    [name, Buffer.from(text.replace('"state":"task_running"', '"state":"none"'))],
  ]);
  let unreadable = 0;
  const ops = await new JournalReader(disk).listOps({
    onUnreadable: () => {
      unreadable += 1;
    },
  });
  expect(ops).toHaveLength(6);
  expect(unreadable).toBe(1);
  expect(await new JournalReader(disk).listOps()).toHaveLength(6);
});

test('a segment that restates too little is found though all its lines are sound', async () => {
  const lines = linesOf(whole);
  const last = lines.get(segmentName(newest)) ?? [];
  const index = last.findIndex(({ type }) => type === 'live_guest');
  last.splice(index, 1);
  const { problems } = await verifyJournal(new JournalReader(reseal(lines)));
  expect(problems).toMatchObject([{ rule: 'J10', message: expect.stringMatching(/guest 101$/) }]);
});
