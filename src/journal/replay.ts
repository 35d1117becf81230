/**
 * Reads one segment back into a ledger, and says what its end is: whole, torn by a crash (J4), or
 * damaged. Changes nothing.
 */
import type { Disk, ReadFile } from './disk.ts';
import type { Ledger } from './ledger.ts';
import { computeSum, MAX_LINE_BYTES, NEWLINE, SUM_CHARS } from './line.ts';
import { parseRecord, type SegmentHeader } from './records.ts';
import { type ScanEnd, scanLines } from './scan.ts';
import { type Fault, SegmentFold } from './segment-fold.ts';
import { corrupt, segmentName } from './segments.ts';

/** The writer has never more than this not yet synced: a longer torn tail is no crash's work. */
export const MAX_UNSYNCED_BYTES = 2 * 1024 * 1024;
/** What a disk writes whole or not at all. */
const SECTOR_BYTES = 512;

export interface Replayed {
  readonly header: SegmentHeader;
  readonly ledger: Ledger;
  readonly lastSum: string;
  readonly nextSeq: number;
  readonly epoch: number;
  /** Time of the last record (wall clock ms). */
  readonly lastAtMs: number;
  /** Of the sound part; what is behind it is torn. */
  readonly bytes: number;
  /** Of the restated part at its beginning. */
  readonly restatedBytes: number;
  readonly tornBytes: number;
}

/** Throws `journal_corrupt` where the segment is not what a crash may leave. */
export async function replaySegment(disk: Disk, segment: number): Promise<Replayed> {
  const file = await disk.openRead(segmentName(segment));
  try {
    const fold = new SegmentFold(segment);
    let restatedBytes = 0;
    const end = await scanLines(file, null, (line) => {
      if (line.fault !== null) return 'stop';
      const fault = fold.apply(parseRecord(line.text));
      if (fault !== null) throw corruptLine(segment, line.number, fault);
      if (!fold.isRestating && restatedBytes === 0) restatedBytes = line.endOffset;
      return undefined;
    });
    if (end.restBytes > 0) await requireTorn(file, segment, end);
    return finish(fold, end, { segment, restatedBytes });
  } finally {
    await file.close();
  }
}

function finish(
  fold: SegmentFold,
  end: ScanEnd,
  { segment, restatedBytes }: { readonly segment: number; readonly restatedBytes: number },
): Replayed {
  const { header, ledger, nextSeq, epoch } = fold;
  // A segment gets its name when it is whole: one without its restated part was cut later.
  if (header === null || fold.isRestating) {
    const message = 'it ends within its restated part';
    throw corruptLine(segment, end.lines + 1, { rule: 'J10', message });
  }
  return {
    header,
    ledger,
    nextSeq,
    epoch,
    lastSum: end.lastSum,
    lastAtMs: Date.parse(fold.lastAt),
    bytes: end.endOffset,
    restatedBytes,
    tornBytes: end.restBytes,
  };
}

function corruptLine(segment: number, line: number, { rule, message }: Fault): Error {
  return corrupt({ segment, line, rule }, message);
}

/** Throws unless what is behind the last sound line may be what a crash left (J4). */
async function requireTorn(file: ReadFile, segment: number, end: ScanEnd): Promise<void> {
  const fault = await judgeTail(file, end);
  if (fault !== null) throw corruptLine(segment, end.lines + 1, fault);
}

/**
 * Null where the tail is an incomplete line, or begins with a line of which a whole sector is
 * zeros; else what is wrong with it.
 */
export async function judgeTail(file: ReadFile, end: ScanEnd): Promise<Fault | null> {
  const { endOffset, restBytes, lastSum } = end;
  if (restBytes > MAX_UNSYNCED_BYTES) return damaged('it does not match its sum, far from the end');
  const buffer = Buffer.alloc(restBytes);
  const tail = buffer.subarray(0, await file.read(buffer, endOffset));
  const newline = tail.indexOf(NEWLINE);
  const line = newline === -1 ? tail : tail.subarray(0, newline + 1);
  if (hasZeroSector(line, endOffset)) return null;
  if (newline !== -1) return damaged('it does not match its sum');
  if (tail.length > MAX_LINE_BYTES) return damaged('it has no end');
  return isSealedAndMore(tail, lastSum) ? damaged('something stands for its newline') : null;
}

function damaged(message: string): Fault {
  return { rule: 'J4', message };
}

/** A sound line and something behind it that is not its newline: altered, not cut short. */
function isSealedAndMore(tail: Buffer, previousSum: string): boolean {
  const ending = /,"sum":"([0-9a-f]{32})"\}./s.exec(tail.toString('latin1'));
  if (ending === null) return false;
  const end = ending.index + ending[0].length - 1;
  const line = Buffer.concat([Buffer.alloc(SUM_CHARS), tail.subarray(0, end)]);
  return computeSum(line, { start: SUM_CHARS, end: line.length }, previousSum) === ending[1];
}

/** Is the line's share of some sector all zeros? The rest of that sector may be synced lines. */
function hasZeroSector(line: Buffer, offset: number): boolean {
  let start = 0;
  while (start < line.length) {
    const end = Math.min(line.length, start + SECTOR_BYTES - ((offset + start) % SECTOR_BYTES));
    if (line.subarray(start, end).every((byte) => byte === 0)) return true;
    start = end;
  }
  return false;
}
