/** The records of ops behind a sequence number, from the journal: what a stream has missed. */

import type { SealedOp } from '../../journal/op-record.ts';
import type { JournalReader } from '../../journal/reader.ts';
import { tailJournal } from '../../journal/tail.ts';
import type { Clock } from '../../reconcile/clock.ts';

/** Besides records, segments hold what they restate. */
const LINES_FIRST = 256;
/** A reader that missed more has been away for days: it starts anew. */
const RECORDS_MISSED_MAX = 10_000;

export type Missed =
  | { readonly kind: 'records'; readonly records: readonly SealedOp[] }
  /** They are too many, or have left the journal. */
  | { readonly kind: 'too_many' };

/** `missing`: how many there are at most, which bounds what is read. */
export async function readRecordsSince(
  history: JournalReader,
  {
    seq,
    missing,
    clock,
  }: { readonly seq: number; readonly missing: number; readonly clock: Clock },
): Promise<Missed> {
  if (missing <= 0) return { kind: 'records', records: [] };
  if (missing > RECORDS_MISSED_MAX) return { kind: 'too_many' };
  const signal = new AbortController().signal;
  for (let lines = missing + LINES_FIRST; ; lines *= 4) {
    const records: SealedOp[] = [];
    let oldestSeq = Number.POSITIVE_INFINITY;
    let count = 0;
    for await (const { record } of tailJournal(history, { lines, follow: false, clock, signal })) {
      count += 1;
      if ('seq' in record) oldestSeq = Math.min(oldestSeq, record.seq);
      if (record.kind === 'op' && record.seq > seq) records.push(record.op);
    }
    if (oldestSeq <= seq + 1) return { kind: 'records', records };
    if (count < lines) return { kind: 'too_many' };
  }
}
