/**
 * The fold of the journal's records into what counts now. Pure: no disk, no clock; time is the
 * records' own. The writer folds what it appends, opening and verifying fold what they read, so
 * all three hold the same to be true.
 *
 * Invariants:
 * - what `refuse` objects to is never folded;
 * - `restate` then `restore` gives the same ledger, but for what nobody may ask for any more;
 * - its size is bounded by ops in flight, unexpired keys, guests, and ENDED_KEPT_MAX.
 */
import { assertNever } from '../reconcile/errors.ts';
import type { OpId, Upid, Vmid } from '../reconcile/ids.ts';
import { isTerminal, type OpRecordDraft } from '../reconcile/op.ts';
import type { Hold, KeptKey, Note, OpView, Pause } from '../reconcile/ports.ts';
import { GuestFacts } from './guest-facts.ts';
import type { SealedOp } from './op-record.ts';
import type { Live } from './records.ts';
import { refuseTransition } from './transitions.ts';

/** An idempotency key is kept this much longer than its op may begin (J6). */
export const KEY_GRACE_MS = 120_000;
/** Ended ops without a key that are still answered for: somebody may be waiting for them. */
export const ENDED_KEPT_MAX = 256;
/** Of these a new segment restates the newest that failed: they may be tried again. */
export const FAILED_RESTATED_MAX = 8;
/** Beyond this no new op begins: the intake's own limit is far below. */
export const OPS_IN_FLIGHT_MAX = 20_000;

/** `rule`: of CONTRACT 5; `limit`: OPS_IN_FLIGHT_MAX. */
export interface Refusal {
  readonly rule: 'J2' | 'J6' | 'J9' | 'limit';
  readonly message: string;
}

/** An op as folded: its records that count. Replaced, never changed. */
interface OpEntry extends OpView {
  readonly latest: SealedOp;
  readonly first: SealedOp;
  readonly started: SealedOp | null;
}

export class Ledger {
  readonly #ops = new Map<OpId, OpEntry>();
  readonly #inFlight = new Map<OpId, OpEntry>();
  /** Ended ops that no key keeps, in the order of their ends. */
  readonly #ended = new Set<OpId>();
  readonly #keys = new Map<string, KeptKey>();
  readonly #parts = new Map<OpId, OpId[]>();
  readonly #guests = new Map<Vmid, GuestFacts>();
  readonly #holds = new Map<Vmid, Hold>();
  #pause: Pause | null = null;

