/**
 * What may be missing from a damaged journal, as exactly as the evidence allows. A number that no
 * sound line has is lost; what stood there is known where a damaged line still states that very
 * number. What nobody can read may have been anything.
 *
 * A damaged line proves nothing else: no number, id or name in it is acted on.
 */
import { type OpId, parseOpId } from '../reconcile/ids.ts';
import type { Note } from '../reconcile/ports.ts';
import { type Body, isObject, isSeq, isText, type SealedOp } from './op-record.ts';

/** What lost records may have told, where somebody has to act on it. */
export const LOST_FACTS = ['hold', 'pause', 'initial_done', 'key', 'op'] as const;
export type LostFact = (typeof LOST_FACTS)[number];

/** No line of a numbered record is shorter. */
const LINE_BYTES_MIN = 90;
/** More missing numbers than this are no gap that a few lost lines leave. */
export const GAP_MAX = 100_000;

/**
 * What else is lost with a record does no harm: who was held stays so, a secret is written once
 * more, the hub is asked again.
 */
const FACTS_OF_TYPE: {
  readonly [Type in Note['kind'] | 'opened' | 'lost']: readonly LostFact[];
} = {
  hold: ['hold'],
  pause: ['pause'],
  initial_done: ['initial_done'],
  resume_guest: [],
  resume: [],
  late_effect: [],
  forget_guest: [],
  secret_applied: [],
  hub_cursor: [],
  receipt_acked: [],
  opened: [],
  lost: [],
};

/** What a damaged line still reads as. */
interface Shown {
  readonly type: string;
  readonly seq: number;
  /** Null where it is no JSON any more. */
  readonly body: Body | null;
}

interface DamagedLine {
  readonly shown: readonly Shown[];
  /** It may have been this many records: their newlines may be gone. */
  readonly recordsMax: number;
}

interface Loss {
  readonly seq: number;
  readonly shown: Shown | null;
}

/** The beginning of a numbered record, but of none that a `live_op` holds. */
const HEAD = /(?<![[,])\{"type":"([a-z_]+)","seq":([1-9]\d{0,14}),"at":"/g;

function readDamaged(text: string): DamagedLine {
  const body = parseObject(text);
  if (body !== null) {
    const { type, seq } = body;
    return { shown: isText(type) && isSeq(seq) ? [{ type, seq, body }] : [], recordsMax: 1 };
  }
  const heads = [...text.matchAll(HEAD)];
  const shown = heads.map(([, type = '', seq]) => ({ type, seq: Number(seq), body: null }));
  return { shown, recordsMax: recordsIn(Buffer.byteLength(text)) };
}

function recordsIn(bytes: number): number {
  return Math.max(1, Math.floor(bytes / LINE_BYTES_MIN));
}

/** Text that is one JSON object is one record: its newline was no part of what was damaged. */
export function parseObject(text: string): Body | null {
  try {
    const value: unknown = JSON.parse(text);
    return isObject(value) ? value : null;
  } catch {
    return null;
  }
}

/** For whoever looks at what was left out; empty where it says nothing. */
export function describeDamaged(text: string): string {
  const [first] = readDamaged(text).shown;
  if (first === undefined) return '';
  const vmid = first.body?.['vmid'];
  return `; it reads as ${first.type} ${first.seq}${isSeq(vmid) ? ` of guest ${vmid}` : ''}`;
}

export class Losses {
  /** Since the last sound record. */
  #lines: DamagedLine[] = [];
  readonly #all: Loss[] = [];
  /** Behind this number it is known whether all is paused. */
  #pauseKnownSeq = 0;

  addLine(text: string): void {
    this.#lines.push(readDamaged(text));
  }

  addBytes(bytes: number): void {
    this.#lines.push({ shown: [], recordsMax: recordsIn(bytes) });
  }

  /** A sound record was met, or what was damaged are no numbered records. */
  dropLines(): void {
    this.#lines = [];
  }

  /** Up to here everything is known again. */
  clear(): void {
    this.#all.length = 0;
  }

  /** How many numbers the damaged lines may have taken, from `nextSeq` on. */
  countTail(nextSeq: number): number {
    const records = this.#lines.reduce((sum, { recordsMax }) => sum + recordsMax, 0);
    const stated = this.#lines
      .flatMap(({ shown }) => shown.map(({ seq }) => seq + 1 - nextSeq))
      .filter((count) => count <= GAP_MAX);
    return Math.max(records, ...stated);
  }

  /** No sound line has the numbers from `fromSeq` to before `toSeq`. */
  addNumbers(fromSeq: number, toSeq: number): void {
    const shown = Map.groupBy(
      this.#lines.flatMap((line) => line.shown),
      ({ seq }) => seq,
    );
    for (let seq = fromSeq; seq < toSeq; seq++) {
      const [only = null, ...others] = shown.get(seq) ?? [];
      this.#all.push({ seq, shown: others.length === 0 ? only : null });
    }
  }

  /** Nobody knows how many, from `seq` on. */
  addUnknown(seq: number): void {
    this.#all.push({ seq, shown: null });
  }

  /** A sound line that has no place where it stands. */
  addSound(seq: number, text: string): void {
    const [shown = null] = readDamaged(text).shown;
    this.#all.push({ seq, shown });
  }

  /** A sound record that says whether all is paused. */
  settlePause(seq: number): void {
    this.#pauseKnownSeq = seq;
  }

  /** In the order of LOST_FACTS. */
  facts(): readonly LostFact[] {
    const found = new Set(this.#all.flatMap((loss) => this.#factsOf(loss)));
    return LOST_FACTS.filter((fact) => found.has(fact));
  }

  #factsOf({ seq, shown }: Loss): readonly LostFact[] {
    const facts = shown === null ? LOST_FACTS : factsOf(shown);
    return seq < this.#pauseKnownSeq ? facts.filter((fact) => fact !== 'pause') : facts;
  }

  /** May a record behind number `afterSeq` (right behind it, if `isNext`) be one of this op's? */
  mayBeOf(
    opId: OpId,
    { afterSeq, isNext }: { readonly afterSeq: number; readonly isNext: boolean },
    isKnown: (opId: OpId) => boolean,
  ): boolean {
    return this.#all.some(({ seq, shown }) => {
      const fits = isNext ? seq === afterSeq + 1 : seq > afterSeq;
      return fits && (shown === null || mayBeStepOf(opId, shown, isKnown));
    });
  }
}

