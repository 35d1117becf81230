/** Where a segment's next one follows from it. Answered without reading it as a whole. */
import type { Disk, ReadFile } from './disk.ts';
import { scanBack } from './scan-back.ts';
import { segmentName } from './segments.ts';

/**
 * Where the line with this sum ends; null where no line has it. Looked for from the end: it is the
 * last line, unless a stale writer's late lines came after it.
 */
export async function findLink(file: ReadFile, sum: string): Promise<number | null> {
  const ends: number[] = [];
  // With its newline: the records that a line restates have sums as well.
  const ending = Buffer.from(`,"sum":"${sum}"}\n`);
  const take = ({ endOffset }: { readonly endOffset: number }): 'stop' => {
    ends.push(endOffset);
    return 'stop';
  };
  await scanBack(file, take, { needle: ending });
  return ends[0] ?? null;
}

/** Whether a line of the segment has this sum. */
export async function hasSum(disk: Disk, segment: number, sum: string): Promise<boolean> {
  const file = await disk.openRead(segmentName(segment));
  try {
    return (await findLink(file, sum)) !== null;
  } finally {
    await file.close();
  }
}
