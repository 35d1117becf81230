/** Does a segment follow from the one before it? Answered without reading that one as a whole. */
import type { Disk } from './disk.ts';
import { segmentName } from './segments.ts';

const CHUNK_BYTES = 256 * 1024;

/**
 * Whether a line of the segment has this sum. Looked for from its end: it is the last line, unless
 * a stale writer's late line came after it.
 */
export async function hasSum(disk: Disk, segment: number, sum: string): Promise<boolean> {
  const ending = Buffer.from(`,"sum":"${sum}"}\n`);
  const file = await disk.openRead(segmentName(segment));
  try {
    const buffer = Buffer.allocUnsafe(CHUNK_BYTES + ending.length);
    let end = await file.size();
    while (end > 0) {
      const start = Math.max(0, end - CHUNK_BYTES);
      // Chunks overlap by one ending, so that none is cut in two.
      const wanted = Math.min(buffer.length, end - start + ending.length);
      const got = await file.read(buffer.subarray(0, wanted), start);
      if (buffer.subarray(0, got).includes(ending)) return true;
      end = start;
    }
    return false;
  } finally {
    await file.close();
  }
}
