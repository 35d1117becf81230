/** Which old segments go (J10). History only: the newest segment restates all that is live. */
import { type Disk, errnoOf } from './disk.ts';
import { parseRecord } from './records.ts';
import { scanLines } from './scan.ts';
import { segmentName, segmentNumbers, tornName } from './segments.ts';

export interface Retention {
  readonly keepSegments: number;
  readonly keepForMs: number;
}

/**
 * Removes, oldest first, the segments beyond `keepSegments` and those whose last record is older
 * than `keepForMs`. Returns the numbers removed.
 */
export async function removeOld(
  disk: Disk,
  { keepSegments, keepForMs }: Retention,
  nowMs: number,
): Promise<readonly number[]> {
  const numbers = segmentNumbers(await disk.list());
  const removed: number[] = [];
  for (const [index, number] of numbers.slice(0, -1).entries()) {
    const next = numbers[index + 1] ?? number;
    const isSurplus = numbers.length - index > keepSegments;
    if (!isSurplus && (await openedAtMs(disk, next)) > nowMs - keepForMs) break;
    await removeIfThere(disk, segmentName(number));
    await removeIfThere(disk, tornName(number));
    removed.push(number);
  }
  return removed;
}

/** When a segment was opened: nothing in the one before it is newer. */
async function openedAtMs(disk: Disk, number: number): Promise<number> {
  const file = await disk.openRead(segmentName(number));
  let atMs = Number.POSITIVE_INFINITY;
  try {
    await scanLines(file, null, ({ text }) => {
      const record = parseRecord(text);
      if (record.kind === 'segment') atMs = Date.parse(record.header.at);
      return 'stop';
    });
  } finally {
    await file.close();
  }
  return atMs;
}

async function removeIfThere(disk: Disk, name: string): Promise<void> {
  try {
    await disk.remove(name);
  } catch (error) {
    if (errnoOf(error) !== 'ENOENT') throw error;
  }
}
