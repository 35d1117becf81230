/**
 * The journal's lines in order, as far back as wanted, and on as they are written, from segment to
 * segment. A line is shown once it has its newline.
 */
import type { Clock } from '../reconcile/clock.ts';
import type { Disk } from './disk.ts';
import { MAX_LINE_BYTES, NEWLINE } from './line.ts';
import type { JournalReader } from './reader.ts';
import { type JournalRecord, parseRecord } from './records.ts';
import { scanBack } from './scan-back.ts';
import { readSegment } from './segment-file.ts';

/** How soon a new line is shown. */
const POLL_MS = 200;

export interface TailRequest {
  /** How many of the newest lines come first. */
  readonly lines: number;
  /** Goes on until `signal` is aborted. */
  readonly follow: boolean;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

export interface TailLine {
  readonly segment: number;
  /** As it stands in the file, without its newline. */
  readonly text: string;
  readonly record: JournalRecord;
}

interface Position {
  readonly segment: number;
  readonly offset: number;
}

/** Ends at the newest line, or when aborted. Rejects with the disk's errors. */
export async function* tailJournal(
  reader: JournalReader,
  { lines, follow, clock, signal }: TailRequest,
): AsyncGenerator<TailLine> {
  let position = await findStart(reader, lines);
  for (;;) {
    // Asked for before reading: once there is a newer segment, this one gets nothing that counts.
    const later = (await reader.segments()).filter((number) => number > position.segment);
    const found = await readFrom(reader.disk, position);
    for (const text of found.lines) {
      if (signal.aborted) return;
      yield { segment: position.segment, text, record: parseRecord(text) };
    }
    position = { segment: position.segment, offset: found.offset };
    const [next] = later;
    if (found.lines.length > 0) continue;
    if (next !== undefined) position = { segment: next, offset: 0 };
    else if (!follow || signal.aborted) return;
    else await clock.sleep(POLL_MS, signal);
  }
}

async function findStart(reader: JournalReader, lines: number): Promise<Position> {
  const numbers = await reader.segments();
  let start: Position = { segment: numbers.at(-1) ?? 0, offset: 0 };
  let missing = lines;
  for (const segment of numbers.toReversed()) {
    const end = await readSegment(reader.disk, segment, ({ counted }) => {
      start = { segment, offset: 0 };
      return scanBack(counted, ({ offset, endOffset }) => {
        start = { segment, offset: missing === 0 ? endOffset : offset };
        missing -= 1;
        return missing <= 0 ? 'stop' : undefined;
      });
    });
    if (end !== undefined) return start;
  }
  return start;
}

/** Complete lines from there on, at most a few megabytes of them. */
async function readFrom(
  disk: Disk,
  { segment, offset }: Position,
): Promise<{ readonly lines: readonly string[]; readonly offset: number }> {
  const found = await readSegment(disk, segment, async ({ counted }) => {
    // A torn end that was read as lines of zeros is cut off by the next writer.
    const from = Math.min(offset, await counted.size());
    const buffer = Buffer.allocUnsafe(2 * MAX_LINE_BYTES);
    const piece = buffer.subarray(0, await counted.read(buffer, from));
    const end = piece.lastIndexOf(NEWLINE);
    if (end === -1) return { lines: [], offset: from };
    return { lines: piece.toString('utf8', 0, end).split('\n'), offset: from + end + 1 };
  });
  return found ?? { lines: [], offset };
}
