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
/** What is read at once, and kept while nobody takes it; a longer line is a piece by itself. */
const PIECE_BYTES = 64 * 1024;

interface Reading {
  /** Goes on until `signal` is aborted. */
  readonly follow: boolean;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

export interface TailRequest extends Reading {
  /** How many of the newest lines come first. */
  readonly lines: number;
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
  { lines, ...reading }: TailRequest,
): AsyncGenerator<TailLine> {
  let missing = lines;
  const start = await findStart(reader, () => {
    missing -= 1;
    return missing < 0;
  });
  for await (const piece of readOn(reader, start, reading)) {
    for (const line of piece) {
      if (reading.signal.aborted) return;
      yield line;
    }
  }
}

/**
 * The lines behind the record of that seq, to the newest there is, in pieces of about
 * `PIECE_BYTES`: nothing is read before it is asked for. Null: not all of them are there any more.
 */
export async function tailBehind(
  reader: JournalReader,
  seq: number,
  reading: Pick<Reading, 'clock' | 'signal'>,
): Promise<AsyncGenerator<readonly TailLine[]> | null> {
  let oldestSeq = Number.POSITIVE_INFINITY;
  const isSeen = ({ text }: BackLine): boolean => {
    const found = seqOf(parseRecord(text));
    if (found > 0) oldestSeq = Math.min(oldestSeq, found);
    return found > 0 && found <= seq;
  };
  const start = await findStart(reader, isSeen, reading.signal);
  return oldestSeq <= seq + 1 ? readOn(reader, start, { ...reading, follow: false }) : null;
}

async function* readOn(
  reader: JournalReader,
  start: Start,
  { follow, clock, signal }: Reading,
): AsyncGenerator<readonly TailLine[]> {
  let { position, seenSeq } = start;
  // The segment was replaced, and is read from its beginning to where it goes on.
  let isSeeking = false;
  for (;;) {
    // Asked for before reading: once there is a newer segment, this one gets nothing that counts.
    const later = (await reader.segments()).filter((number) => number > position.segment);
    const found = await readFrom(reader.disk, position);
    const piece: TailLine[] = [];
    for (const text of found.lines) {
      const record = parseRecord(text);
      const seq = seqOf(record);
      if (isSeeking && seq <= seenSeq) continue;
      isSeeking = false;
      seenSeq = Math.max(seenSeq, seq);
      piece.push({ segment: position.segment, text, record });
    }
    if (signal.aborted) return;
    if (piece.length > 0) yield piece;
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

/** Behind the newest line that `isSeen`, or at the beginning of all. */
async function findStart(
  reader: JournalReader,
  isSeen: (line: BackLine) => boolean,
  signal?: AbortSignal,
): Promise<Start> {
  const numbers = await reader.segments();
  let start: Start = { position: beginningOf(numbers.at(-1) ?? 0), seenSeq: 0 };
  for (const segment of numbers.toReversed()) {
    const end = await readSegment(reader.disk, segment, ({ counted }) => {
      start = { position: beginningOf(segment), seenSeq: 0 };
      const visit = (line: BackLine): 'stop' | undefined => {
        if (!isSeen(line)) return undefined;
        start = behind(segment, line);
        return 'stop';
      };
      return scanBack(counted, visit, { signal });
    });
    if (end !== undefined) return start;
  }
  return start;
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

/** Complete lines from there on, a piece of them. */
async function readFrom(disk: Disk, position: Position): Promise<FoundLines> {
  const { segment, offset, ending } = position;
  const found = await readSegment(disk, segment, async ({ counted }): Promise<FoundLines> => {
    const from = offset - ending.length;
    for (const bytes of [PIECE_BYTES, 2 * MAX_LINE_BYTES]) {
      const buffer = Buffer.allocUnsafe(bytes);
      const piece = buffer.subarray(0, await counted.read(buffer, from));
      if (!piece.subarray(0, ending.length).equals(ending)) {
        return { lines: [], position: beginningOf(segment), isReplaced: true };
      }
      const isLong = bytes > PIECE_BYTES;
      const newline = isLong ? piece.indexOf(NEWLINE, ending.length) : piece.lastIndexOf(NEWLINE);
      const end = newline + 1;
      if (end > ending.length) return linesOf(piece, { segment, from, start: ending.length, end });
      if (piece.length < bytes) break;
    }
    return { lines: [], position, isReplaced: false };
  });
  return found ?? { lines: [], position, isReplaced: false };
}

function linesOf(
  piece: Buffer,
  place: {
    readonly segment: number;
    /** Of the piece, in the segment. */
    readonly from: number;
    readonly start: number;
    readonly end: number;
  },
): FoundLines {
  const { segment, from, start, end } = place;
  const ending = Buffer.from(piece.subarray(Math.max(0, end - ENDING_BYTES), end));
  return {
    lines: piece.toString('utf8', start, end - 1).split('\n'),
    position: { segment, offset: from + end, ending },
    isReplaced: false,
  };
}
