/**
 * The journal's lines in order, as far back as wanted, and on as they are written, from segment to
 * segment. A line is shown once it has its newline.
 */
import type { Clock } from '../reconcile/clock.ts';
import type { Disk } from './disk.ts';
import { MAX_LINE_BYTES, NEWLINE, SUM_CHARS } from './line.ts';
import type { JournalReader } from './reader.ts';
import { type JournalRecord, parseRecord } from './records.ts';
import { type BackLine, scanBack } from './scan-back.ts';
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
  /** How the line before it ends; empty where none is known. */
  readonly ending: Buffer;
}

/** A sum and what closes its line: with other lines before it, no place is the same. */
const ENDING_BYTES = SUM_CHARS + 3;

/** Ends at the newest line, or when aborted. Rejects with the disk's errors. */
export async function* tailJournal(
  reader: JournalReader,
  { lines, follow, clock, signal }: TailRequest,
): AsyncGenerator<TailLine> {
  let { position, seenSeq } = await findStart(reader, lines);
  // The segment was replaced, and is read from its beginning to where it goes on.
  let isSeeking = false;
  for (;;) {
    // Asked for before reading: once there is a newer segment, this one gets nothing that counts.
    const later = (await reader.segments()).filter((number) => number > position.segment);
    const found = await readFrom(reader.disk, position);
    for (const text of found.lines) {
      if (signal.aborted) return;
      const record = parseRecord(text);
      const seq = seqOf(record);
      if (isSeeking && seq <= seenSeq) continue;
      isSeeking = false;
      seenSeq = Math.max(seenSeq, seq);
      yield { segment: position.segment, text, record };
    }
    isSeeking ||= found.isReplaced;
    position = found.position;
    const [next] = later;
    if (found.lines.length > 0 || found.isReplaced) continue;
    if (next !== undefined) {
      position = beginningOf(next);
      isSeeking = false;
    } else if (!follow || signal.aborted) return;
    else await clock.sleep(POLL_MS, signal);
  }
}

function beginningOf(segment: number): Position {
  return { segment, offset: 0, ending: Buffer.alloc(0) };
}

/** 0 for what is not numbered. */
function seqOf(record: JournalRecord): number {
  return 'seq' in record ? record.seq : 0;
}

interface Start {
  readonly position: Position;
  /** Of the record before it, where it is numbered. */
  readonly seenSeq: number;
}

async function findStart(reader: JournalReader, lines: number): Promise<Start> {
  const numbers = await reader.segments();
  let start: Start = { position: beginningOf(numbers.at(-1) ?? 0), seenSeq: 0 };
  let missing = lines;
  for (const segment of numbers.toReversed()) {
    const end = await readSegment(reader.disk, segment, ({ counted }) => {
      start = { position: beginningOf(segment), seenSeq: 0 };
      return scanBack(counted, (line) => {
        start = missing === 0 ? behind(segment, line) : before(segment, line);
        missing -= 1;
        return missing <= 0 ? 'stop' : undefined;
      });
    });
    if (end !== undefined) return start;
  }
  return start;
}

function before(segment: number, { offset }: BackLine): Start {
  return { position: { ...beginningOf(segment), offset }, seenSeq: 0 };
}

function behind(segment: number, { text, endOffset }: BackLine): Start {
  const ending = Buffer.from(`${text}\n`).subarray(-ENDING_BYTES);
  return { position: { segment, offset: endOffset, ending }, seenSeq: seqOf(parseRecord(text)) };
}

interface FoundLines {
  readonly lines: readonly string[];
  /** Behind them. */
  readonly position: Position;
  /**
   * The line before the position is not there any more: `journal repair` put another file in its
   * place, or the next writer cut off a torn end that read as lines of zeros.
   */
  readonly isReplaced: boolean;
}

/** Complete lines from there on, at most a few megabytes of them. */
async function readFrom(disk: Disk, position: Position): Promise<FoundLines> {
  const { segment, offset, ending } = position;
  const found = await readSegment(disk, segment, async ({ counted }): Promise<FoundLines> => {
    const from = offset - ending.length;
    const buffer = Buffer.allocUnsafe(2 * MAX_LINE_BYTES);
    const piece = buffer.subarray(0, await counted.read(buffer, from));
    if (!piece.subarray(0, ending.length).equals(ending)) {
      return { lines: [], position: beginningOf(segment), isReplaced: true };
    }
    const end = piece.lastIndexOf(NEWLINE) + 1;
    if (end <= ending.length) return { lines: [], position, isReplaced: false };
    return {
      lines: piece.toString('utf8', ending.length, end - 1).split('\n'),
      position: {
        segment,
        offset: from + end,
        ending: Buffer.from(piece.subarray(Math.max(0, end - ENDING_BYTES), end)),
      },
      isReplaced: false,
    };
  });
  return found ?? { lines: [], position, isReplaced: false };
}
