/**
 * Reads a segment line by line, in pieces, checking each line's sum against the line before it.
 * What a line says is not looked at here, and nothing is changed.
 */
import type { ReadFile } from './disk.ts';
import { computeSum, isSum, MAX_LINE_BYTES, NEWLINE, SUM_CHARS, statedSum } from './line.ts';

/**
 * - `form`: it does not end as a line does.
 * - `sum`: its bytes or its place in the chain are not what was written.
 */
export type LineFault = 'form' | 'sum';

export interface ScannedLine {
  /** From 1 in its segment. */
  readonly number: number;
  /** Behind its newline. */
  readonly endOffset: number;
  /** Without the newline. */
  readonly text: string;
  /** As stated; empty where it states none. */
  readonly sum: string;
  readonly fault: LineFault | null;
  /** What the line before it stated (or, for the first one, what it states of itself). */
  readonly previousSum: string;
}

export interface ScanEnd {
  /** Behind the last newline that was visited. */
  readonly endOffset: number;
  readonly lastSum: string;
  readonly lines: number;
  /** Bytes behind `endOffset`: an incomplete line, or what follows the line that stopped it. */
  readonly restBytes: number;
}

const CHUNK_BYTES = 256 * 1024;
/**
 * Visits each complete line in order, until the end (as it was at the beginning) or until `visit` returns `stop`. With
 * `previousSum` null the first line is checked against the `prev_sum` it states. The next chunk is
 * read while this one is looked at.
 */
export async function scanLines(
  file: ReadFile,
  previousSum: string | null,
  visit: (line: ScannedLine) => 'stop' | undefined,
): Promise<ScanEnd> {
  const size = await file.size();
  // In front of each chunk: what the one before left over, and a sum before that.
  const head = SUM_CHARS + Math.min(size, MAX_LINE_BYTES);
  const room = head + Math.min(size, CHUNK_BYTES);
  let current = Buffer.allocUnsafe(room);
  let next = Buffer.allocUnsafe(room);
  let position = 0;
  let rest = 0;
  // What a writer adds meanwhile is not read.
  const readInto = (buffer: Buffer): Promise<number> =>
    file.read(buffer.subarray(head, head + size - position), position);
  let reading = readInto(current);
  const cursor = new LineCursor(previousSum);
  try {
    for (let got = await reading; got > 0; got = await reading) {
      position += got;
      reading = readInto(next);
      const end = head + got;
      const used = cursor.visitAll(current.subarray(0, end), head - rest, visit);
      if (used === null) break;
      rest = end - used;
      if (rest > MAX_LINE_BYTES) break;
      current.copy(next, head - rest, used, end);
      [current, next] = [next, current];
    }
  } finally {
    // The file must not be closed under a read.
    await reading.catch(() => undefined);
  }
  return cursor.end(size - cursor.offset);
}

/** Where the scan stands: the line, its offset, and the sum the next line builds on. */
class LineCursor {
  offset = 0;
  #number = 0;
  #previousSum: string | null;
  /** What the last line's sum ought to have been, where it is another. */
  #otherSum: string | null = null;

  constructor(previousSum: string | null) {
    this.#previousSum = previousSum;
  }

  /** Visits the complete lines from `from` on; returns where the rest begins, or null if stopped. */
  visitAll(
    buffer: Buffer,
    from: number,
    visit: (line: ScannedLine) => 'stop' | undefined,
  ): number | null {
    let start = from;
    for (;;) {
      const end = buffer.indexOf(NEWLINE, start);
      if (end === -1) return start;
      const line = this.#read(buffer, start, end);
      if (visit(line) === 'stop') return null;
      this.#number = line.number;
      this.offset = line.endOffset;
      // A line that states no sum leaves the chain where it was: the next one is faulty too.
      if (line.sum !== '') this.#previousSum = line.sum;
      start = end + 1;
    }
  }

  #read(buffer: Buffer, start: number, end: number): ScannedLine {
    const text = buffer.toString('utf8', start, end);
    const sum = statedSum(text);
    const previousSum = this.#previousSum ?? statedPreviousSum(text);
    const fault = this.#judge(buffer, { start, end }, sum, previousSum);
    return {
      number: this.#number + 1,
      endOffset: this.offset + end + 1 - start,
      text,
      sum: sum ?? '',
      fault,
      previousSum,
    };
  }

  #judge(
    buffer: Buffer,
    line: { readonly start: number; readonly end: number },
    sum: string | null,
    previousSum: string,
  ): LineFault | null {
    if (sum === null || previousSum === '') return 'form';
    const computed = computeSum(buffer, line, previousSum);
    const other = this.#otherSum;
    this.#otherSum = computed === sum ? null : computed;
    if (computed === sum) return null;
    // Where only the sum of the line before was damaged, this one is sound.
    const isSound = other !== null && computeSum(buffer, line, other) === sum;
    if (isSound) this.#otherSum = null;
    return isSound ? null : 'sum';
  }

  end(restBytes: number): ScanEnd {
    return {
      endOffset: this.offset,
      lastSum: this.#previousSum ?? '',
      lines: this.#number,
      restBytes,
    };
  }
}

/** What a segment's first line says it is chained to; empty where it cannot be read. */
function statedPreviousSum(text: string): string {
  const found = /"prev_sum":"([0-9a-f]+)"/.exec(text)?.[1];
  return isSum(found) ? found : '';
}
