/**
 * The copy that `journal repair` writes: segments in order, numbers without gaps, a chain of its
 * own from the first changed line on. It holds two ledgers: what is known, and what the copy tells
 * (which is what verifying it will fold).
 */
import type { OpId } from '../reconcile/ids.ts';
import type { OpRecordDraft } from '../reconcile/op.ts';
import type { OpView } from '../reconcile/ports.ts';
import { Ledger } from './ledger.ts';
import { sealLine, ZERO_SUM } from './line.ts';
import { isAt, type OpRecords, type SealedOp } from './op-record.ts';
import { FORMAT, type JournalRecord, type Live, liveBody, type SegmentHeader } from './records.ts';
import type { SegmentDraft } from './segments.ts';

/** More missing numbers than this are no gap that a few lost lines leave. */
const GAP_MAX = 100_000;

type Numbered = Extract<JournalRecord, { seq: number }>;

export class SalvageCopy {
  #known = new Ledger();
  #told = new Ledger();
  #hasBegun = false;
  #text = '';
  #sum = ZERO_SUM;
  #nextSeq = 1;
  #at = new Date(0).toISOString();
  #epoch = 1;
  /** Nothing before this number is sure to be all there was. */
  #lossSeq = 0;
  readonly #lost = new Set<number>();
  readonly #journal: string;
  kept = 0;

  /** `journal`: its random name, in every header. */
  constructor(journal: string) {
    this.#journal = journal;
  }

  /** What was lost here may have been about any op that began before. */
  markLoss(): void {
    this.#lossSeq = this.#nextSeq;
  }

  /**
   * Begins a segment. `header` as read, or null where it is lost; `restated` what was readable of
   * its live set, `isWhole` whether that was all of it.
   */
  begin(
    segment: number,
    from: {
      readonly header: SegmentHeader | null;
      readonly restated: readonly Live[];
      readonly isWhole: boolean;
    },
  ): void {
    if (from.isWhole) this.#known = new Ledger();
    for (const live of from.restated) this.#known.restore(live);
    if (!this.#hasBegun && from.header !== null) {
      this.#sum = from.header.prev_sum;
      this.#nextSeq = from.header.first_seq;
    }
    if (from.header !== null) this.#fillTo(from.header.first_seq);
    const { at, epoch } = from.header ?? { at: this.#at, epoch: 1 };
    this.#epoch = Math.max(this.#epoch, epoch);
    this.#hasBegun = true;
    const header: SegmentHeader = {
      type: 'segment',
      format: FORMAT,
      prev_sum: this.#sum,
      first_seq: this.#nextSeq,
      segment,
      journal: this.#journal,
      epoch: this.#epoch,
      at,
      repaired: true,
    };
    this.#at = at;
    this.#text = '';
    this.#told = new Ledger();
    this.#add(header);
    for (const live of this.#known.restate(Date.parse(at))) {
      this.#told.restore(live);
      this.#add(liveBody(live));
    }
    this.#add({ type: 'live_end' });
  }

  #add(body: object): void {
    const { text, sum } = sealLine(JSON.stringify(body), this.#sum);
    this.#text += text;
    this.#sum = sum;
  }

  /** Lost records for the numbers up to `seq`; they belong to the segment under way. */
  #fillTo(seq: number): void {
    const isGap = seq > this.#nextSeq && seq - this.#nextSeq <= GAP_MAX && this.#hasBegun;
    if (!isGap) {
      this.#nextSeq = Math.max(this.#nextSeq, seq);
      return;
    }
    this.markLoss();
    while (this.#nextSeq < seq) this.#lose();
  }

  #lose(): void {
    this.#add({ type: 'lost', seq: this.#nextSeq, at: this.#at });
    this.#lost.add(this.#nextSeq);
    this.#nextSeq += 1;
  }

