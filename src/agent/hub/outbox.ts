/**
 * Receipts on their way to the hub: every op's end, one at a time and in order, until the hub has
 * said yes. What waits is the journal itself; in memory is only its newest part, and on disk, as a
 * note, how far the hub has come. So a receipt may arrive twice, and none is lost by a restart.
 *
 * Invariants
 * - R1 The note never passes an end that the hub may not have, but one it has refused for good.
 * - R2 A failed op that may still be tried again is not at its end: it is held until it is known.
 * - R3 Memory is bounded by `QUEUE_MAX`: beyond it the rest is read from the journal when its turn
 *   comes.
 * - R4 One receipt does not hold up the others for ever: one that is answered with an error again
 *   and again is sent again later, out of order.
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
/** So many failures in a row are no restart of a hub any more. */
export const TRIES_IN_ORDER = 4;
/** When one comes again that was put aside (R4). */
export const LATER_MS = 300_000;
/** The hub will never take this one: too large, or not what it understands. */
const NEVER: ReadonlySet<number> = new Set([413, 422]);
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
  /** The hub has refused it for good, and does not get it. */
  readonly onRefused: (record: SealedOp, status: number) => void;
  /** Receipts are not taken, for a while already; null: they are again. Told of each change. */
  readonly onTrouble: (trouble: Trouble | null) => void;
}

export interface Trouble {
  /** Whose receipt was tried. */
  readonly opId: OpId;
  readonly message: string;
}

/** What waits for the hub to take it. */
export interface Waiting {
  /** About; not what an earlier life left in the journal and nobody has read yet. */
  readonly count: number;
  /** When the oldest op of them ended, wall clock ms; null: none waits. */
  readonly oldestAtMs: number | null;
}

export class Outbox {
  readonly #parts: OutboxParts;
  /** Ends to be sent, the oldest first. */
  #queue: SealedOp[] = [];
  readonly #held = new Map<OpId, SealedOp>();
  /** Put aside (R4), each until a moment of the monotonic clock. */
  readonly #later = new Map<SealedOp, number>();
  /** Those that have been put aside, whether it is their turn again or not. */
  readonly #stuck = new Set<SealedOp>();
  /** Ends that came while it was behind, and are still to be read; about so many. */
  #unread = 0;
  /** In a row, of whichever receipt. */
  #failures = 0;
  #headFailures = 0;
  #trouble: Trouble | null = null;
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

