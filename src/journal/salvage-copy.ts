/**
 * The copy that `journal repair` writes: segments in order, numbers without gaps, a chain of its
 * own from the first changed line on. It holds two ledgers: what is known, and what the copy tells
 * (which is what verifying it will fold).
 *
 * Invariant: a number that may have been given out is not given again. Where more may have been
 * than anybody can write down as `lost`, they stay free between two segments.
 */
import type { OpId } from '../reconcile/ids.ts';
import { CLOCK_SKEW_MS } from '../reconcile/intake.ts';
import type { OpRecordDraft } from '../reconcile/op.ts';
import type { OpView, Pause } from '../reconcile/ports.ts';
import { Ledger } from './ledger.ts';
import { sealLine, ZERO_SUM } from './line.ts';
import { GAP_MAX, Losses, type LostFact } from './losses.ts';
import { writePause } from './note-records.ts';
import { isAt, type OpRecords, type SealedOp } from './op-record.ts';
import { FORMAT, type JournalRecord, type Live, liveBody, type SegmentHeader } from './records.ts';
import type { SegmentDraft } from './segments.ts';

/** Where what is lost may have kept the agent from acting, it does not act until somebody has looked. */
const LOOKED_AT: readonly LostFact[] = ['hold', 'pause', 'initial_done'];
/** More than the largest segment holds: 256 MiB, or twice what it restates. */
const SEGMENT_NUMBERS_MAX = 10_000_000;

export type Numbered = Extract<JournalRecord, { seq: number }>;

function seqOf({ seq }: SealedOp): number {
  return seq;
}

/** `at` as the record states it. */
export function timeOf(record: Numbered): string {
  if (record.kind === 'op') return record.op.at;
  return record.kind === 'opened' ? record.opened.at : record.at;
}

/** What is known of a segment's beginning. */
export interface Beginning {
  readonly segment: number;
  /** As read; null where it is lost. */
  readonly header: SegmentHeader | null;
  /** What was readable of its live set. */
  readonly restated: readonly Live[];
  /** Whether that was all of it. */
  readonly isWhole: boolean;
  /** Its first number, or the first one that is left; null where none is. */
  readonly firstSeq: number | null;
  /** Time of its header, or of its first record; null where neither is left. */
  readonly at: string | null;
}

/** What `journal repair` has concluded from what is lost. */
export interface Conclusion {
  /** Received ops that may have been started: ended as `interrupted`. */
  readonly ended: readonly OpId[];
  /** What the lost records may have told. */
  readonly mayBeLost: readonly LostFact[];
  /** In force from now on; null where no hold, pause or initial start can be among what is lost. */
  readonly pause: Pause | null;
  /** Ops signed up to then whose key is not known are refused; null where no key can be lost. */
  readonly keysLostToMs: number | null;
}

export class SalvageCopy {
  #known = new Ledger();
  #told = new Ledger();
  #hasBegun = false;
  #text = '';
  #sum = ZERO_SUM;
  #nextSeq = 1;
  /** Of a record that has no place where its number stands. */
  #seenSeq = 0;
  #at = new Date(0).toISOString();
  #newestMs = 0;
  #epoch = 1;
  readonly #losses = new Losses();
  readonly #journal: string;
  kept = 0;

  /** `journal`: its random name, in every header. */
  constructor(journal: string) {
    this.#journal = journal;
  }

  /** A line that is left out, whatever it was. */
  addDamaged(text: string): void {
    this.#losses.addLine(text);
  }

  /** What was damaged up to here are no numbered records. */
  dropDamaged(): void {
    this.#losses.dropLines();
  }

  /** A line without an end. */
  addDamagedBytes(bytes: number): void {
    this.#losses.addBytes(bytes);
  }

  /** The end of the journal is missing: part of a segment, or `count` of them. */
  loseSegments(count: number): void {
    this.#losses.addUnknown(this.#nextSeq);
    this.#nextSeq += count * SEGMENT_NUMBERS_MAX;
  }

  /**
   * Begins a segment. What is restated as a whole makes good whatever was lost before; a damaged
   * restated part loses nothing where all that came before it is there.
   */
  begin(from: Beginning): void {
    const { segment, header, restated, isWhole, firstSeq } = from;
    const isFirst = !this.#hasBegun;
    // Where no number is left, those of the segments before are only known to be fewer than this.
    const unknownSeq = 1 + Math.max(0, segment - 1) * SEGMENT_NUMBERS_MAX;
    if (isFirst) this.#nextSeq = firstSeq ?? unknownSeq;
    if (isWhole) {
      this.#known = new Ledger();
      this.#losses.clear();
    } else if (isFirst || firstSeq === null) {
      // A line may be gone altogether: the chain shows that, and not what it said.
      this.#losses.addUnknown(header === null ? this.#nextSeq - 1 : 0);
    }
    for (const live of restated) {
      this.#known.restore(live);
      if (live.kind === 'op') this.#seenSeq = Math.max(this.#seenSeq, ...live.records.map(seqOf));
    }
    if (isFirst && header !== null) this.#sum = header.prev_sum;
    this.#epoch = Math.max(this.#epoch, header?.epoch ?? 1);
    this.#open(segment, from.at ?? this.#at);
  }

  #open(segment: number, at: string): void {
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

  /** The numbers before `seq` are lost, in the segment under way. */
  #fillTo(seq: number): void {
    if (seq - this.#nextSeq > GAP_MAX) {
      this.#losses.addUnknown(this.#nextSeq);
      this.#nextSeq = seq;
      return;
    }
    this.#losses.addNumbers(this.#nextSeq, seq);
    while (this.#nextSeq < seq) this.#lose();
  }

