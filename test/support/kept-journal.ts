/**
 * What a journal keeps, without its disk: the records in order, folded by the journal's own rules,
 * so what may not follow is refused here too. It outlives the engine; `open` is a restart. The
 * journal itself, and what a disk does to it, is tested in test/journal.
 */
import { createHmac } from 'node:crypto';
import { Ledger } from '../../src/journal/ledger.ts';
import type { SealedOp } from '../../src/journal/op-record.ts';
import type { Clock } from '../../src/reconcile/clock.ts';
import { ReconcilerError } from '../../src/reconcile/errors.ts';
import type { OpRecord, OpRecordDraft } from '../../src/reconcile/op.ts';
import type { Note, OpLedger } from '../../src/reconcile/ports.ts';

type Entry =
  | { readonly kind: 'op'; readonly record: SealedOp }
  | { readonly kind: 'note'; readonly note: Note };

export class KeptJournal {
  readonly #clock: Clock;
  readonly #entries: Entry[] = [];
  /** Appended and not on disk yet. */
  #batch: Entry[] = [];

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** What is appended in one turn is written in one go, as the journal's writer does it. */
  async write(entry: Entry): Promise<void> {
    this.#batch.push(entry);
    await Promise.resolve();
    this.#entries.push(...this.#batch);
    this.#batch = [];
  }

  /** The process has died: what was not written never is. */
  crash(): void {
    this.#batch = [];
  }

  get length(): number {
    return this.#entries.length + this.#batch.length;
  }

  get records(): readonly OpRecord[] {
    return this.#entries.flatMap((entry) => (entry.kind === 'op' ? [entry.record] : []));
  }

  get notes(): readonly Note[] {
    return this.#entries.flatMap((entry) => (entry.kind === 'note' ? [entry.note] : []));
  }

  /** Folds everything anew, as a start of the agent does. */
  open(): OpLedger {
    const ledger = new Ledger();
    for (const entry of this.#entries) {
      if (entry.kind === 'op') ledger.applyOp(entry.record);
      else ledger.applyNote(entry.note);
    }
    return new KeptLedger(ledger, this, this.#clock);
  }
}

class KeptLedger implements OpLedger {
  readonly #ledger: Ledger;
  readonly #journal: KeptJournal;
  readonly #clock: Clock;

  constructor(ledger: Ledger, journal: KeptJournal, clock: Clock) {
    this.#ledger = ledger;
    this.#journal = journal;
    this.#clock = clock;
  }

  async append(draft: OpRecordDraft): Promise<OpRecord> {
    const refusal = this.#ledger.refuse(draft, this.#clock.now());
    if (refusal !== null) {
      throw new ReconcilerError('internal_error', `${refusal.message} (${refusal.rule})`, {
        disposition: 'halt',
      });
    }
    const at = new Date(this.#clock.now()).toISOString();
    const record: SealedOp = { type: 'op', seq: this.#journal.length + 1, at, ...draft, sum: '' };
    this.#ledger.applyOp(record);
    await this.#journal.write({ kind: 'op', record });
    return record;
  }

  async note(note: Note): Promise<void> {
    this.#ledger.applyNote(note);
    await this.#journal.write({ kind: 'note', note });
  }

  opsInFlight: OpLedger['opsInFlight'] = () => this.#ledger.opsInFlight();
  findOp: OpLedger['findOp'] = (opId) => this.#ledger.findOp(opId);
  childrenOf: OpLedger['childrenOf'] = (opId) => this.#ledger.childrenOf(opId);
  findKey: OpLedger['findKey'] = (key) => this.#ledger.findKey(key, this.#clock.now());
  lastUpid: OpLedger['lastUpid'] = (vmid) => this.#ledger.lastUpid(vmid);
  recentStarts: OpLedger['recentStarts'] = (vmid) =>
    this.#ledger.recentStarts(vmid, this.#clock.now());
  holds: OpLedger['holds'] = () => this.#ledger.holds();
  pause: OpLedger['pause'] = () => this.#ledger.pause();
  isInitialDone: OpLedger['isInitialDone'] = (vmid) => this.#ledger.isInitialDone(vmid);
  appliedSecret: OpLedger['appliedSecret'] = (vmid, key) => this.#ledger.appliedSecret(vmid, key);
  hashSecret: OpLedger['hashSecret'] = (text) =>
    createHmac('sha256', 'a key of the state dir').update(text).digest('hex');
}
