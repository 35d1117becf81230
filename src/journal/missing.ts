/** What is seen to be missing of a journal by the names in its folder alone. */
import type { JournalReader } from './reader.ts';
import { readMarker, segmentName } from './segments.ts';

/** In words; null: nothing. */
export async function findMissing(reader: JournalReader): Promise<string | null> {
  // First: the segment it names is there before it does, and is none that goes with old age.
  const newest = await readMarker(reader.disk);
  const numbers = await reader.segments();
  if (newest === 'unreadable') return 'which segment is the newest cannot be read';
  const [first = 1] = numbers;
  const wanted = Array.from({ length: (newest ?? 0) - first + 1 }, (_, index) => first + index);
  const missing = wanted.find((number) => !numbers.includes(number));
  return missing === undefined ? null : `${segmentName(missing)} is missing`;
}
