/**
 * Makes a sound journal of a damaged one: every line that can be vouched for is kept under its
 * number, every other leaves a `lost` record in its place. Reads one folder, writes another.
 *
 * What is lost may have been anything, so nothing is concluded from its absence:
 * - an op whose next record is lost stays in flight: recovery looks at the guest;
 * - a record that cannot follow because the one before it is lost becomes a `lost` record too, but
 *   what it says is restated in the next segment;
 * - an op that was received and not seen again may have been started in a lost record: it is ended
 *   as `interrupted`, never sent.
 */
import type { OpId } from '../reconcile/ids.ts';
import type { Disk } from './disk.ts';
import { type Live, parseRecord, type SegmentHeader } from './records.ts';
import { SalvageCopy } from './salvage-copy.ts';
import { type ScannedLine, scanLines } from './scan.ts';
import { readHeader } from './segment-header.ts';
import { createSegment, readMarker, segmentName, segmentNumbers } from './segments.ts';

export interface LeftOut {
  /** File name. */
  readonly segment: string;
  /** From 1; 0 for the segment as a whole. */
  readonly line: number;
  readonly why: string;
}

export interface SalvageReport {
  readonly kept: number;
  readonly leftOut: readonly LeftOut[];
  /** Received ops that may have been started: ended as `interrupted`. */
  readonly ended: readonly OpId[];
}

/** A segment's file, and which one it says it is. */
interface Source {
  readonly name: string;
  readonly number: number;
  readonly header: SegmentHeader | null;
}

/** Copies what is sound of `source` into the empty folder `target`. `at`: RFC 3339 with ms. */
export async function salvage(source: Disk, target: Disk, at: string): Promise<SalvageReport> {
  const leftOut: LeftOut[] = [];
  const sources = await findSources(source, leftOut);
  const journal = sources.find(({ header }) => header !== null)?.header?.journal;
  const copy = new SalvageCopy(journal ?? 'repaired');
  const marked = await readMarker(source);
  for (const [index, from] of sources.entries()) {
    await copySegment(source, from, copy, leftOut);
    const nextFirstSeq = sources[index + 1]?.header?.first_seq ?? null;
    await createSegment(target, copy.finish(from.number, nextFirstSeq));
  }
  const last = sources.at(-1)?.number ?? 0;
  if (typeof marked === 'number' && marked > last) {
    leftOut.push({ segment: segmentName(marked), line: 0, why: 'the segment is missing' });
    copy.markLoss();
  }
  const { draft, ended } = copy.finishWith(last + 1, at);
  await createSegment(target, draft);
  return { kept: copy.kept, leftOut, ended };
}

/**
 * The segments to copy, by the numbers in their headers: from the newest back as far as none is
 * missing. Those of another journal, and those before a gap, are history that is left out.
 */
async function findSources(disk: Disk, leftOut: LeftOut[]): Promise<readonly Source[]> {
  const found: Source[] = [];
  for (const number of segmentNumbers(await disk.list())) {
    const name = segmentName(number);
    const header = await readHeader(disk, name);
    found.push({ name, number: header?.segment ?? number, header });
  }
  const journal = mostFrequent(found.flatMap(({ header }) => header?.journal ?? []));
  const byNumber = new Map<number, Source>();
  for (const source of found) {
    const isOurs = source.header === null || source.header.journal === journal;
    if (isOurs && !byNumber.has(source.number)) byNumber.set(source.number, source);
    else leftOut.push({ segment: source.name, line: 0, why: 'it is not of this journal' });
  }
  const sources: Source[] = [];
  const descending = [...byNumber.values()].sort((a, b) => b.number - a.number);
  for (const source of descending) {
    const next = sources[0];
    if (next === undefined || next.number === source.number + 1) sources.unshift(source);
    else leftOut.push({ segment: source.name, line: 0, why: 'segments behind it are missing' });
  }
  return sources;
}

function mostFrequent(values: readonly string[]): string | null {
  const counts = new Map<string, number>();
  for (const value of values) counts.set(value, (counts.get(value) ?? 0) + 1);
  const [most] = [...counts].sort(([, a], [, b]) => b - a);
  return most?.[0] ?? null;
}

async function eachLine(
  disk: Disk,
  name: string,
  visit: (line: ScannedLine) => 'stop' | undefined,
): Promise<{ readonly lines: number; readonly restBytes: number }> {
  const file = await disk.openRead(name);
  try {
    return await scanLines(file, null, visit);
  } finally {
    await file.close();
  }
}

/** The restated part first, as a whole: it says what is known at the segment's beginning. */
async function copySegment(
  disk: Disk,
  { name, number, header }: Source,
  copy: SalvageCopy,
  leftOut: LeftOut[],
): Promise<void> {
  const restated: Live[] = [];
  let isRestating = true;
  let isWhole = header !== null;
  const begin = (): void => {
    copy.begin(number, { header, restated, isWhole });
    isRestating = false;
  };
  const leave = (line: number, why: string): void => {
    leftOut.push({ segment: name, line, why });
    if (isRestating) isWhole = false;
    else copy.markLoss();
  };
  const { lines, restBytes } = await eachLine(disk, name, (line) => {
    const record = parseRecord(line.text);
    if (line.fault !== null) leave(line.number, `the line does not match its sum`);
    else if (record.kind === 'unreadable') leave(line.number, record.reason);
    else if (record.kind === 'live' && isRestating) restated.push(record.live);
    else if (record.kind === 'live_end' && isRestating) begin();
    else if ('seq' in record) {
      if (isRestating) begin();
      const why = copy.take(record, line.text);
      if (why !== null) leave(line.number, why);
    }
    return undefined;
  });
  if (isRestating) {
    isWhole = false;
    begin();
  }
  if (restBytes > 0) leave(lines + 1, `the line is incomplete`);
}
