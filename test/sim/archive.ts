/**
 * Everything the journal was ever asked to keep, seen from below: the lines that were synced, and
 * the segments that retention has removed. It knows nothing of what the agent believes.
 */
import type { SealedOp } from '../../src/journal/op-record.ts';
import { JournalReader } from '../../src/journal/reader.ts';
import { parseRecord } from '../../src/journal/records.ts';
import { segmentName } from '../../src/journal/segments.ts';
import { MemoryDisk } from '../support/memory-disk.ts';

export class Archive {
  readonly #removed = new Map<string, Buffer>();
  /** Durable op records by seq, with their sums. */
  readonly #ops = new Map<number, SealedOp>();
  /** Told of each op record as it becomes durable. */
  onOp: (record: SealedOp) => void = () => undefined;

  keep(name: string, bytes: Buffer): void {
    this.#removed.set(name, bytes);
  }

  synced(text: string): void {
    for (const record of readOps(text)) this.#add(record);
  }

  #add(record: SealedOp): void {
    const known = this.#ops.get(record.seq);
    if (known?.sum === record.sum) return;
    this.#ops.set(record.seq, record);
    this.onOp(record);
  }

  get ops(): readonly SealedOp[] {
    return [...this.#ops.values()].sort((a, b) => a.seq - b.seq);
  }

  /** The whole history there is on a disk, removed segments included. */
  history(disk: MemoryDisk): MemoryDisk {
    return MemoryDisk.of([...this.#removed, ...disk.files()]);
  }

  /**
   * After opening, all that is read is durable. Returns what was durable before and is not there
   * any more.
   */
  async reread(disk: MemoryDisk): Promise<readonly SealedOp[]> {
    const history = this.history(disk);
    const files = history.files();
    const there = new Map<number, SealedOp>();
    for (const number of await new JournalReader(history).segments()) {
      const text = files.get(segmentName(number))?.toString('utf8') ?? '';
      for (const record of readOps(text)) there.set(record.seq, record);
    }
    const lost = this.ops.filter(({ seq, sum }) => there.get(seq)?.sum !== sum);
    for (const { seq } of lost) this.#ops.delete(seq);
    for (const record of there.values()) this.#add(record);
    return lost;
  }
}

/** Whole lines only; what else a segment holds is not an op's record. */
function readOps(text: string): SealedOp[] {
  const lines = text.split('\n').slice(0, -1);
  return lines.flatMap((line) => {
    if (!line.startsWith('{"type":"op"')) return [];
    const record = parseRecord(line);
    return record.kind === 'op' ? [record.op] : [];
  });
}
