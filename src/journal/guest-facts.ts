/** What the journal remembers of one guest beside its ops. Bounded; no clock of its own. */
import type { Upid, Vmid } from '../reconcile/ids.ts';
import type { Hold } from '../reconcile/ports.ts';
import { beganLater, type TaskStart } from '../reconcile/task-order.ts';
import { isText, type SealedOp } from './op-record.ts';
import type { LiveGuest } from './records.ts';

/** How far back starts count (flapping). */
const STARTS_WINDOW_MS = 10 * 60_000;
/** Flapping is decided by a handful. */
const STARTS_MAX = 16;

interface Start {
  /** Wall clock ms, or `at` as a record has it: turned into a number when somebody asks. */
  readonly at: number | string;
  /** By an operator or a hub: the guest did not need it. */
  readonly isAsked: boolean;
}

export class GuestFacts {
  readonly #vmid: Vmid;
  readonly secrets = new Map<string, string>();
  isInitialDone = false;
  /** When the oldest of what is remembered was noted, starts apart; wall clock ms. */
  #sinceMs: number | null = null;
  #lastUpid: Upid | null = null;
  #lastStart: TaskStart | null = null;
  /** The newest are last; of more than are kept, the oldest go now and then. */
  #starts: Start[] = [];

  constructor(vmid: Vmid) {
    this.#vmid = vmid;
  }

  static from(live: LiveGuest): GuestFacts {
    const facts = new GuestFacts(live.vmid);
    facts.isInitialDone = live.isInitialDone;
    if (live.lastUpid !== null) facts.sawUpid(live.lastUpid);
    const asked = new Set(live.askedStartsMs);
    facts.#starts = live.startsMs.map((at) => ({ at, isAsked: asked.has(at) }));
    facts.#sinceMs = live.sinceMs;
    for (const [key, hash] of Object.entries(live.secrets)) facts.secrets.set(key, hash);
    return facts;
  }

  get lastUpid(): Upid | null {
    return this.#lastUpid;
  }

  /** The newest by its own start time: late effects are found in any order. */
  sawUpid(upid: Upid): void {
    if (upid === this.#lastUpid) return;
    const start = { pstart: hexField(upid, 3), startedS: hexField(upid, 4) };
    if (this.#lastStart !== null && beganLater(this.#lastStart, start)) return;
    this.#lastUpid = upid;
    this.#lastStart = start;
  }

  /** `at`: of the record that noted it. */
  sawFact(at: string): void {
    this.#sinceMs ??= Date.parse(at);
  }

  sawStart({ at, origin }: Pick<SealedOp, 'at' | 'origin'>): void {
    this.#starts.push({ at, isAsked: origin !== 'reconcile' });
    if (this.#starts.length > 2 * STARTS_MAX) this.#starts = this.#starts.slice(-STARTS_MAX);
  }

  forgetStarts(): void {
    this.#starts = [];
  }

  /** The newest UPID stays: a task older than it is not the next guest's either. */
  forget(): void {
    this.#starts = [];
    this.#sinceMs = null;
    this.isInitialDone = false;
    this.secrets.clear();
  }

  /** Of the last ten minutes. */
  recentStarts(nowMs: number): readonly (Start & { readonly at: number })[] {
    const starts = this.#starts.slice(-STARTS_MAX).map(({ at, isAsked }) => ({
      at: isText(at) ? Date.parse(at) : at,
      isAsked,
    }));
    return starts.filter(({ at }) => at > nowMs - STARTS_WINDOW_MS);
  }

  rememberedSince(nowMs: number): number | null {
    const oldest = this.recentStarts(nowMs)[0]?.at ?? null;
    const since = this.#sinceMs;
    return oldest === null || since === null ? (oldest ?? since) : Math.min(oldest, since);
  }

  /** What a new segment restates; null where there is nothing to say. */
  describe(hold: Hold | null, nowMs: number): LiveGuest | null {
    const starts = this.recentStarts(nowMs);
    // What is not restated is forgotten here, too: a clock set back must not bring it back.
    this.#starts = [...starts];
    const isUndated = hold === null && this.secrets.size === 0 && !this.isInitialDone;
    if (isUndated) this.#sinceMs = null;
    if (isUndated && starts.length === 0 && this.#lastUpid === null) return null;
    return {
      vmid: this.#vmid,
      hold,
      sinceMs: this.#sinceMs,
      lastUpid: this.#lastUpid,
      startsMs: starts.map(({ at }) => at),
      askedStartsMs: starts.filter(({ isAsked }) => isAsked).map(({ at }) => at),
      isInitialDone: this.isInitialDone,
      secrets: Object.fromEntries(this.secrets),
    };
  }
}

/** Of `UPID:node:pid:pstart:starttime:…`; pstart has 8 digits or 9 (PVE-FACTS 16). */
function hexField(upid: Upid, field: number): number {
  let begin = 0;
  for (let skipped = 0; skipped < field; skipped++) begin = upid.indexOf(':', begin) + 1;
  return parseInt(upid.slice(begin, upid.indexOf(':', begin)), 16);
}