  get waiting(): Waiting {
    const waiting = [...this.#queue.slice(0, 1), ...this.#later.keys()];
    const times = waiting.map(({ at }) => Date.parse(at));
    const oldestAtMs = times.length === 0 ? null : Math.min(...times);
    return { count: this.#queue.length + this.#later.size + this.#unread, oldestAtMs };
  }

  get trouble(): Trouble | null {
    return this.#trouble;
  }

  /** Called with every record of an op once it is durable, in their order. Does not wait. */
  noteRecord(record: OpRecord): void {
    const isNext = this.#readSeq === this.#newestSeq && this.#queue.length < QUEUE_MAX;
    this.#newestSeq = Math.max(this.#newestSeq, record.seq);
    if (isNext && isSealed(record)) {
      this.#readSeq = this.#newestSeq;
      this.#take(record);
    } else if (isTerminal(record.state)) {
      this.#unread += 1;
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
    const { clock, random } = this.#parts;
    signal.addEventListener('abort', () => this.#wake.resolve(), { once: true });
    while (!signal.aborted) {
      this.#release();
      const [next] = this.#queue;
      if (next === undefined) {
        await this.#refill(signal);
        continue;
      }
      const answer = await this.#parts.post(this.#parts.seal(next), signal);
      if (signal.aborted) return;
      if (isDone(answer)) {
        await this.#finish(next, answer.status);
      } else {
        this.#postpone(next, answer);
        await clock.sleep(backoffMs(this.#failures - 1, random), signal);
      }
    }
  }

  async #finish(next: SealedOp, status: number): Promise<void> {
    const { onRefused, onTrouble } = this.#parts;
    this.#queue.shift();
    this.#stuck.delete(next);
    // It may have taken none at all: what was put aside meanwhile is not what it has refused.
    if (this.#failures >= TRIES_IN_ORDER)
      for (const each of this.#later.keys()) this.#later.set(each, 0);
    this.#failures = 0;
    this.#headFailures = 0;
    if (NEVER.has(status)) onRefused(next, status);
    if (this.#trouble !== null && this.#stuck.size === 0) {
      this.#trouble = null;
      onTrouble(null);
    }
    this.#unnoted += 1;
    if (this.#unnoted >= RECEIPTS_PER_NOTE) await this.#noteAcked();
  }

  #postpone(next: SealedOp, answer: PostAnswer): void {
    const { clock, onTrouble } = this.#parts;
    this.#failures += 1;
    if (this.#failures >= TRIES_IN_ORDER && this.#trouble === null) {
      const said =
        answer.kind === 'answered' ? `the hub answered ${answer.status}` : answer.message;
      this.#trouble = { opId: next.op_id, message: said };
      onTrouble(this.#trouble);
    }
    // A hub that is away has said nothing of this one.
    if (answer.kind !== 'answered') return;
    this.#headFailures += 1;
    const isStuck = this.#stuck.has(next);
    if (!isStuck && (this.#headFailures < TRIES_IN_ORDER || this.#stuck.size >= QUEUE_MAX)) return;
    this.#queue.shift();
    this.#headFailures = 0;
    this.#stuck.add(next);
    this.#later.set(next, clock.monotonicMs() + LATER_MS);
  }

  /** Puts into the queue what was held and is settled, and what was put aside for long enough. */
  #release(): void {
    const nowMs = this.#parts.clock.monotonicMs();
    const due = [...this.#later].filter(([, dueMs]) => dueMs <= nowMs).map(([record]) => record);
    for (const record of due) this.#later.delete(record);
    const settled = [...this.#held.values()].filter((record) =>
      isSettled(record, this.#parts.isAtWork),
    );
    if (settled.length + due.length === 0) return;
    for (const { op_id: opId } of settled) this.#held.delete(opId);
    const last = settled.filter((record) => !this.#isFollowed(record));
    this.#queue = [...this.#queue, ...due, ...last].sort((a, b) => a.seq - b.seq);
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
    const nowMs = this.#parts.clock.monotonicMs();
    const waits = [...this.#later.values()].map((dueMs) => Math.max(0, dueMs - nowMs));
    if (this.#held.size > 0) waits.push(HELD_CHECK_MS);
    const sleep = AbortSignal.any([signal, due.signal]);
    const timer = waits.length > 0 ? [this.#parts.clock.sleep(Math.min(...waits), sleep)] : [];
    if (!signal.aborted) await Promise.race([this.#wake.promise, ...timer]);
    due.abort();
  }

  async #readOn(): Promise<void> {
    const range = { afterSeq: this.#readSeq, untilSeq: this.#newestSeq };
    const { ends, throughSeq, lost } = await this.#parts.source.readEnds(range);
    if (lost > 0) this.#parts.onLost(lost);
    this.#readSeq = Math.max(throughSeq, range.afterSeq + 1);
    const isBehind = this.#readSeq < this.#newestSeq;
    this.#unread = isBehind ? Math.max(0, this.#unread - ends.length) : 0;
    for (const record of ends) this.#take(record);
  }

  /** R1: up to the oldest end that is not acknowledged. */
  async #noteAcked(): Promise<void> {
    this.#unnoted = 0;
    const waiting = [...this.#queue, ...this.#later.keys(), ...this.#held.values()].map(
      ({ seq }) => seq - 1,
    );
    const ackedSeq = Math.min(this.#readSeq, ...waiting);
    if (ackedSeq <= this.#notedSeq) return;
    this.#notedSeq = ackedSeq;
    await this.#parts.keepAcked(ackedSeq);
  }
}

/** The hub has it, or will never have it. */
function isDone(answer: PostAnswer): answer is Extract<PostAnswer, { kind: 'answered' }> {
  if (answer.kind !== 'answered') return false;
  return (answer.status >= 200 && answer.status <= 299) || NEVER.has(answer.status);
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
