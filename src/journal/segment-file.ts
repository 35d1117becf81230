/**
 * A segment as readers see it: the part of it that counts, and what is behind that.
 *
 * A segment ends with the line that the next one follows from. What a stale writer has appended
 * since, after another had taken over, is late (J8): it never happened. All of the newest counts.
 */
import { findLink } from './chain-link.ts';
import { type Disk, errnoOf, type ReadFile } from './disk.ts';
import { readHeader } from './segment-header.ts';
import { segmentName } from './segments.ts';

export interface SegmentFile {
  readonly counted: ReadFile;
  /** Of a stale writer. */
  readonly late: ReadFile;
  /**
   * Does a line of it have the sum that the next segment follows from? `unknown`: there is no next
   * one, or its header is damaged. All counts unless it has.
   */
  readonly link: 'found' | 'missing' | 'unknown';
}

/** Null where it is not there: retention may have removed it meanwhile. */
export async function readSegment<Result>(
  disk: Disk,
  number: number,
  read: (segment: SegmentFile) => Promise<Result>,
): Promise<Result | null> {
  const file = await ifThere(disk.openRead(segmentName(number)));
  if (file === null) return null;
  try {
    return await read(await divide(file, disk, number));
  } finally {
    await file.close();
  }
}

async function divide(file: ReadFile, disk: Disk, number: number): Promise<SegmentFile> {
  // Before the next one is looked for: while there is none, no line is late.
  const sizeAlone = await file.size();
  const next = await ifThere(readHeader(disk, segmentName(number + 1)));
  const size = next === null ? sizeAlone : await file.size();
  const end = next === null ? null : await findLink(windowOf(file, 0, size), next.prev_sum);
  return {
    counted: windowOf(file, 0, end ?? size),
    late: windowOf(file, end ?? size, size),
    link: next === null ? 'unknown' : end === null ? 'missing' : 'found',
  };
}

function windowOf(file: ReadFile, from: number, to: number): ReadFile {
  return {
    size: async () => to - from,
    read: async (into, position) => {
      const room = to - from - position;
      return room <= 0 ? 0 : await file.read(into.subarray(0, room), from + position);
    },
    close: () => file.close(),
  };
}

async function ifThere<Value>(reading: Promise<Value>): Promise<Value | null> {
  try {
    return await reading;
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return null;
    throw error;
  }
}
