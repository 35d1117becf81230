/**
 * Gives each record its number, time and sum, and begins a new segment when one is due. All of
 * that happens at once, in the order of the calls, before anything is written: so the chain, the
 * ledger and what a new segment restates always agree, whatever the disk does meanwhile.
 */
import type { Clock } from '../reconcile/clock.ts';
import { ReconcilerError } from '../reconcile/errors.ts';
import type { Ledger } from './ledger.ts';
import { MAX_RECORD_BYTES, sealLine } from './line.ts';
import { draftSegment } from './segments.ts';
import type { Writer } from './writer.ts';

/** UTF-8 bytes of one UTF-16 unit, at most. */
const BYTES_PER_UNIT = 3;

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

export interface Place {
  readonly seq: number;
  /** RFC 3339, UTC, milliseconds. */
  readonly at: string;
}

export interface Appended {
  readonly sum: string;
  /** Resolves when it is durable. */
  readonly done: Promise<void>;
}

export class Appender {
  readonly #writer: Writer;
  readonly #ledger: Ledger;
  readonly #clock: Clock;
  readonly #segmentBytes: number;
  #state: ChainState;
  #records = 0;
  #atMs = Number.NaN;
  #at = '';

  constructor(
    state: ChainState,
    parts: {
      readonly writer: Writer;
      readonly ledger: Ledger;
      readonly clock: Clock;
      readonly segmentBytes: number;
    },
  ) {
    this.#state = state;
    this.#writer = parts.writer;
    this.#ledger = parts.ledger;
    this.#clock = parts.clock;
    this.#segmentBytes = parts.segmentBytes;
  }

  get state(): ChainState {
    return this.#state;
  }

  /** Appended since opening. */
  get records(): number {
    return this.#records;
  }

  /** The place the next record gets; not taken until `append`. */
  nextPlace(): Place {
    const nowMs = this.#clock.now();
    if (nowMs !== this.#atMs) {
      this.#atMs = nowMs;
      this.#at = new Date(nowMs).toISOString();
    }
    return { seq: this.#state.nextSeq, at: this.#at };
  }

  /** `json`: a record with the place just given. Throws `invalid_request` where it is too long. */
  append(json: string): Appended {
    const bytes = requireShort(json);
    if (this.#writer.poison !== null) throw this.#writer.poison;
    if (this.#isSegmentDue(bytes)) this.beginSegment();
    const { text, sum } = sealLine(json, this.#state.lastSum);
    this.#state = {
      ...this.#state,
      nextSeq: this.#state.nextSeq + 1,
      lastSum: sum,
      bytes: this.#state.bytes + bytes + text.length - json.length,
      lastAtMs: this.#atMs,
    };
    this.#records += 1;
    return { sum, done: this.#writer.push(text) };
  }

  /**
   * A segment holds at least as much news as it restates, however much that is: else a large live
   * set would be written again for every few records.
   */
  #isSegmentDue(nextBytes: number): boolean {
    const { bytes, restatedBytes } = this.#state;
    const newsBytes = bytes - restatedBytes;
    return newsBytes > 0 && newsBytes >= restatedBytes && bytes + nextBytes > this.#segmentBytes;
  }

  beginSegment(): void {
    const { journal, epoch, segment, nextSeq, lastSum } = this.#state;
    const { at } = this.nextPlace();
    const draft = draftSegment(
      { prev_sum: lastSum, first_seq: nextSeq, segment: segment + 1, journal, epoch, at },
      this.#ledger.restate(this.#atMs),
    );
    this.#writer.beginSegment(draft);
    this.#state = {
      ...this.#state,
      segment: draft.number,
      lastSum: draft.lastSum,
      bytes: draft.bytes,
      restatedBytes: draft.bytes,
    };
  }
}

/** The text's bytes. */
function requireShort(json: string): number {
  const isSurelyShort = json.length * BYTES_PER_UNIT <= MAX_RECORD_BYTES;
  const bytes = Buffer.byteLength(json);
  if (isSurelyShort || bytes <= MAX_RECORD_BYTES) return bytes;
  throw new ReconcilerError(
    'invalid_request',
    `a journal record of ${bytes} bytes is more than the ${MAX_RECORD_BYTES} allowed`,
    { hint: 'Shorten the values that are to be set.' },
  );
}
