/**
 * Receipts on their way to the hub: every op's end, one at a time and in order, until the hub has
 * said yes. What waits is the journal itself; in memory is only its newest part, and on disk, as a
 * note, how far the hub has come. So a receipt may arrive twice, and none is lost by a restart.
 *
 * Invariants
 * - R1 The note never passes an end that the hub may not have.
 * - R2 A failed op that may still be tried again is not at its end: it is held until it is known.
 * - R3 Memory is bounded by `QUEUE_MAX`: beyond it the rest is read from the journal when its turn
 *   comes.
 */
import type { SealedOp } from '../../journal/op-record.ts';
import type { Clock, Random } from '../../reconcile/clock.ts';
import type { OpId } from '../../reconcile/ids.ts';
import { isTerminal, type OpRecord } from '../../reconcile/op.ts';
import { isSealed } from './agent-signer.ts';
import { backoffMs } from './backoff.ts';
import type { PostAnswer } from './hub-client.ts';
import type { ReceiptSource } from './receipt-source.ts';

export const QUEUE_MAX = 1_000;
/** The place is noted after so many receipts, or when none waits: repeats cost less than syncs. */
export const RECEIPTS_PER_NOTE = 32;
/** How soon a failed op that was not tried again after all is seen to have ended. */
const HELD_CHECK_MS = 100;

export interface OutboxParts {
  readonly clock: Clock;
  readonly random: Random;
  readonly source: ReceiptSource;
  readonly seal: (record: SealedOp) => string;
  readonly post: (envelope: string, signal: AbortSignal) => Promise<PostAnswer>;
  /** The hub has everything up to here. */
  readonly ackedSeq: number;
  /** Resolves when it is durable. */
  readonly keepAcked: (recordSeq: number) => Promise<void>;
  /** The newest record that is durable, as the outbox begins. */
  readonly newestSeq: number;
  /** Its lane is still at it: another attempt may follow. */
  readonly isAtWork: (opId: OpId) => boolean;
  /** Of the op's newest record, read here or not; null: it ended so long ago that none follows. */
  readonly latestSeq: (opId: OpId) => number | null;
  /** So many records left the journal, or were damaged in it, before they were read for the hub. */
  readonly onLost: (records: number) => void;
}

export class Outbox {
  readonly #parts: OutboxParts;
  /** Ends to be sent, the oldest first. */
  #queue: SealedOp[] = [];
  readonly #held = new Map<OpId, SealedOp>();
  /** Every end up to here is in the queue, held, or acknowledged. */
  #readSeq: number;
  /** The newest durable record. */
  #newestSeq: number;
  #notedSeq: number;
  #unnoted = 0;
  #wake = Promise.withResolvers<void>();

  constructor(parts: OutboxParts) {
    this.#parts = parts;
    this.#readSeq = parts.ackedSeq;
    this.#notedSeq = parts.ackedSeq;
    this.#newestSeq = parts.newestSeq;
  }

  /** Receipts that wait in memory; more may wait in the journal. */
  get waiting(): number {
    return this.#queue.length + this.#held.size;
  }

  /** Called with every record of an op once it is durable, in their order. Does not wait. */
  noteRecord(record: OpRecord): void {
    const isNext = this.#readSeq === this.#newestSeq && this.#queue.length < QUEUE_MAX;
    this.#newestSeq = Math.max(this.#newestSeq, record.seq);
    if (isNext && isSealed(record)) {
      this.#readSeq = this.#newestSeq;
      this.#take(record);
    }
    this.#wake.resolve();
  }

  #take(record: SealedOp): void {
    this.#held.delete(record.op_id);
    if (!isTerminal(record.state) || this.#isFollowed(record)) return;
    if (isSettled(record, this.#parts.isAtWork)) this.#queue.push(record);
    else this.#held.set(record.op_id, record);
  }

  /** Until aborted. Rejects only where the journal can no longer be written or read. */
  async run(signal: AbortSignal): Promise<void> {
    let failures = 0;
    signal.addEventListener('abort', () => this.#wake.resolve(), { once: true });
    while (!signal.aborted) {
      this.#releaseHeld();
      const [next] = this.#queue;
      if (next === undefined) {
        await this.#refill(signal);
        continue;
      }
      if (await this.#send(next, signal)) {
        failures = 0;
      } else {
        await this.#parts.clock.sleep(backoffMs(failures, this.#parts.random), signal);
        failures += 1;
      }
    }
  }

  async #send(next: SealedOp, signal: AbortSignal): Promise<boolean> {
    const answer = await this.#parts.post(this.#parts.seal(next), signal);
    if (answer.kind !== 'answered' || answer.status < 200 || answer.status > 299) return false;
    this.#queue.shift();
    this.#unnoted += 1;
    if (this.#unnoted >= RECEIPTS_PER_NOTE) await this.#noteAcked();
    return true;
  }

  #releaseHeld(): void {
    const settled = [...this.#held.values()].filter((record) =>
      isSettled(record, this.#parts.isAtWork),
    );
    if (settled.length === 0) return;
    for (const { op_id: opId } of settled) this.#held.delete(opId);
    const last = settled.filter((record) => !this.#isFollowed(record));
    this.#queue = [...this.#queue, ...last].sort((a, b) => a.seq - b.seq);
  }

  /** Its op was tried again and let go while the journal behind it has not been read (R2). */
  #isFollowed({ op_id: opId, seq }: SealedOp): boolean {
    return (this.#parts.latestSeq(opId) ?? 0) > seq;
  }

  /** The queue is empty: reads on in the journal, or waits for something to happen. */
  async #refill(signal: AbortSignal): Promise<void> {
    if (this.#unnoted > 0) return this.#noteAcked();
    if (this.#readSeq < this.#newestSeq) return this.#readOn();
    this.#wake = Promise.withResolvers();
    const due = new AbortController();
    const isHolding = this.#held.size > 0;
    const sleep = AbortSignal.any([signal, due.signal]);
    const timer = isHolding ? [this.#parts.clock.sleep(HELD_CHECK_MS, sleep)] : [];
    if (!signal.aborted) await Promise.race([this.#wake.promise, ...timer]);
    due.abort();
  }

  async #readOn(): Promise<void> {
    const range = { afterSeq: this.#readSeq, untilSeq: this.#newestSeq };
    const { ends, throughSeq, lost } = await this.#parts.source.readEnds(range);
    if (lost > 0) this.#parts.onLost(lost);
    this.#readSeq = Math.max(throughSeq, range.afterSeq + 1);
    for (const record of ends) this.#take(record);
  }

  /** R1: up to the oldest end that is not acknowledged. */
  async #noteAcked(): Promise<void> {
    this.#unnoted = 0;
    const waiting = [...this.#queue, ...this.#held.values()].map(({ seq }) => seq - 1);
    const ackedSeq = Math.min(this.#readSeq, ...waiting);
    if (ackedSeq <= this.#notedSeq) return;
    this.#notedSeq = ackedSeq;
    await this.#parts.keepAcked(ackedSeq);
  }
}

/** R2: a terminal record after which no other attempt can come. `isAtWork`: its lane has not let go. */
export function isSettled(
  { state, attempt, op_id, parent_op_id }: OpRecord,
  isAtWork: (opId: OpId) => boolean,
): boolean {
  // Without an attempt it was refused or cancelled at its turn, for good.
  if (state === 'succeeded' || attempt === 0) return isTerminal(state);
  return state === 'failed' && !isAtWork(parent_op_id ?? op_id);
}
