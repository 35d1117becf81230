/**
 * The journal's folder: `NNNNNNNN.jsonl` segments, beside them
 * - `NNNNNNNN.EPOCH.tmp`: a segment being built; of no meaning, removed on opening. The epoch in
 *   the name keeps a stale writer, woken up in the middle, from renaming another one's;
 * - `NNNNNNNN.torn`: bytes cut from that segment's end by opening it;
 * - `newest`: the number of the newest segment, written before anything is appended to it, so that
 *   a newest segment that is missing is noticed. It may lag by one, never lead.
 */
import { ReconcilerError } from '../reconcile/errors.ts';
import { createWhole, type Disk, errnoOf } from './disk.ts';
import { sealLine } from './line.ts';
import { FOLD, FORMAT, type Live, liveBody, type SegmentHeader } from './records.ts';

const SEGMENT_NAME = /^(\d{8})\.jsonl$/;
const MARKER = 'newest';
const NUMBER_DIGITS = 8;

export function segmentName(number: number): string {
  return `${digits(number)}.jsonl`;
}

export function tornName(number: number): string {
  return `${digits(number)}.torn`;
}

function digits(number: number): string {
  return String(number).padStart(NUMBER_DIGITS, '0');
}

/** The numbers of the segments among these names, ascending. */
export function segmentNumbers(names: readonly string[]): readonly number[] {
  const numbers = names.flatMap((name) => {
    const number = SEGMENT_NAME.exec(name)?.[1];
    return number === undefined ? [] : [Number(number)];
  });
  return numbers.sort((a, b) => a - b);
}

/** The rule of what a newer version has written: sound, but not for this one to read or to repair. */
export const NEWER_RULE = 'format';

/** What refuses a journal, with where and by which rule. */
export function corrupt(
  where: { readonly segment: number; readonly line?: number; readonly rule: string },
  message: string,
): ReconcilerError {
  const { segment, line, rule } = where;
  const place = `segment ${segmentName(segment)}${line === undefined ? '' : ` line ${line}`}`;
  return new ReconcilerError('journal_corrupt', `${place}: ${message} (${rule})`, {
    disposition: 'halt',
    hint:
      rule === NEWER_RULE
        ? 'Nothing was changed. Install the version that wrote it, or a newer one.'
        : 'Nothing was changed. Look with `pve-reconciler journal verify`; ' +
          '`pve-reconciler journal repair` writes a repaired copy and keeps the original.',
    context: { segment, rule, ...(line === undefined ? {} : { line }) },
  });
}

/** Of `segmentBytes`, and what is worth a new segment at all: read in two thirds of what a start may take. */
const SHORT_SHARE = 1 / 8;
const SHORT_BYTES = 2 * 1024 * 1024;

/** How long a segment gets where the writer rests now and then; no more than a full one. */
export function shortSegmentBytes(segmentBytes: number): number {
  return Math.min(segmentBytes, Math.max(SHORT_BYTES, segmentBytes * SHORT_SHARE));
}

/** A whole new segment: header, what is live, `live_end`. */
export interface SegmentDraft {
  readonly number: number;
  readonly epoch: number;
  readonly text: string;
  readonly lastSum: string;
  readonly bytes: number;
}

export function draftSegment(
  header: Omit<SegmentHeader, 'type' | 'format' | 'fold'>,
  live: readonly Live[],
): SegmentDraft {
  let text = '';
  let lastSum = header.prev_sum;
  const add = (body: object): void => {
    const line = sealLine(JSON.stringify(body), lastSum);
    text += line.text;
    lastSum = line.sum;
  };
  add({ type: 'segment', format: FORMAT, fold: FOLD, ...header });
  for (const fact of live) add(liveBody(fact));
  add({ type: 'live_end' });
  const { segment: number, epoch } = header;
  return { number, epoch, text, lastSum, bytes: Buffer.byteLength(text) };
}

/**
 * Makes the segment, durable under its name before the marker names it. `beforeEachStep` runs
 * before each call to the disk and may throw.
 */
export async function createSegment(
  disk: Disk,
  draft: SegmentDraft,
  beforeEachStep: () => void = () => undefined,
): Promise<void> {
  const { number, epoch, text } = draft;
  const temporary = `${digits(number)}.${epoch}.tmp`;
  const bytes = Buffer.from(text);
  await createWhole(disk, { name: segmentName(number), temporary, bytes }, beforeEachStep);
  await writeMarker(disk, draft, beforeEachStep);
}

export function writeMarker(
  disk: Disk,
  { number, epoch }: { readonly number: number; readonly epoch: number },
  beforeEachStep: () => void = () => undefined,
): Promise<void> {
  const temporary = `${MARKER}.${epoch}.tmp`;
  const bytes = Buffer.from(`${number}\n`);
  return createWhole(disk, { name: MARKER, temporary, bytes }, beforeEachStep);
}

/** The newest segment's number as the marker has it; null where there is none. */
export async function readMarker(disk: Disk): Promise<number | 'unreadable' | null> {
  const text = await readSmall(disk, MARKER);
  if (text === null) return null;
  return /^[1-9]\d{0,7}\n$/.test(text) ? Number(text) : 'unreadable';
}

/** More than any marker or key. */
const SMALL_FILE_BYTES = 4096;

async function readSmall(disk: Disk, name: string): Promise<string | null> {
  let file;
  try {
    file = await disk.openRead(name);
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return null;
    throw error;
  }
  try {
    const buffer = Buffer.alloc(SMALL_FILE_BYTES);
    return buffer.toString('latin1', 0, await file.read(buffer, 0));
  } finally {
    await file.close();
  }
}

/** Removes what a process that died has left half-built. */
export async function removeLeftovers(disk: Disk): Promise<void> {
  const names = await disk.list();
  for (const name of names) if (name.endsWith('.tmp')) await disk.remove(name);
}
