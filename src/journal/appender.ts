/**
 * Gives each record its number, time and sum, and begins a new segment when one is due. All of
 * that happens at once, in the order of the calls, before anything is written: so the chain, the
 * ledger and what a new segment restates always agree, whatever the disk does meanwhile.
 */
import type { Clock } from '../reconcile/clock.ts';
import { ReconcilerError } from '../reconcile/errors.ts';
import type { Ledger } from './ledger.ts';
import { lineBytes, MAX_RECORD_BYTES, sealLine } from './line.ts';
import { draftSegment, shortSegmentBytes } from './segments.ts';
import type { Writer } from './writer.ts';

export interface ChainState {
  readonly journal: string;
  readonly epoch: number;
  readonly segment: number;
  readonly nextSeq: number;
  readonly lastSum: string;
  /** Size of the newest segment, and of the restated part it begins with. */
  readonly bytes: number;
  readonly restatedBytes: number;
  readonly lastAtMs: number;
}

export interface AppenderStats {
  /** Number of the newest segment. */
  readonly segment: number;
  readonly segmentBytes: number;
  readonly nextSeq: number;
  readonly epoch: number;
  /** Since opening. */
  readonly records: number;
}

export interface Appended {
  readonly seq: number;
  /** RFC 3339, UTC, milliseconds. */
  readonly at: string;
  readonly sum: string;
  /** Resolves when it is durable. */
  readonly done: Promise<void>;
}

/** A record's text, with the number and the time it is going to have. */
export interface Composed {
  readonly seq: number;
  readonly at: string;
  readonly json: string;
  readonly bytes: number;
}

export class Appender {
  readonly #writer: Writer;
  readonly #ledger: Ledger;
  readonly #clock: Clock;
  readonly #segmentBytes: number;
  readonly #shortBytes: number;
  readonly #journal: string;
  readonly #epoch: number;
  #segment: number;
  #nextSeq: number;
  #lastSum: string;
  #bytes: number;
  #restatedBytes: number;
  #records = 0;
  #atMs: number;
  #at = '';
  #second = Number.NaN;
  #secondText = '';
  /** Of what belongs together the first record may begin a batch or a segment, the others not. */
  #group: 'none' | 'begins' | 'goes_on' = 'none';

  constructor(
    state: ChainState,
    parts: {
      readonly writer: Writer;
      readonly ledger: Ledger;
      readonly clock: Clock;
      readonly segmentBytes: number;
    },
  ) {
    this.#journal = state.journal;
    this.#epoch = state.epoch;
    this.#segment = state.segment;
    this.#nextSeq = state.nextSeq;
    this.#lastSum = state.lastSum;
    this.#bytes = state.bytes;
    this.#restatedBytes = state.restatedBytes;
    this.#atMs = Number.NaN;
    this.#writer = parts.writer;
    this.#ledger = parts.ledger;
    this.#clock = parts.clock;
    this.#segmentBytes = parts.segmentBytes;
    this.#shortBytes = shortSegmentBytes(parts.segmentBytes);
  }

  get stats(): AppenderStats {
    return {
      segment: this.#segment,
      segmentBytes: this.#bytes,
      nextSeq: this.#nextSeq,
      epoch: this.#epoch,
      records: this.#records,
    };
  }

  /** The time the next record gets: wall clock ms. */
  now(): number {
    const nowMs = Math.floor(this.#clock.now());
    if (nowMs !== this.#atMs) {
      this.#atMs = nowMs;
      this.#at = this.#format(nowMs);
    }
    return nowMs;
  }

  /** RFC 3339; what is before the milliseconds is kept for a second, which halves the cost. */
  #format(ms: number): string {
    const second = Math.floor(ms / 1000);
    if (second !== this.#second) {
      this.#second = second;
      this.#secondText = new Date(second * 1000).toISOString().slice(0, -'000Z'.length);
    }
    return `${this.#secondText}${String(ms - second * 1000).padStart(3, '0')}Z`;
  }

  /** What `work` appends before it returns is one write: neither a batch nor a segment ends in it. */
  together<Result>(work: () => Result): Result {
    if (this.#group !== 'none') return work();
    this.#group = 'begins';
    try {
      return work();
    } finally {
      this.#group = 'none';
    }
  }

  /**
   * The next record, of these fields and the time last asked for; where it needs a new segment, that
   * is begun: what is live is then known before the record is judged. Throws `invalid_request` where
   * it is too long; then nothing has changed.
   */
  compose(type: string, fields: object): Composed {
    const [seq, at] = [this.#nextSeq, this.#at];
    const json = withHead(`{"type":"${type}","seq":${seq},"at":"${at}"`, JSON.stringify(fields));
    const bytes = lineBytes(json);
    requireShort(bytes);
    if (this.#writer.poison !== null) throw this.#writer.poison;
    if (this.#group !== 'goes_on' && this.#isSegmentDue(bytes)) this.beginSegment();
    return { seq, at, json, bytes };
  }

  /** Appends what was composed last. */
  append({ seq, at, json, bytes }: Composed): Appended {
    const { text, sum } = sealLine(json, this.#lastSum);
    this.#nextSeq = seq + 1;
    this.#lastSum = sum;
    this.#bytes += bytes;
    this.#records += 1;
    const done = this.#writer.push({ text, bytes }, this.#group === 'goes_on');
    if (this.#group === 'begins') this.#group = 'goes_on';
    return { seq, at, sum, done };
  }

  /**
   * A segment holds at least as much news as it restates, however much that is: else a large live
   * set would be written again for every few records. Where nothing is being written it may be
   * short: no queue stands behind the new one, and the next start, after a kill too, has less to read.
   */
  #isSegmentDue(nextBytes: number): boolean {
    const newsBytes = this.#bytes - this.#restatedBytes;
    if (newsBytes === 0 || newsBytes < this.#restatedBytes) return false;
    const wouldBe = this.#bytes + nextBytes;
    return wouldBe > (this.#writer.isAtRest ? this.#shortBytes : this.#segmentBytes);
  }

  /** At the time last asked for. */
  beginSegment(): void {
    const header = {
      prev_sum: this.#lastSum,
      first_seq: this.#nextSeq,
      segment: this.#segment + 1,
      journal: this.#journal,
      epoch: this.#epoch,
      at: this.#at,
    };
    const draft = draftSegment(header, this.#ledger.restate(this.#atMs));
    this.#writer.beginSegment(draft);
    this.#segment = draft.number;
    this.#lastSum = draft.lastSum;
    this.#bytes = draft.bytes;
    this.#restatedBytes = draft.bytes;
  }
}

/** The JSON text of head and fields together: a spread for the text alone would cost as much again. */
function withHead(head: string, fields: string): string {
  return fields === '{}' ? `${head}}` : `${head},${fields.slice(1)}`;
}

function requireShort(size: number): void {
  if (size <= MAX_RECORD_BYTES) return;
  throw new ReconcilerError(
    'invalid_request',
    `a journal record of ${size} bytes is more than the ${MAX_RECORD_BYTES} allowed`,
    { hint: 'Shorten the values that are to be set.' },
  );
}
