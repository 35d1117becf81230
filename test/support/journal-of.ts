/** A journal in memory with these ops, in short segments, and a reader of it. */
import type { Journal, StartOptions } from '../../src/journal/journal.ts';
import { JournalReader } from '../../src/journal/reader.ts';
import type { OpRecordDraft } from '../../src/reconcile/op.ts';
import { startOn } from './journal-script.ts';
import { MemoryDisk } from './memory-disk.ts';

export async function journalOf(
  stories: readonly OpRecordDraft[][],
  options: Partial<StartOptions> = {},
): Promise<{ disk: MemoryDisk; reader: JournalReader; journal: Journal }> {
  const disk = new MemoryDisk();
  const journal = await startOn(disk, { segmentBytes: 2048, ...options });
  for (const record of stories.flat()) await journal.ledger.append(record);
  return { disk, reader: new JournalReader(disk), journal };
}
