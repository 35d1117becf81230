/**
 * The records of one segment, in order, each checked against what came before: the header, the
 * restated part, then numbered records (J2, J6, J9, J10). Opening stops at the first fault;
 * verifying goes on, so a faulty record is folded as well as it can be.
 */
import { Ledger } from './ledger.ts';
import { FORMAT, type JournalRecord, type Live, type SegmentHeader } from './records.ts';
import { NEWER_RULE, segmentName } from './segments.ts';

export interface Fault {
  /** J2, J4, J6, J9, J10 of CONTRACT 5, `seq`, `format` or `limit`. */
  readonly rule: string;
  readonly message: string;
}

export class SegmentFold {
  readonly ledger = new Ledger();
  header: SegmentHeader | null = null;
  /** Between the header and `live_end`. */
  isRestating = true;
  nextSeq = 0;
  epoch = 0;
  lastAt = '';
  readonly #segment: number;

  constructor(segment: number) {
    this.#segment = segment;
  }

  /** Folds the record; says what is wrong with it. */
  apply(record: JournalRecord): Fault | null {
    if (record.kind === 'unreadable') {
      return { rule: record.isNewer === true ? NEWER_RULE : 'J4', message: record.reason };
    }
    if (this.header === null) return this.#begin(record);
    if (this.isRestating) return this.#restate(record);
    switch (record.kind) {
      case 'segment':
      case 'live':
      case 'live_end':
        return { rule: 'J10', message: `a record of type ${record.kind} behind the restated part` };
      case 'op': {
        const { op } = record;
        // Time only counts for keys, and parsing it costs as much as all the rest.
        const atMs = op.idemp_key === undefined ? 0 : Date.parse(op.at);
        const refusal = this.ledger.refuse(op, atMs);
        this.ledger.applyOp(op);
        return this.#count(record.seq, op.at) ?? refusal;
      }
      case 'note':
        this.ledger.applyNote(record.note, record.at);
        return this.#count(record.seq, record.at);
      case 'lost':
        return this.#count(record.seq, record.at);
      case 'opened':
        this.epoch = record.opened.epoch;
        return this.#count(record.seq, record.opened.at);
      default:
        return record satisfies never;
    }
  }

  #begin(record: JournalRecord): Fault | null {
    if (record.kind !== 'segment') return { rule: 'J10', message: 'it begins without its header' };
    const { header } = record;
    if (header.format > FORMAT) {
      const message = `format ${header.format} was written by a newer version of this program`;
      return { rule: NEWER_RULE, message };
    }
    this.header = header;
    this.nextSeq = header.first_seq;
    this.epoch = header.epoch;
    this.lastAt = header.at;
    if (header.segment === this.#segment) return null;
    return { rule: 'J10', message: `its header is that of ${segmentName(header.segment)}` };
  }

  #restate(record: JournalRecord): Fault | null {
    if (record.kind === 'live') this.ledger.restore(this.#dated(record.live));
    else if (record.kind === 'live_end') this.isRestating = false;
    else return { rule: 'J10', message: `a record of type ${record.kind} in the restated part` };
    return null;
  }

  /** The version before did not restate since when a guest's facts are known: before this segment. */
  #dated(live: Live): Live {
    if (live.kind !== 'guest' || live.guest.sinceMs !== null || this.header === null) return live;
    const { hold, isInitialDone, secrets } = live.guest;
    const hasFacts = hold !== null || isInitialDone || Object.keys(secrets).length > 0;
    const sinceMs = hasFacts ? Date.parse(this.header.at) : null;
    return { kind: 'guest', guest: { ...live.guest, sinceMs } };
  }

  #count(seq: number, at: string): Fault | null {
    const expected = this.nextSeq;
    this.nextSeq = seq + 1;
    this.lastAt = at;
    return seq === expected ? null : { rule: 'seq', message: `its seq is ${seq}, not ${expected}` };
  }
}
