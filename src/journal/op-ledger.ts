/** The journal as the core sees it: the port `OpLedger` over the fold and the appender. */
import type { Clock } from '../reconcile/clock.ts';
import { ReconcilerError } from '../reconcile/errors.ts';
import type { OpRecordDraft } from '../reconcile/op.ts';
import type { Note, OpLedger } from '../reconcile/ports.ts';
import type { Appender } from './appender.ts';
import type { Ledger } from './ledger.ts';
import { LedgerReads } from './ledger-reads.ts';
import { noteFields } from './note-records.ts';
import type { Refusal } from './op-book.ts';
import type { SealedOp } from './op-record.ts';

export class JournalLedger extends LedgerReads implements OpLedger {
  readonly #ledger: Ledger;
  readonly #appender: Appender;
  readonly hashSecret: (text: string) => string;
  readonly lastLifeAtMs: number;

  constructor(parts: {
    readonly ledger: Ledger;
    readonly appender: Appender;
    readonly clock: Clock;
    readonly hashSecret: (text: string) => string;
    readonly lastLifeAtMs: number;
  }) {
    super(parts.ledger, parts.clock);
    this.#ledger = parts.ledger;
    this.#appender = parts.appender;
    this.hashSecret = parts.hashSecret;
    this.lastLifeAtMs = parts.lastLifeAtMs;
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
}

function refused({ rule, message }: Refusal): ReconcilerError {
  if (rule === 'limit') return new ReconcilerError('queue_full', message);
  return broken(`${message} (${rule})`);
}

function broken(message: string): ReconcilerError {
  return new ReconcilerError('internal_error', message, { disposition: 'halt' });
}
