/**
 * The journal for those who only look: no lock, nothing changed, beside a live writer or on a
 * read-only copy. Never half a record: what has no newline yet is not there, and never what a stale
 * writer wrote. Segments may be added and removed meanwhile.
 */
import { join } from 'node:path';
import { type OpId, parseOpId, type Vmid } from '../reconcile/ids.ts';
import { isTerminal, type OpState } from '../reconcile/op.ts';
import { type Disk, errnoOf } from './disk.ts';
import { NodeDisk } from './node-disk.ts';
import type { SealedOp } from './op-record.ts';
import { parseRecord } from './records.ts';
import { type BackLine, scanBack } from './scan-back.ts';
import { readSegment } from './segment-file.ts';
import { segmentNumbers } from './segments.ts';
import { JOURNAL_FOLDER } from './state-dir.ts';
import { refuseTransition } from './transitions.ts';

export interface OpQuery {
  readonly state?: OpState | 'in_flight' | 'all';
  readonly vmid?: Vmid;
  /** Ops whose latest record is not older, wall clock ms. */
  readonly sinceMs?: number;
  readonly limit?: number;
  /** Only ops listed after this one. */
  readonly after?: OpId;
  /** Called for each line met that is no record. */
  readonly onUnreadable?: () => void;
  /** Nobody waits for it any more: it rejects. */
  readonly signal?: AbortSignal;
}

export type FoundOp =
  | {
      readonly kind: 'found';
      readonly opId: OpId;
      /** Oldest first; the earliest may be gone with old segments. */
      readonly records: readonly SealedOp[];
      /** Ops it is the parent of, oldest first. */
      readonly parts: readonly OpId[];
    }
  | { readonly kind: 'ambiguous'; readonly candidates: readonly OpId[] }
  | { readonly kind: 'none' };

/** A journal that does not exist yet reads as an empty one. */
export function openReader(stateDir: string): JournalReader {
  return new JournalReader(new NodeDisk(join(stateDir, JOURNAL_FOLDER)));
}

export class JournalReader {
  readonly disk: Disk;

  constructor(disk: Disk) {
    this.disk = disk;
  }

  /** Latest record of each op, newest first. */
  async listOps(query: OpQuery = {}): Promise<readonly SealedOp[]> {
    const { limit = Number.POSITIVE_INFINITY, after } = query;
    const seen = new Set<OpId>();
    const found: SealedOp[] = [];
    let isPast = after === undefined;
    const take = (op: SealedOp): 'stop' | undefined => {
      if (seen.has(op.op_id)) return undefined;
      seen.add(op.op_id);
      if (isPast && matches(op, query)) found.push(op);
      if (op.op_id === after) isPast = true;
      return found.length >= limit ? 'stop' : undefined;
    };
    await this.#eachOpBack(take, query);
    return found.sort((a, b) => b.seq - a.seq);
  }

  /**
   * Visits the records of ops, newest first, no further back than the query may want; those only
   * restated at the very last.
   */
  async #eachOpBack(
    visit: (op: SealedOp) => 'stop' | undefined,
    { state, sinceMs = Number.NEGATIVE_INFINITY, onUnreadable, signal }: OpQuery,
  ): Promise<void> {
    // By the oldest segment that is still there when its turn comes.
    let restated: readonly SealedOp[] = [];
    for (const number of (await this.segments()).toReversed()) {
      const live: SealedOp[] = [];
      let youngest = '';
      const end = await readSegment(this.disk, number, ({ counted }) =>
        scanBack(
          counted,
          ({ text }) => {
            const record = parseRecord(text);
            const isLive = record.kind === 'live' && record.live.kind === 'op';
            if (isLive) live.push(...record.live.records);
            if (record.kind === 'unreadable') onUnreadable?.();
            if (record.kind !== 'op') return undefined;
            if (record.op.at > youngest) youngest = record.op.at;
            return visit(record.op);
          },
          { signal },
        ),
      );
      if (end === 'stop') return;
      if (end === null) break;
      restated = live;
      // The newest segment restates all ops in flight.
      if (state === 'in_flight') break;
      // Not at the first old record: its time may be that of a clock which was not yet set.
      if (Date.parse(youngest) < sinceMs) break;
    }
    for (const op of restated.toSorted((a, b) => b.seq - a.seq)) if (visit(op) === 'stop') return;
  }

  /** By op id or an unambiguous prefix of one. `signal`: nobody waits for it any more. */
  async readOp(prefix: string, signal?: AbortSignal): Promise<FoundOp> {
    if (!/^[0-9a-hjkmnp-tv-z]{1,16}$/.test(prefix)) return { kind: 'none' };
    const collected = new CollectedOps(prefix);
    const needle = Buffer.from(`op_id":"${prefix}`);
    for (const number of (await this.segments()).toReversed()) {
      const visit = ({ text }: BackLine): 'stop' | undefined => collected.add(text);
      const end = await readSegment(this.disk, number, ({ counted }) =>
        scanBack(counted, visit, { needle, signal }),
      );
      if (end === 'stop') break;
    }
    return collected.result();
  }

  /** Numbers of the segments, ascending. */
  async segments(): Promise<readonly number[]> {
    try {
      return segmentNumbers(await this.disk.list());
    } catch (error) {
      if (errnoOf(error) === 'ENOENT') return [];
      throw error;
    }
  }
}

function matches(op: SealedOp, { state = 'all', vmid, sinceMs }: OpQuery): boolean {
  if (vmid !== undefined && op.vmid !== vmid) return false;
  if (sinceMs !== undefined && Date.parse(op.at) < sinceMs) return false;
  if (state === 'all') return true;
  return state === 'in_flight' ? !isTerminal(op.state) : op.state === state;
}

/** The records of the ops whose id begins so, met newest first. */
class CollectedOps {
  readonly #prefix: string;
  readonly #isWhole: boolean;
  readonly #ops = new Map<OpId, Map<number, SealedOp>>();
  readonly #parts = new Map<OpId, OpId>();

  constructor(prefix: string) {
    this.#prefix = prefix;
    this.#isWhole = parseOpId(prefix) !== null;
  }

  add(text: string): 'stop' | undefined {
    const record = parseRecord(text);
    const isRestated = record.kind === 'live' && record.live.kind === 'op';
    if (isRestated) for (const op of record.live.records) this.#take(op);
    if (record.kind !== 'op') return undefined;
    this.#take(record.op);
    return this.#isWhole &&
      record.op.op_id === this.#prefix &&
      refuseTransition(null, record.op) === null
      ? 'stop'
      : undefined;
  }

  #take(op: SealedOp): void {
    const { op_id: opId, parent_op_id: parentId } = op;
    if (parentId?.startsWith(this.#prefix) === true) this.#parts.set(opId, parentId);
    if (!opId.startsWith(this.#prefix)) return;
    const records = this.#ops.get(opId) ?? new Map<number, SealedOp>();
    records.set(op.seq, op);
    this.#ops.set(opId, records);
  }

  result(): FoundOp {
    const [only, ...others] = this.#ops;
    if (only === undefined) return { kind: 'none' };
    if (others.length > 0) return { kind: 'ambiguous', candidates: [...this.#ops.keys()] };
    const [opId, bySeq] = only;
    const records = [...bySeq.values()].sort((a, b) => a.seq - b.seq);
    const parts = [...this.#parts].flatMap(([part, parent]) => (parent === opId ? [part] : []));
    return { kind: 'found', opId, records, parts: parts.toReversed() };
  }
}
