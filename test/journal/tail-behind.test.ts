/** What is behind a record, for readers that come back; and readings that nobody waits for. */
import { describe, expect, test } from 'vitest';
import { JournalReader } from '../../src/journal/reader.ts';
import { tailBehind } from '../../src/journal/tail.ts';
import { journalOf } from '../support/journal-of.ts';
import { opStory, tickingClock } from '../support/journal-script.ts';
import { MemoryDisk } from '../support/memory-disk.ts';

describe('a reader that nobody waits for any more', () => {
  const gone = AbortSignal.abort(new Error('gone'));

  test.each<[string, (reader: JournalReader) => Promise<unknown>]>([
    ['lists no ops', (reader) => reader.listOps({ signal: gone })],
    ['looks for no op', (reader) => reader.readOp('0', gone)],
    [
      'looks for no line',
      (reader) => tailBehind(reader, 0, { clock: tickingClock(), signal: gone }),
    ],
  ])('%s', async (_name, read) => {
    const { reader, journal } = await journalOf([opStory(1)]);
    await expect(read(reader)).rejects.toThrow('gone');
    await journal.close();
  });
});

test('what is behind a record comes in pieces, each read when it is asked for', async () => {
  const stories = Array.from({ length: 600 }, (_, index) => opStory(index + 1));
  const { disk, reader, journal } = await journalOf(stories, { segmentBytes: 2 ** 20 });
  await journal.close();
  const request = { clock: tickingClock(), signal: new AbortController().signal };
  const pieces = await tailBehind(reader, 10, request);
  const seqs: number[] = [];
  let readBytes = 0;
  const openRead = disk.openRead.bind(disk);
  disk.openRead = async (name) => {
    const file = await openRead(name);
    const read = async (into: Uint8Array, position: number): Promise<number> => {
      const got = await file.read(into, position);
      readBytes += got;
      return got;
    };
    return { ...file, read };
  };
  for await (const piece of pieces ?? []) {
    expect(readBytes).toBeLessThan(100 * 1024);
    readBytes = 0;
    for (const { record } of piece) if ('seq' in record) seqs.push(record.seq);
  }
  expect(seqs).toEqual(Array.from({ length: seqs.length }, (_, index) => index + 11));
  expect(seqs.at(-1)).toBe(journal.stats().nextSeq - 1);
});

test('a line longer than what is read at once is a piece by itself', async () => {
  const actor = 'x'.repeat(100_000);
  const stories = [1, 2, 3].map((number) =>
    opStory(number).map((record) => ({ ...record, actor })),
  );
  const { reader, journal } = await journalOf(stories, { segmentBytes: 2 ** 20 });
  const request = { clock: tickingClock(), signal: new AbortController().signal };
  const sizes: number[] = [];
  for await (const piece of (await tailBehind(reader, 1, request)) ?? []) sizes.push(piece.length);
  expect(sizes).toEqual(Array(9).fill(1));
  await journal.close();
});

test('what has left the journal is not passed over: nothing is behind a record that is gone', async () => {
  const stories = Array.from({ length: 40 }, (_, index) => opStory(index + 1));
  const { disk, journal } = await journalOf(stories);
  await journal.close();
  const kept = [...disk.files()].filter(([name]) => name !== '00000001.jsonl');
  const request = { clock: tickingClock(), signal: new AbortController().signal };
  expect(await tailBehind(new JournalReader(MemoryDisk.of(kept)), 1, request)).toBeNull();
});
