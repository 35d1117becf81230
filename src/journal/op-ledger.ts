/** The journal as the core sees it: the port `OpLedger` over the fold and the appender. */
import type { Clock } from '../reconcile/clock.ts';
import { ReconcilerError } from '../reconcile/errors.ts';
import type { OpId, Upid, Vmid } from '../reconcile/ids.ts';
import type { OpRecordDraft } from '../reconcile/op.ts';
import type { Hold, KeptKey, Note, OpLedger, OpView, Pause } from '../reconcile/ports.ts';
import type { Appender } from './appender.ts';
import type { Ledger } from './ledger.ts';
import { noteFields } from './note-records.ts';
import type { Refusal } from './op-book.ts';
import type { SealedOp } from './op-record.ts';

export class JournalLedger implements OpLedger {
  readonly #ledger: Ledger;
  readonly #appender: Appender;
  readonly #clock: Clock;
  readonly hashSecret: (text: string) => string;

  constructor(parts: {
    readonly ledger: Ledger;
    readonly appender: Appender;
    readonly clock: Clock;
    readonly hashSecret: (text: string) => string;
  }) {
    this.#ledger = parts.ledger;
    this.#appender = parts.appender;
    this.#clock = parts.clock;
    this.hashSecret = parts.hashSecret;
  }

  /**
   * Rejects with `journal_poisoned` (halt), with `internal_error` (halt) for a record that may not
   * follow, `queue_full` or `invalid_request` (too long); then no record was made. The returned
   * record also has its `sum`.
   */
  append(draft: OpRecordDraft): Promise<SealedOp> {
    try {
      const { record, done } = this.#place(draft);
      // No `await`: with very many appenders that costs a tenth of all.
      return done.then(() => record);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  #place(draft: OpRecordDraft): { readonly record: SealedOp; readonly done: Promise<void> } {
    const nowMs = this.#appender.now();
    const composed = this.#appender.compose('op', draft);
    const refusal = this.#ledger.refuse(draft, nowMs);
    if (refusal !== null) throw refused(refusal);
    const { seq, at, sum, done } = this.#appender.append(composed);
    const record: SealedOp = { ...draft, type: 'op', seq, at, sum };
    this.#ledger.applyOp(record);
    return { record, done };
  }

  together<Result>(work: () => Result): Result {
    return this.#appender.together(work);
  }

  async note(note: Note): Promise<void> {
    this.#appender.now();
    const composed = this.#appender.compose(note.kind, noteFields(note.kind, note));
    const { at, done } = this.#appender.append(composed);
    this.#ledger.applyNote(note, at);
    await done;
  }

  opsInFlight(): readonly OpView[] {
    return this.#ledger.opsInFlight();
  }

  inFlightCount(): number {
    return this.#ledger.inFlightCount();
  }

  endedOps(): readonly OpView[] {
    return this.#ledger.endedOps();
  }

  findOp(opId: OpId): OpView | null {
    return this.#ledger.findOp(opId);
  }

  childrenOf(opId: OpId): readonly OpView[] {
    return this.#ledger.childrenOf(opId);
  }

  findKey(idempKey: string): KeptKey | null {
    return this.#ledger.findKey(idempKey, this.#clock.now());
  }

  lastUpid(vmid: Vmid): Upid | null {
    return this.#ledger.lastUpid(vmid);
  }

  recentStarts(vmid: Vmid): readonly number[] {
    return this.#ledger.recentStarts(vmid, this.#clock.now());
  }

  wasStartedLately(vmid: Vmid): boolean {
    return this.#ledger.wasStartedLately(vmid, this.#clock.now());
  }

  rememberedSince(vmid: Vmid): number | null {
    return this.#ledger.rememberedSince(vmid, this.#clock.now());
  }

  holds(): ReadonlyMap<Vmid, Hold> {
    return this.#ledger.holds();
  }

  pause(): Pause | null {
    return this.#ledger.pause();
  }

  isInitialDone(vmid: Vmid): boolean {
    return this.#ledger.isInitialDone(vmid);
  }

  appliedSecret(vmid: Vmid, key: string): string | null {
    return this.#ledger.appliedSecret(vmid, key);
  }
}

function refused({ rule, message }: Refusal): ReconcilerError {
  if (rule === 'limit') return new ReconcilerError('queue_full', message);
  return broken(`${message} (${rule})`);
}

function broken(message: string): ReconcilerError {
  return new ReconcilerError('internal_error', message, { disposition: 'halt' });
}
