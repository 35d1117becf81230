/** A journal whose lines were changed and sealed again: what a writer with a fault would leave. */
import { sealLine, ZERO_SUM } from '../../src/journal/line.ts';
import { MemoryDisk } from './memory-disk.ts';

/** Any member of a record's line. */
type Line = Record<string, unknown>;

/** The segments of a journal, by name, each as its lines without their sums. */
export function linesOf(disk: MemoryDisk): Map<string, Line[]> {
  const segments = [...disk.files()]
    .filter(([name]) => /^\d+\.jsonl$/.test(name))
    .sort(([a], [b]) => (a < b ? -1 : 1));
  return new Map(
    segments.map(([name, bytes]) => {
      const texts = bytes.toString().split('\n').slice(0, -1);
      return [name, texts.map((text): Line => withoutSum(JSON.parse(text)))];
    }),
  );
}

function withoutSum({ sum: _sum, ...line }: Line): Line {
  return line;
}

/** Sealed anew, each line chained to the one before, over all segments. */
export function reseal(segments: ReadonlyMap<string, readonly Line[]>): MemoryDisk {
  let sum = ZERO_SUM;
  const files = [...segments].map(([name, lines]) => {
    const texts = lines.map((line) => {
      const body = line['type'] === 'segment' ? { ...line, prev_sum: sum } : line;
      const sealed = sealLine(JSON.stringify(body), sum);
      sum = sealed.sum;
      return sealed.text;
    });
    return [name, Buffer.from(texts.join(''))] as const;
  });
  return MemoryDisk.of(files);
}
