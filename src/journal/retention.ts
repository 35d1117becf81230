/** Which old segments go (J10). History only: the newest segment restates all that is live. */
import { type Disk, errnoOf } from './disk.ts';
import { readHeader } from './segment-header.ts';
import { segmentName, segmentNumbers, shortSegmentBytes, tornName } from './segments.ts';

/** A short segment counts as this share of a full one: the number of files is bounded, too. */
const LEAST_SHARE = 1 / 16;

export interface Retention {
  /** A new segment is begun at this size. */
  readonly segmentBytes: number;
  readonly keepSegments: number;
  readonly keepForMs: number;
  /**
   * There is a hub that is owed receipts: what it has not acknowledged stays beyond number and age,
   * as long as all segments together have the size of `keepSegments` full ones.
   */
  readonly keepUnacked?: boolean;
}

interface RetentionState {
  readonly nowMs: number;
  readonly ackedSeq: number | null;
  /**
   * Of segments asked before, by number, kept here for the next time: there may be hundreds, and a
   * writer waits. All but the newest stay as long as they are.
   */
  readonly sizes: Map<number, number>;
}

/**
 * Removes, oldest first, the segments beyond `keepSegments` and those whose last record is older
 * than `keepForMs`; `ackedSeq` is how far the hub has come.
 */
export async function removeOld(
  disk: Disk,
  { segmentBytes, keepSegments, keepForMs, keepUnacked = false }: Retention,
  { nowMs, ackedSeq, sizes }: RetentionState,
): Promise<void> {
  let left = segmentNumbers(await disk.list());
  const owedFromSeq = keepUnacked && ackedSeq !== null ? ackedSeq + 1 : Number.POSITIVE_INFINITY;
  for (;;) {
    const [oldest, second] = left;
    if (oldest === undefined || second === undefined) return;
    // Nothing in a segment is newer than the beginning of the next one.
    const next = await readHeader(disk, segmentName(second));
    // Short ones count as such, where there are any but the newest.
    const isSurplus =
      left.length > keepSegments &&
      (shortSegmentBytes(segmentBytes) === segmentBytes ||
        (await sumShares(disk, left, { segmentBytes, sizes })) > keepSegments);
    const isOld = next !== null && Date.parse(next.at) <= nowMs - keepForMs;
    if (!isSurplus && !isOld) return;
    const isOwed = next !== null && next.first_seq > owedFromSeq;
    if (isOwed && (await sumShares(disk, left, { segmentBytes, sizes })) <= keepSegments) return;
    await removeIfThere(disk, segmentName(oldest));
    await removeIfThere(disk, tornName(oldest));
    sizes.delete(oldest);
    left = left.slice(1);
  }
}

/** What the segments take, in full ones; the newest as it is now. */
async function sumShares(
  disk: Disk,
  numbers: readonly number[],
  { segmentBytes, sizes }: { readonly segmentBytes: number; readonly sizes: Map<number, number> },
): Promise<number> {
  const newest = numbers.at(-1);
  let shares = 0;
  for (const number of numbers) {
    const size = sizes.get(number) ?? (await sizeOf(disk, segmentName(number)));
    if (number !== newest) sizes.set(number, size);
    shares += Math.max(LEAST_SHARE, size / segmentBytes);
  }
  return shares;
}

async function sizeOf(disk: Disk, name: string): Promise<number> {
  const file = await disk.openRead(name);
  try {
    return await file.size();
  } finally {
    await file.close();
  }
}

async function removeIfThere(disk: Disk, name: string): Promise<void> {
  try {
    await disk.remove(name);
  } catch (error) {
    if (errnoOf(error) !== 'ENOENT') throw error;
  }
}
