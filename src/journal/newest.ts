/**
 * The newest segment, and that nothing is missing before it: what opening goes by. Changes nothing
 * and takes no lock, so who only looks is refused by just what a start would be refused by.
 */
import { hasSum } from './chain-link.ts';
import { type Disk, errnoOf } from './disk.ts';
import { JournalReader } from './reader.ts';
import { type Replayed, replaySegment } from './replay.ts';
import { corrupt, readMarker, segmentName } from './segments.ts';

export interface Newest extends Replayed {
  readonly number: number;
  /** The file `newest` names it. */
  readonly isMarked: boolean;
}

/** Null: there is no journal yet. Throws `journal_corrupt`. */
export async function readNewest(disk: Disk): Promise<Newest | null> {
  // Before the list: beside a writer it names no segment that the list does not have yet.
  const marked = await readMarker(disk);
  const numbers = await new JournalReader(disk).segments();
  const number = numbers.at(-1);
  if (marked === 'unreadable') {
    throw corrupt({ segment: number ?? 1, rule: 'J10' }, 'the file `newest` is damaged');
  }
  if (marked !== null && marked > (number ?? 0)) {
    throw corrupt({ segment: marked, rule: 'J10' }, 'the newest segment is missing');
  }
  if (number === undefined) return null;
  const replayed = await replaySegment(disk, number);
  await requireLink(disk, numbers, replayed);
  return { ...replayed, number, isMarked: marked === number };
}

async function requireLink(
  disk: Disk,
  numbers: readonly number[],
  { header }: Replayed,
): Promise<void> {
  const previous = numbers.at(-2);
  if (previous === undefined) return;
  const { segment } = header;
  if (previous !== segment - 1) {
    throw corrupt({ segment: segment - 1, rule: 'J10' }, 'the segment is missing');
  }
  if (await isLinked(disk, previous, header.prev_sum)) return;
  const message = `it does not follow from ${segmentName(previous)}`;
  throw corrupt({ segment, line: 1, rule: 'J10' }, message);
}

async function isLinked(disk: Disk, previous: number, sum: string): Promise<boolean> {
  try {
    return await hasSum(disk, previous, sum);
  } catch (error) {
    // Beside a writer: retention has just taken it.
    if (errnoOf(error) === 'ENOENT') return true;
    throw error;
  }
}
