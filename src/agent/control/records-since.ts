/** The records of ops behind a sequence number, from the journal: what a stream has missed. */

import type { SealedOp } from '../../journal/op-record.ts';
import type { JournalReader } from '../../journal/reader.ts';
import { type TailLine, tailBehind } from '../../journal/tail.ts';
import type { Clock } from '../../reconcile/clock.ts';

/** A reader that missed more has been away for days: it starts anew. */
const RECORDS_MISSED_MAX = 10_000;

/**
 * In pieces, each read when it is asked for. `missing`: how many there are at most, which bounds
 * what is read. Null: they are too many, or have left the journal.
 */
export async function findRecordsSince(
  history: JournalReader,
  {
    seq,
    missing,
    clock,
    signal,
  }: {
    readonly seq: number;
    readonly missing: number;
    readonly clock: Clock;
    readonly signal: AbortSignal;
  },
): Promise<AsyncGenerator<readonly SealedOp[]> | null> {
  if (missing > RECORDS_MISSED_MAX) return null;
  const pieces = await tailBehind(history, seq, { clock, signal });
  return pieces && opsOf(pieces);
}

async function* opsOf(
  pieces: AsyncIterable<readonly TailLine[]>,
): AsyncGenerator<readonly SealedOp[]> {
  for await (const piece of pieces) {
    yield piece.flatMap(({ record }) => (record.kind === 'op' ? [record.op] : []));
  }
}
