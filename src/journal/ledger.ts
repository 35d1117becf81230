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
import type { HubPlace, Live } from './records.ts';
import { refuseTransition } from './transitions.ts';

/** An idempotency key is kept this much longer than its op may begin (J6). */
export const KEY_GRACE_MS = 120_000;
/** Ended ops without a key that are still answered for: somebody may be waiting for them. */
export const ENDED_KEPT_MAX = 32;
/** Of these a new segment restates the newest that failed: they may be tried again. */
export const FAILED_RESTATED_MAX = 8;
/** Beyond this no new op begins: the intake's own limit is far below. */
export const OPS_IN_FLIGHT_MAX = 20_000;

/** `rule`: of CONTRACT 5; `limit`: OPS_IN_FLIGHT_MAX. */
export interface Refusal {
  readonly rule: 'J2' | 'J6' | 'limit';
  readonly message: string;
}

/** An op as folded: its records that count. Whoever asks gets a view of it as it is then. */
interface OpEntry {
  readonly first: SealedOp;
  started: SealedOp | null;
  latest: SealedOp;
}

const NO_HUB: HubPlace = { cursor: null, ackedSeq: null, forgottenToMs: 0 };

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
  #hub: HubPlace = NO_HUB;

  /** Why this record may not follow, and by which rule, or null. */
  refuse(next: OpRecordDraft, atMs: number): Refusal | null {
    const op = this.#ops.get(next.op_id) ?? null;
    const why = refuseTransition(op, next);
    if (why !== null) return refusal('J2', next, why);
    return op === null ? this.#refuseNew(next, atMs) : null;
  }

  #refuseNew(next: OpRecordDraft, atMs: number): Refusal | null {
    const { idemp_key: key } = next;
    const kept = key === undefined ? null : this.findKey(key, atMs);
    if (kept !== null) return refusal('J6', next, `its idempotency key is that of op ${kept.opId}`);
    if (this.#inFlight.size < OPS_IN_FLIGHT_MAX) return null;
    return refusal('limit', next, `${OPS_IN_FLIGHT_MAX} ops are in flight already`);
  }

  /** Folds a record that `refuse` has nothing against. */
  applyOp(record: SealedOp): void {
    const known = this.#ops.get(record.op_id);
    const op = known ?? { first: record, started: null, latest: record };
    op.latest = record;
    if (record.state === 'started') op.started = record;
    if (known === undefined) this.#begin(op);
    if (isTerminal(record.state)) this.#end(op);
    else if (record.attempt > 1) this.#goOn(op);
    if (record.upid === undefined) return;
    const guest = this.#guest(record.vmid);
    guest.sawUpid(record.upid);
    if (record.kind === 'start' && record.state === 'succeeded') {
      guest.sawStart(Date.parse(record.at));
    }
  }

  #begin(op: OpEntry): void {
    this.#ops.set(op.first.op_id, op);
    this.#inFlight.set(op.first.op_id, op);
    this.#keepFirst(op.first);
  }

  #end({ first }: OpEntry): void {
    this.#inFlight.delete(first.op_id);
    if (first.idemp_key === undefined) this.#ended.add(first.op_id);
    this.#forgetOldEnds();
  }

  /** A failed op that is tried again. */
  #goOn(op: OpEntry): void {
    this.#ended.delete(op.first.op_id);
    this.#inFlight.set(op.first.op_id, op);
  }

  #keepFirst(first: SealedOp): void {
    const { op_id: opId, idemp_key: key } = first;
    const { payload_hmac: payloadHmac, expires_at_ms: expiresAtMs } = first;
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
      // Should the clock step back, what expired before must not be taken as new.
      const forgottenToMs = Math.max(this.#hub.forgottenToMs, first.expires_at_ms ?? 0);
      this.#hub = { ...this.#hub, forgottenToMs };
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
      case 'hub_cursor':
        this.#hub = { ...this.#hub, cursor: note.cursor };
        return;
      case 'receipt_acked':
        this.#hub = { ...this.#hub, ackedSeq: note.recordSeq };
        return;
      default:
        assertNever(note);
    }
  }

  /** All that a new segment repeats. What has expired by `nowMs` is dropped here, too. */
  restate(nowMs: number): readonly Live[] {
    this.#dropExpired(nowMs);
    const live: Live[] = this.#pause === null ? [] : [{ kind: 'pause', pause: this.#pause }];
    if (this.#hub !== NO_HUB) live.push({ kind: 'hub', hub: this.#hub });
    for (const vmid of new Set([...this.#guests.keys(), ...this.#holds.keys()])) {
      const guest = this.#guest(vmid).describe(this.#holds.get(vmid) ?? null, nowMs);
      if (guest !== null) live.push({ kind: 'guest', guest });
    }
    // Ended ones last and in the order of their ends: they are forgotten in that order.
    const others = [...this.#ops.values()].filter(({ first }) => !this.#ended.has(first.op_id));
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
      case 'hub':
        this.#hub = live.hub;
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
    const op = { first, started, latest };
    this.#begin(op);
    if (isTerminal(latest.state)) this.#end(op);
  }

  /** Oldest first. */
  opsInFlight(): readonly OpView[] {
    return viewsOf([...this.#inFlight.values()]);
  }

  findOp(opId: OpId): OpView | null {
    const op = this.#ops.get(opId);
    return op === undefined ? null : viewOf(op);
  }

  /** Oldest first. */
  childrenOf(opId: OpId): readonly OpView[] {
    return viewsOf((this.#parts.get(opId) ?? []).flatMap((part) => this.#ops.get(part) ?? []));
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

  hub(): HubPlace {
    return this.#hub;
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

function refusal(rule: Refusal['rule'], { op_id: opId }: OpRecordDraft, why: string): Refusal {
  return { rule, message: `op ${opId}: ${why}` };
}

function isOver(pause: Pause, nowMs: number): boolean {
  return pause.untilMs !== null && pause.untilMs <= nowMs;
}

function viewsOf(ops: readonly OpEntry[]): readonly OpView[] {
  return ops.toSorted((a, b) => a.first.seq - b.first.seq).map(viewOf);
}

function viewOf({ first, started, latest }: OpEntry): OpView {
  return {
    opId: first.op_id,
    first,
    started,
    latest,
    startedAtMs: started === null ? null : Date.parse(started.at),
    latestAtMs: Date.parse(latest.at),
  };
}

function recordsOf({ first, started, latest }: OpEntry): readonly SealedOp[] {
  return [...new Set([first, ...(started === null ? [] : [started]), latest])];
}
