/**
 * Which files of a damaged journal `journal repair` copies, in which order, and where each begins
 * and ends, as far as headers and records tell.
 */
import type { Disk } from './disk.ts';
import { isAt } from './op-record.ts';
import { parseRecord, type SegmentHeader } from './records.ts';
import { type Numbered, timeOf } from './salvage-copy.ts';
import { scanLines } from './scan.ts';
import { readHeader } from './segment-header.ts';
import { segmentName, segmentNumbers } from './segments.ts';

export interface LeftOut {
  /** File name. */
  readonly segment: string;
  /** From 1; 0 for the segment as a whole. */
  readonly line: number;
  readonly why: string;
}

/** A segment's file, and which one it says it is. */
interface Source {
  readonly name: string;
  readonly number: number;
  readonly header: SegmentHeader | null;
}

/** Where a source begins, and what the next one says of its end. */
export interface Place extends Source {
  /** As in `Beginning`. */
  readonly firstSeq: number | null;
  readonly at: string | null;
  /** Null: it is the newest. */
  readonly next: { readonly firstSeq: number | null; readonly prevSum: string | null } | null;
}

export async function findPlaces(disk: Disk, leftOut: LeftOut[]): Promise<readonly Place[]> {
  return locate(disk, await findSources(disk, leftOut));
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

async function locate(disk: Disk, sources: readonly Source[]): Promise<readonly Place[]> {
  const places: Place[] = [];
  for (const source of sources.toReversed()) {
    const { header, name } = source;
    const first = header === null ? await findFirst(disk, name) : null;
    const firstAt = first && timeOf(first);
    const after = places[0];
    places.unshift({
      ...source,
      firstSeq: header?.first_seq ?? first?.seq ?? after?.firstSeq ?? null,
      at: header?.at ?? (isAt(firstAt) ? firstAt : null),
      next: after ? { firstSeq: after.firstSeq, prevSum: after.header?.prev_sum ?? null } : null,
    });
  }
  return places;
}

/** Null where it has no sound record. */
async function findFirst(disk: Disk, name: string): Promise<Numbered | null> {
  const file = await disk.openRead(name);
  const found: Numbered[] = [];
  try {
    await scanLines(file, null, ({ fault, text }) => {
      const record = parseRecord(text);
      if (fault !== null || !('seq' in record)) return undefined;
      found.push(record);
      return 'stop';
    });
    return found[0] ?? null;
  } finally {
    await file.close();
  }
}