  #lose(): void {
    this.#add({ type: 'lost', seq: this.#nextSeq, at: this.#at });
    this.#nextSeq += 1;
  }

  /** Takes a sound line; says why it could not be kept, or null. */
  take(record: Numbered, text: string): string | null {
    const { seq } = record;
    if (seq < this.#nextSeq || seq - this.#nextSeq > GAP_MAX) {
      this.#losses.addSound(this.#nextSeq, text);
      this.#seenSeq = Math.max(this.#seenSeq, seq);
      return `its seq ${seq} does not follow ${this.#nextSeq - 1}`;
    }
    const at = timeOf(record);
    if (!isAt(at)) {
      this.#losses.addLine(text);
      return 'its time is none';
    }
    this.#fillTo(seq);
    this.#losses.dropLines();
    this.#at = at;
    this.#newestMs = Math.max(this.#newestMs, Date.parse(at));
    const refusal = record.kind === 'op' ? this.#refuse(record.op) : null;
    if (refusal !== null) {
      this.#lose();
      return refusal;
    }
    if (record.kind === 'opened') this.#epoch = Math.max(this.#epoch, record.opened.epoch);
    if (record.kind === 'note') this.#takeNote(record);
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

  #takeNote({ note, seq, at }: Extract<Numbered, { kind: 'note' }>): void {
    this.#known.applyNote(note, at);
    this.#told.applyNote(note, at);
    if (note.kind === 'pause' || note.kind === 'resume') this.#losses.settlePause(seq);
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

  /** The segment begun last; `nextFirstSeq`: the next one's, null where that is not known. */
  finish(number: number, nextFirstSeq: number | null): SegmentDraft {
    const ackedSeq = this.#known.hub().ackedSeq ?? 0;
    const usedSeq = Math.max(this.#seenSeq, ackedSeq);
    const tail = this.#nextSeq + this.#losses.countTail(this.#nextSeq);
    this.#fillTo(nextFirstSeq ?? Math.max(tail, usedSeq + 1));
    this.#losses.dropLines();
    const bytes = Buffer.byteLength(this.#text);
    return { number, epoch: this.#epoch, text: this.#text, lastSum: this.#sum, bytes };
  }

  /**
   * The last segment: restates what is known, ends what may have been started unseen, and takes up
   * again what may have been tried again unseen: the one is settled by looking, and neither is sent.
   * What may have been told to let alone is let alone.
   */
  finishWith(segment: number, at: string): { draft: SegmentDraft } & Conclusion {
    const nowMs = Date.parse(at);
    const mayBeLost = this.#losses.facts();
    const retried = this.#failedBeforeLoss(nowMs);
    const keysLostToMs = mayBeLost.includes('key') ? this.#loseKeys(nowMs) : null;
    this.#open(segment, at);
    const unsure = this.#known.opsInFlight().filter(({ opId, first, latest }) => {
      return latest.state === 'received' && this.#mayHaveStep(opId, first.seq, false);
    });
    const message = 'records are lost: it may have been started, so it is not sent again';
    for (const { latest } of unsure) {
      this.#addStep(latest, {
        state: 'failed',
        attempt: 0,
        error: { code: 'interrupted', message },
      });
    }
    for (const op of retried) this.#addStep(op, { state: 'started', attempt: op.attempt + 1 });
    const isToBeLookedAt = mayBeLost.some((fact) => LOOKED_AT.includes(fact));
    const pause = isToBeLookedAt ? this.#addPause(at) : null;
    const draft = this.finish(segment, this.#nextSeq);
    return { draft, ended: unsure.map(({ opId }) => opId), mayBeLost, pause, keysLostToMs };
  }

  /** Whoever signed an op that is lost may have had a clock ahead of ours. */
  #loseKeys(nowMs: number): number {
    const toMs = Math.max(nowMs, this.#newestMs) + CLOCK_SKEW_MS;
    this.#known.loseKeys(toMs);
    return toMs;
  }

  /** In the place of the one in force, whose reason it keeps. */
  #addPause(at: string): Pause {
    const before = this.#known.pause();
    const others = before === null ? '' : `; before: ${before.reason}`;
    const reason = `journal repair of ${at} lost records that may have held guests or paused all: look, then resume${others}`;
    const pause: Pause = { untilMs: null, reason };
    this.#add({ type: 'pause', seq: this.#nextSeq, at, ...writePause(pause) });
    this.#nextSeq += 1;
    return pause;
  }

  #mayHaveStep(opId: OpId, afterSeq: number, isNext: boolean): boolean {
    const isKnown = (id: OpId): boolean => this.#known.findOp(id) !== null;
    return this.#losses.mayBeOf(opId, { afterSeq, isNext }, isKnown);
  }

  /** A failed attempt and the next one's `started` are one write: the record behind it is lost. */
  #failedBeforeLoss(nowMs: number): readonly SealedOp[] {
    const latest = this.#known
      .restate(nowMs)
      .flatMap((live) => (live.kind === 'op' ? live.records.slice(-1) : []));
    return latest.filter(({ op_id: opId, state, attempt, origin, parent_op_id: parent, seq }) => {
      const mayGoOn = state === 'failed' && attempt > 0 && origin !== 'reconcile' && !parent;
      return mayGoOn && this.#mayHaveStep(opId, seq, true);
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