function factsOf({ type, body }: Shown): readonly LostFact[] {
  if (type === 'op') return body === null ? ['hold', 'key', 'op'] : factsOfOp(body);
  const facts: Readonly<Record<string, readonly LostFact[]>> = FACTS_OF_TYPE;
  return Object.hasOwn(facts, type) ? (facts[type] ?? LOST_FACTS) : LOST_FACTS;
}

const BEGUN: ReadonlySet<unknown> = new Set(['started', 'task_running', 'succeeded', 'failed']);
const UNSIGNED: ReadonlySet<unknown> = new Set(['reconcile', 'operator']);
/** Of `received`, but for what asks for a hold. */
const PLAIN_FIELDS: ReadonlySet<string> = new Set<keyof SealedOp>([
  'type',
  'seq',
  'at',
  'op_id',
  'vmid',
  'guest_kind',
  'kind',
  'state',
  'attempt',
  'origin',
  'params',
  'correlation_id',
  'expires_at_ms',
  'actor',
  'precondition',
  'idemp_key',
  'payload_hmac',
  'signers',
  'sum',
]);

/** Only `received` brings a key, and how long the op's hold is to count once it has succeeded. */
function factsOfOp(op: Body): readonly LostFact[] {
  if (BEGUN.has(op['state'])) return ['op'];
  const isPlain = Object.keys(op).every((field) => PLAIN_FIELDS.has(field));
  const facts: LostFact[] = isPlain ? [] : ['hold'];
  return UNSIGNED.has(op['origin']) ? [...facts, 'op'] : [...facts, 'key', 'op'];
}

/** Of an op that has been received: an id that is another known op's is no damaged one. */
function mayBeStepOf(opId: OpId, { type, body }: Shown, isKnown: (opId: OpId) => boolean): boolean {
  if (type !== 'op') return !Object.hasOwn(FACTS_OF_TYPE, type);
  if (body === null) return true;
  const { origin, state } = body;
  const id = parseOpId(body['op_id']);
  if (id === opId) return true;
  if (origin === 'reconcile' || state === 'received') return false;
  return id === null || !isKnown(id);
}