  /** Takes a sound line; says why it could not be kept, or null. */
  take(record: Numbered, text: string): string | null {
    if (record.seq < this.#nextSeq || record.seq - this.#nextSeq > GAP_MAX) {
      return `its seq ${record.seq} does not follow ${this.#nextSeq - 1}`;
    }
    const at = record.kind === 'op' ? record.op.at : this.#atOf(record);
    if (!isAt(at)) return 'its time is none';
    this.#fillTo(record.seq);
    this.#at = at;
    const refusal = record.kind === 'op' ? this.#refuse(record.op) : null;
    if (refusal !== null) {
      this.markLoss();
      this.#lose();
      return refusal;
    }
    if (record.kind === 'opened') this.#epoch = Math.max(this.#epoch, record.opened.epoch);
    if (record.kind === 'note') {
      this.#known.applyNote(record.note);
      this.#told.applyNote(record.note);
    }
    // The text without its own sum: kept to the letter, chained anew.
    const { text: line, sum } = sealLine(
      `${text.slice(0, text.lastIndexOf(',"sum":"'))}}`,
      this.#sum,
    );
    this.#text += line;
    this.#sum = sum;
    this.#nextSeq += 1;
    this.kept += 1;
    return null;
  }

  #atOf(record: Exclude<Numbered, { kind: 'op' }>): string {
    return record.kind === 'opened' ? record.opened.at : record.at;
  }

  #refuse(op: SealedOp): string | null {
    const refusal = this.#told.refuse(op, Date.parse(op.at));
    if (refusal === null) {
      this.#told.applyOp(op);
      this.#known.applyOp(op);
      return null;
    }
    // It cannot stand in the order of states, but it is true.
    this.#known.restore({ kind: 'op', records: this.#withFirst(op) });
    return refusal.message;
  }

  #withFirst(op: SealedOp): OpRecords {
    const first = this.#known.findOp(op.op_id)?.first;
    const isSealed = first !== undefined && 'sum' in first;
    return isSealed ? [{ ...first, sum: String(first.sum) }, op] : [op];
  }

  /** The segment begun last; lost numbers up to the next one's first are filled in. */
  finish(number: number, nextFirstSeq: number | null): SegmentDraft {
    if (nextFirstSeq !== null) this.#fillTo(nextFirstSeq);
    const bytes = Buffer.byteLength(this.#text);
    return { number, epoch: this.#epoch, text: this.#text, lastSum: this.#sum, bytes };
  }

  /**
   * The last segment: restates what is known, ends what may have been started unseen, and takes up
   * again what may have been tried again unseen: the one is settled by looking, and neither is sent.
   */
  finishWith(segment: number, at: string): { draft: SegmentDraft; ended: readonly OpId[] } {
    this.#at = at;
    const retried = this.#failedBeforeLoss(Date.parse(at));
    this.begin(segment, { header: null, restated: [], isWhole: false });
    const unsure = this.#known
      .opsInFlight()
      .filter(({ first, latest }) => latest.state === 'received' && first.seq < this.#lossSeq);
    const message = 'records are lost: it may have been started, so it is not sent again';
    for (const { latest } of unsure) {
      this.#addStep(latest, {
        state: 'failed',
        attempt: 0,
        error: { code: 'interrupted', message },
      });
    }
    for (const op of retried) this.#addStep(op, { state: 'started', attempt: op.attempt + 1 });
    return { draft: this.finish(segment, null), ended: unsure.map(({ opId }) => opId) };
  }

  /** A failed attempt and the next one's `started` are one write: the record behind it is lost. */
  #failedBeforeLoss(nowMs: number): readonly SealedOp[] {
    const latest = this.#known
      .restate(nowMs)
      .flatMap((live) => (live.kind === 'op' ? live.records.slice(-1) : []));
    return latest.filter(({ state, attempt, origin, parent_op_id: parent, seq }) => {
      const isTail = seq + 1 === this.#nextSeq && this.#lossSeq === this.#nextSeq;
      const mayGoOn = state === 'failed' && attempt > 0;
      return mayGoOn && origin !== 'reconcile' && !parent && (this.#lost.has(seq + 1) || isTail);
    });
  }

  #addStep(op: OpView['latest'], step: Pick<OpRecordDraft, 'state' | 'attempt' | 'error'>): void {
    const { op_id, vmid, guest_kind, kind, origin, correlation_id } = op;
    const [seq, at] = [this.#nextSeq, this.#at];
    this.#add({
      type: 'op',
      seq,
      at,
      op_id,
      vmid,
      guest_kind,
      kind,
      origin,
      correlation_id,
      ...step,
    });
    this.#nextSeq += 1;
  }
}