  /** Why this record may not follow, and by which rule, or null. */
  refuse(next: OpRecordDraft, atMs: number): Refusal | null {
    const op = this.#ops.get(next.op_id) ?? null;
    const because = (rule: Refusal['rule'], why: string): Refusal => {
      return { rule, message: `op ${next.op_id}: ${why}` };
    };
    const why = refuseTransition(op, next);
    if (why !== null) return because('J2', why);
    if (op !== null) return null;
    const kept = next.idemp_key === undefined ? null : this.findKey(next.idemp_key, atMs);
    if (kept !== null) return because('J6', `its idempotency key is that of op ${kept.opId}`);
    if (this.#inFlight.size < OPS_IN_FLIGHT_MAX) return null;
    return because('limit', `${OPS_IN_FLIGHT_MAX} ops are in flight already`);
  }

  /** Folds a record that `refuse` has nothing against. */
  applyOp(record: SealedOp): void {
    const known = this.#ops.get(record.op_id);
    const isStarted = record.state === 'started';
    this.#keep({
      opId: record.op_id,
      latest: record,
      first: known?.first ?? record,
      started: isStarted ? record : (known?.started ?? null),
      latestAtMs: Date.parse(record.at),
      startedAtMs: isStarted ? Date.parse(record.at) : (known?.startedAtMs ?? null),
    });
    if (record.upid !== undefined) this.#guest(record.vmid).sawUpid(record.upid);
    const isOurStart = record.kind === 'start' && record.upid !== undefined;
    if (isOurStart && record.state === 'succeeded') {
      this.#guest(record.vmid).sawStart(Date.parse(record.at));
    }
  }

  #keep(entry: OpEntry): void {
    const { opId, first, latest } = entry;
    if (!this.#ops.has(opId)) this.#keepFirst(first);
    this.#ops.set(opId, entry);
    if (!isTerminal(latest.state)) {
      this.#ended.delete(opId);
      this.#inFlight.set(opId, entry);
      return;
    }
    this.#inFlight.delete(opId);
    if (first.idemp_key === undefined) this.#ended.add(opId);
    this.#forgetOldEnds();
  }

  #keepFirst({ op_id: opId, ...first }: SealedOp): void {
    const { idemp_key: key, payload_hmac: payloadHmac, expires_at_ms: expiresAtMs } = first;
    if (key !== undefined && payloadHmac !== undefined && expiresAtMs !== undefined) {
      this.#keys.set(key, { opId, payloadHmac, expiresAtMs });
    }
    if (first.parent_op_id === undefined) return;
    const parts = this.#parts.get(first.parent_op_id);
    if (parts === undefined) this.#parts.set(first.parent_op_id, [opId]);
    else parts.push(opId);
  }

  #forgetOldEnds(): void {
    let surplus = this.#ended.size - ENDED_KEPT_MAX;
    for (const opId of this.#ended) {
      if (surplus <= 0) return;
      surplus -= 1;
      if (!this.#isPartInFlight(opId)) this.#forget(opId);
    }
  }

  /** A composite op in flight is settled from its parts. */
  #isPartInFlight(opId: OpId): boolean {
    const parent = this.#ops.get(opId)?.first.parent_op_id;
    return parent !== undefined && this.#inFlight.has(parent);
  }

  #forget(opId: OpId): void {
    const first = this.#ops.get(opId)?.first;
    this.#ops.delete(opId);
    this.#ended.delete(opId);
    if (first?.idemp_key !== undefined && this.#keys.get(first.idemp_key)?.opId === opId) {
      this.#keys.delete(first.idemp_key);
    }
    if (first?.parent_op_id === undefined) return;
    const others = this.#parts.get(first.parent_op_id)?.filter((part) => part !== opId) ?? [];
    if (others.length > 0) this.#parts.set(first.parent_op_id, others);
    else this.#parts.delete(first.parent_op_id);
  }

  applyNote(note: Note): void {
    switch (note.kind) {
      case 'hold':
        this.#holds.set(note.hold.vmid, note.hold);
        return;
      case 'resume_guest':
        this.#holds.delete(note.vmid);
        // Somebody has looked: a flapping guest begins anew.
        this.#guest(note.vmid).forgetStarts();
        return;
      case 'pause':
        this.#pause = note.pause;
        return;
      case 'resume':
        this.#pause = null;
        return;
      case 'initial_done':
        this.#guest(note.vmid).isInitialDone = true;
        return;
      case 'late_effect':
        this.#guest(note.vmid).sawUpid(note.upid);
        return;
      case 'forget_guest':
        this.#holds.delete(note.vmid);
        this.#guest(note.vmid).forget();
        return;
      case 'secret_applied':
        this.#guest(note.vmid).secrets.set(note.key, note.hash);
        return;
      default:
        assertNever(note);
    }
  }

  /** All that a new segment repeats. What has expired by `nowMs` is dropped here, too. */
  restate(nowMs: number): readonly Live[] {
    this.#dropExpired(nowMs);
    const live: Live[] = this.#pause === null ? [] : [{ kind: 'pause', pause: this.#pause }];
    for (const vmid of new Set([...this.#guests.keys(), ...this.#holds.keys()])) {
      const guest = this.#guest(vmid).describe(this.#holds.get(vmid) ?? null, nowMs);
      if (guest !== null) live.push({ kind: 'guest', guest });
    }
    // Ended ones last and in the order of their ends: they are forgotten in that order.
    const others = [...this.#ops.values()].filter(({ opId }) => !this.#ended.has(opId));
    const ended = [...this.#ended].flatMap((opId) => this.#ops.get(opId) ?? []);
    for (const op of [...others, ...ended]) live.push({ kind: 'op', records: recordsOf(op) });
    return live;
  }

  #dropExpired(nowMs: number): void {
    if (this.#pause !== null && isOver(this.#pause, nowMs)) this.#pause = null;
    for (const [vmid, hold] of this.#holds) if (isOver(hold, nowMs)) this.#holds.delete(vmid);
    for (const [opId, { first }] of this.#ops) {
      if (first.idemp_key === undefined || this.#inFlight.has(opId)) continue;
      if (this.findKey(first.idemp_key, nowMs) === null) this.#forget(opId);
    }
    let failed = 0;
    for (const opId of [...this.#ended].toReversed()) {
      if (this.#isPartInFlight(opId)) continue;
      const latest = this.#ops.get(opId)?.latest;
      const mayBeTried = latest?.state === 'failed' && latest.attempt > 0;
      if (mayBeTried) failed += 1;
      if (!mayBeTried || failed > FAILED_RESTATED_MAX) this.#forget(opId);
    }
  }

  restore(live: Live): void {
    switch (live.kind) {
      case 'op':
        this.#restoreOp(live.records);
        return;
      case 'guest': {
        const { vmid, hold } = live.guest;
        this.#guests.set(vmid, GuestFacts.from(live.guest));
        if (hold !== null) this.#holds.set(vmid, hold);
        return;
      }
      case 'pause':
        this.#pause = live.pause;
        return;
      default:
        assertNever(live);
    }
  }

  #restoreOp(records: readonly SealedOp[]): void {
    const first = records[0];
    const latest = records.at(-1);
    if (first === undefined || latest === undefined) return;
    const started = records.findLast(({ state }) => state === 'started') ?? null;
    this.#keep({
      opId: first.op_id,
      first,
      latest,
      started,
      latestAtMs: Date.parse(latest.at),
      startedAtMs: started === null ? null : Date.parse(started.at),
    });
  }

  /** Oldest first. */
  opsInFlight(): readonly OpEntry[] {
    return [...this.#inFlight.values()].sort((a, b) => a.first.seq - b.first.seq);
  }

  findOp(opId: OpId): OpEntry | null {
    return this.#ops.get(opId) ?? null;
  }

  childrenOf(opId: OpId): readonly OpEntry[] {
    const parts = (this.#parts.get(opId) ?? []).flatMap((part) => this.#ops.get(part) ?? []);
    return parts.sort((a, b) => a.first.seq - b.first.seq);
  }

  /** Null also when the key is past its time, though it may still be remembered. */
  findKey(key: string, nowMs: number): KeptKey | null {
    const kept = this.#keys.get(key);
    if (kept === undefined) return null;
    const isKept = nowMs <= kept.expiresAtMs + KEY_GRACE_MS || this.#inFlight.has(kept.opId);
    return isKept ? kept : null;
  }

  lastUpid(vmid: Vmid): Upid | null {
    return this.#guests.get(vmid)?.lastUpid ?? null;
  }

  recentStarts(vmid: Vmid, nowMs: number): readonly number[] {
    return this.#guests.get(vmid)?.startsSince(nowMs) ?? [];
  }

  holds(): ReadonlyMap<Vmid, Hold> {
    return this.#holds;
  }

  pause(): Pause | null {
    return this.#pause;
  }

  isInitialDone(vmid: Vmid): boolean {
    return this.#guests.get(vmid)?.isInitialDone ?? false;
  }

  appliedSecret(vmid: Vmid, key: string): string | null {
    return this.#guests.get(vmid)?.secrets.get(key) ?? null;
  }

  #guest(vmid: Vmid): GuestFacts {
    const known = this.#guests.get(vmid);
    if (known !== undefined) return known;
    const facts = new GuestFacts(vmid);
    this.#guests.set(vmid, facts);
    return facts;
  }
}

function isOver(pause: Pause, nowMs: number): boolean {
  return pause.untilMs !== null && pause.untilMs <= nowMs;
}

function recordsOf({ first, started, latest }: OpEntry): readonly SealedOp[] {
  return [...new Set([first, ...(started === null ? [] : [started]), latest])];
}
