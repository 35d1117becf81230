/** What the journal remembers of one guest beside its ops. Bounded; no clock of its own. */
import type { Upid, Vmid } from '../reconcile/ids.ts';
import type { Hold } from '../reconcile/ports.ts';
import type { LiveGuest } from './records.ts';

/** How far back starts count (flapping). */
const STARTS_WINDOW_MS = 10 * 60_000;
/** Flapping is decided by a handful. */
const STARTS_MAX = 16;

export class GuestFacts {
  readonly #vmid: Vmid;
  readonly secrets = new Map<string, string>();
  isInitialDone = false;
  #lastUpid: Upid | null = null;
  #startsMs: readonly number[] = [];

  constructor(vmid: Vmid) {
    this.#vmid = vmid;
  }

  static from(live: LiveGuest): GuestFacts {
    const facts = new GuestFacts(live.vmid);
    facts.isInitialDone = live.isInitialDone;
    facts.#lastUpid = live.lastUpid;
    facts.#startsMs = live.startsMs;
    for (const [key, hash] of Object.entries(live.secrets)) facts.secrets.set(key, hash);
    return facts;
  }

  get lastUpid(): Upid | null {
    return this.#lastUpid;
  }

  /** The newest by its own start time: late effects are found in any order. */
  sawUpid(upid: Upid): void {
    if (this.#lastUpid === null || isNewer(upid, this.#lastUpid)) this.#lastUpid = upid;
  }

  sawStart(atMs: number): void {
    this.#startsMs = [...this.#startsMs, atMs].slice(-STARTS_MAX);
  }

  forgetStarts(): void {
    this.#startsMs = [];
  }

  /** The newest UPID stays: a task older than it is not the next guest's either. */
  forget(): void {
    this.#startsMs = [];
    this.isInitialDone = false;
    this.secrets.clear();
  }

  startsSince(nowMs: number): readonly number[] {
    return this.#startsMs.filter((startMs) => startMs > nowMs - STARTS_WINDOW_MS);
  }

  /** What a new segment restates; null where there is nothing to say. */
  describe(hold: Hold | null, nowMs: number): LiveGuest | null {
    const startsMs = this.startsSince(nowMs);
    const isBlank = startsMs.length === 0 && this.#lastUpid === null && this.secrets.size === 0;
    if (isBlank && hold === null && !this.isInitialDone) return null;
    return {
      vmid: this.#vmid,
      hold,
      lastUpid: this.#lastUpid,
      startsMs,
      isInitialDone: this.isInitialDone,
      secrets: Object.fromEntries(this.secrets),
    };
  }
}

/** By start time, then by the worker's own start: both are hex fields of the UPID. */
function isNewer(upid: Upid, than: Upid): boolean {
  const [, , , pstart = '', start = ''] = upid.split(':');
  const [, , , thanPstart = '', thanStart = ''] = than.split(':');
  const difference = parseInt(start, 16) - parseInt(thanStart, 16);
  return difference === 0 ? parseInt(pstart, 16) >= parseInt(thanPstart, 16) : difference > 0;
}
