/** A segment's first line, read without the rest. */
import type { Disk } from './disk.ts';
import { parseRecord, type SegmentHeader } from './records.ts';
import { scanLines } from './scan.ts';

/** Null where it is damaged or no header. Rejects with the disk's errors. */
export async function readHeader(disk: Disk, name: string): Promise<SegmentHeader | null> {
  const file = await disk.openRead(name);
  let header: SegmentHeader | null = null;
  try {
    await scanLines(file, null, ({ text, fault }) => {
      const record = parseRecord(text);
      if (fault === null && record.kind === 'segment') header = record.header;
      return 'stop';
    });
    return header;
  } finally {
    await file.close();
  }
}
