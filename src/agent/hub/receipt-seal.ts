/**
 * Receipts for the API: an op's end, signed for whoever asks. Never of a record that a crash may
 * still take back: a reader of the journal's file sees lines that are not yet synced.
 */
import type { OpId } from '../../reconcile/ids.ts';
import type { OpRecord } from '../../reconcile/op.ts';
import { type AgentSigner, isSealed } from './agent-signer.ts';
import { type EnvelopeJson, envelopeJson } from './dsse.ts';
import { isSettled } from './outbox.ts';

export class ReceiptSeal {
  readonly #isAtWork: (opId: OpId) => boolean;
  /** Every record up to here is durable. */
  #durableSeq: number;

  constructor(parts: {
    readonly durableSeq: number;
    /** Its lane is still at it: another attempt may follow. */
    readonly isAtWork: (opId: OpId) => boolean;
  }) {
    this.#durableSeq = parts.durableSeq;
    this.#isAtWork = parts.isAtWork;
  }

  /** Called with every record of an op once it is durable, in their order. */
  noteRecord({ seq }: OpRecord): void {
    this.#durableSeq = Math.max(this.#durableSeq, seq);
  }

  /** Null: it has not ended, may be tried again, or is not durable yet. */
  seal(latest: OpRecord, signer: Pick<AgentSigner, 'receipt'>): EnvelopeJson | null {
    if (latest.seq > this.#durableSeq || !isSealed(latest)) return null;
    return isSettled(latest, this.#isAtWork) ? envelopeJson(signer.receipt(latest)) : null;
  }
}
