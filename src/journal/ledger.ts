/**
 * The fold of the journal's records into what counts now. Pure: no disk, no clock; time is the
 * records' own. The writer folds what it appends, opening and verifying fold what they read, so
 * all three hold the same to be true.
 *
 * Invariants:
 * - what `refuse` objects to is never folded;
 * - `restate` then `restore` gives the same ledger, but for what nobody may ask for any more;
 * - its size is bounded: guests, and what op-book.ts keeps of ops.
 */
import { hasStarted } from '../reconcile/completion.ts';
import { assertNever } from '../reconcile/errors.ts';
import { unlessOver } from '../reconcile/hold.ts';
import type { OpId, Upid, Vmid } from '../reconcile/ids.ts';
import type { OpRecordDraft } from '../reconcile/op.ts';
import type { Hold, KeptKey, Note, OpView, Pause } from '../reconcile/ports.ts';
import { GuestFacts } from './guest-facts.ts';
import { OpBook, type Refusal } from './op-book.ts';
import type { SealedOp } from './op-record.ts';
import type { HubPlace, Live } from './records.ts';

export class Ledger {
  readonly #ops = new OpBook();
  readonly #guests = new Map<Vmid, GuestFacts>();
  readonly #holds = new Map<Vmid, Hold>();
  #pause: Pause | null = null;
  #hubCursor: string | null = null;
  #hubAckedSeq: number | null = null;
  #keysLostToMs = 0;

  /** Why this record may not follow, and by which rule, or null. */
  refuse(next: OpRecordDraft, atMs: number): Refusal | null {
    return this.#ops.refuse(next, atMs);
  }

  /** Folds a record that `refuse` has nothing against. */
  applyOp(record: SealedOp): void {
    this.#ops.apply(record);
    if (record.kind === 'set_config' && record.state === 'started') this.#doubtSecrets(record);
    if (record.upid === undefined) return;
    const guest = this.#guest(record.vmid);
    guest.sawUpid(record.upid);
    if (hasStarted(record)) guest.sawStart(record);
  }

  /** A secret that is being written is neither the old one for sure nor the new one. */
  #doubtSecrets({ vmid, params }: SealedOp): void {
    const secrets = this.#guests.get(vmid)?.secrets;
    if (secrets === undefined || params === undefined || !('set' in params)) return;
    for (const key of Object.keys(params.set)) secrets.delete(key);
  }

  /** `at`: of its record. */
  applyNote(note: Note, at: string): void {
    switch (note.kind) {
      case 'hold':
        this.#holds.set(note.hold.vmid, note.hold);
        this.#guest(note.hold.vmid).sawFact(at);
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
        this.#guest(note.vmid).sawFact(at);
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
        this.#guest(note.vmid).sawFact(at);
        return;
      case 'hub_cursor':
        this.#hubCursor = note.cursor;
        return;
      case 'receipt_acked':
        this.#hubAckedSeq = note.recordSeq;
        return;
      default:
        assertNever(note);
    }
  }

  /** All that a new segment repeats. What has expired by `nowMs` is dropped here, too. */
  restate(nowMs: number): readonly Live[] {
    this.#dropExpired(nowMs);
    const live: Live[] = this.#pause === null ? [] : [{ kind: 'pause', pause: this.#pause }];
    const hub = this.hub();
    const { cursor, ackedSeq, forgottenToMs, keysLostToMs } = hub;
    if (cursor !== null || ackedSeq !== null || forgottenToMs > 0 || keysLostToMs > 0) {
      live.push({ kind: 'hub', hub });
    }
    for (const vmid of new Set([...this.#guests.keys(), ...this.#holds.keys()])) {
      const guest = this.#guest(vmid).describe(this.#holds.get(vmid) ?? null, nowMs);
      if (guest !== null) live.push({ kind: 'guest', guest });
    }
    for (const records of this.#ops.restate()) live.push({ kind: 'op', records });
    return live;
  }

  #dropExpired(nowMs: number): void {
    this.#pause = unlessOver(this.#pause, nowMs);
    // That it is over, and was not ended by somebody, counts for an op that renews it (hold.ts).
    const asking = this.#ops.inFlight().filter(({ first }) => first.hold_ms !== undefined);
    const kept = new Set(asking.map(({ first }) => first.vmid));
    for (const [vmid, hold] of this.#holds) {
      if (unlessOver(hold, nowMs) === null && !kept.has(vmid)) this.#holds.delete(vmid);
    }
    this.#ops.forgetPast(nowMs);
  }

  restore(live: Live): void {
    switch (live.kind) {
      case 'op':
        this.#ops.restore(live.records);
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
        this.#hubCursor = live.hub.cursor;
        this.#hubAckedSeq = live.hub.ackedSeq;
        this.#ops.forgottenToMs = live.hub.forgottenToMs;
        this.#keysLostToMs = live.hub.keysLostToMs;
        return;
      default:
        assertNever(live);
    }
  }

  /** Oldest first. */
  opsInFlight(): readonly OpView[] {
    return this.#ops.inFlight();
  }

  inFlightCount(): number {
    return this.#ops.inFlightCount;
  }

  endedOps(): readonly OpView[] {
    return this.#ops.ended();
  }

  findOp(opId: OpId): OpView | null {
    return this.#ops.find(opId);
  }

  /** Oldest first. */
  childrenOf(opId: OpId): readonly OpView[] {
    return this.#ops.childrenOf(opId);
  }

  findKey(key: string, nowMs: number): KeptKey | null {
    return this.#ops.findKey(key, nowMs);
  }

  lastUpid(vmid: Vmid): Upid | null {
    return this.#guests.get(vmid)?.lastUpid ?? null;
  }

  recentStarts(vmid: Vmid, nowMs: number): readonly number[] {
    const starts = this.#guests.get(vmid)?.recentStarts(nowMs) ?? [];
    return starts.filter(({ isAsked }) => !isAsked).map(({ at }) => at);
  }

  wasStartedLately(vmid: Vmid, nowMs: number): boolean {
    return (this.#guests.get(vmid)?.recentStarts(nowMs) ?? []).length > 0;
  }

  rememberedSince(vmid: Vmid, nowMs: number): number | null {
    return this.#guests.get(vmid)?.rememberedSince(nowMs) ?? null;
  }

  holds(): ReadonlyMap<Vmid, Hold> {
    return this.#holds;
  }

  pause(): Pause | null {
    return this.#pause;
  }

  hub(): HubPlace {
    const { forgottenToMs } = this.#ops;
    const [cursor, ackedSeq] = [this.#hubCursor, this.#hubAckedSeq];
    return { cursor, ackedSeq, forgottenToMs, keysLostToMs: this.#keysLostToMs };
  }

  /** Of ops signed up to then keys may be lost. */
  loseKeys(toMs: number): void {
    this.#keysLostToMs = Math.max(this.#keysLostToMs, toMs);
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
