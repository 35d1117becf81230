/** Ops' ends out of a journal that is not whole: what can be read is told, the rest is counted. */
import { describe, expect, test } from 'vitest';
import { createReceiptSource } from '../../../src/agent/hub/receipt-source.ts';
import { JournalReader } from '../../../src/journal/reader.ts';
import { salvage } from '../../../src/journal/salvage.ts';
import { isTerminal } from '../../../src/reconcile/op.ts';
import { opStory, startOn } from '../../support/journal-script.ts';
import { MemoryDisk } from '../../support/memory-disk.ts';

const FIRST = '00000001.jsonl';
const SECOND = '00000002.jsonl';
const AT = '2026-03-01T13:00:00.000Z';

const sound = new MemoryDisk();
const journal = await startOn(sound, { segmentBytes: 3_000 });
const endSeqs: number[] = [];
for (let number = 1; number <= 8; number += 1) {
  for (const record of opStory(number)) {
    const { seq, state } = await journal.ledger.append(record);
    if (isTerminal(state)) endSeqs.push(seq);
  }
}
await journal.close();
const untilSeq = journal.stats().nextSeq - 1;
const lines = linesOf(sound.files().get(FIRST));

function linesOf(bytes: Buffer | undefined): string[] {
  return (bytes ?? Buffer.alloc(0)).toString().trimEnd().split('\n');
}

function withFirst(text: string): MemoryDisk {
  return MemoryDisk.of(new Map(sound.files()).set(FIRST, Buffer.from(text)));
}

/** All of it, as the outbox reads it. Its ledger knows none of the ops. */
async function readAll(disk: MemoryDisk): Promise<{ seqs: number[]; lost: number }> {
  const source = createReceiptSource(new JournalReader(disk), { findOp: () => null });
  const seqs: number[] = [];
  let [afterSeq, lost] = [0, 0];
  while (afterSeq < untilSeq) {
    const read = await source.readEnds({ afterSeq, untilSeq });
    seqs.push(...read.ends.map(({ seq }) => seq));
    lost += read.lost;
    afterSeq = read.throughSeq;
  }
  return { seqs, lost };
}

test('of a sound journal nothing is lost, in whichever segment it is', async () => {
  expect(sound.files().size).toBeGreaterThan(3);
  expect(await readAll(sound)).toEqual({ seqs: endSeqs, lost: 0 });
});

const flip = (text: string, at: number): string =>
  text.slice(0, at) + (text[at] === '0' ? '1' : '0') + text.slice(at + 1);

describe.each(lines.map((line, index) => [index + 1, line] as const))(
  'damage in line %i of an old segment',
  (number, line) => {
    const seq = Number(/^\{"type":"[a-z_]+","seq":(\d+)/.exec(line)?.[1] ?? Number.NaN);
    const damagedBy = (change: (line: string) => string): MemoryDisk =>
      withFirst(`${lines.with(number - 1, change(line)).join('\n')}\n`);

    test.each([
      ['a byte of its body', (text: string) => flip(text, Math.floor(text.length / 2) - 20)],
      ['a byte of its sum', (text: string) => flip(text, text.length - 5)],
      ['its form', (text: string) => text.slice(0, -1)],
    ])('in %s, costs at most that record and the next', async (_, change) => {
      const { seqs, lost } = await readAll(damagedBy(change));
      expect(seqs).toEqual(
        expect.arrayContaining(endSeqs.filter((end) => end < seq || end > seq + 1)),
      );
      expect(seqs.every((each) => endSeqs.includes(each))).toBe(true);
      expect(lost).toBeGreaterThanOrEqual(endSeqs.length - seqs.length);
      expect(lost).toBeLessThanOrEqual(2);
      if (!Number.isNaN(seq)) expect(lost).toBeGreaterThan(0);
    });
  },
);

test('a segment that retention removes between two reads is counted, not passed over', async () => {
  const disk = MemoryDisk.of(sound.files());
  const { first_seq: nextFirstSeq } = JSON.parse(linesOf(sound.files().get(SECOND))[0] ?? '{}');
  const reader = new JournalReader(disk);
  const open = disk.openRead.bind(disk);
  let openings = 0;
  disk.openRead = async (name) => {
    // When its beginning has been read.
    if (name === FIRST && (openings += 1) === 2) await disk.remove(FIRST);
    return open(name);
  };
  const source = createReceiptSource(reader, { findOp: () => null });
  expect(await source.readEnds({ afterSeq: 0, untilSeq })).toEqual({
    ends: [],
    throughSeq: nextFirstSeq - 1,
    lost: nextFirstSeq - 1,
  });
});

test('what `journal repair` could not keep is lost to the hub, too', async () => {
  const repaired = new MemoryDisk();
  await salvage(withFirst(`${lines.with(4, flip(lines[4] ?? '', 40)).join('\n')}\n`), repaired, AT);
  const { seqs, lost } = await readAll(repaired);
  expect(lost).toBe([...repaired.files().values()].join('').split('{"type":"lost"').length - 1);
  expect(lost).toBeGreaterThan(0);
  expect(seqs.length).toBeGreaterThanOrEqual(endSeqs.length - lost);
});
