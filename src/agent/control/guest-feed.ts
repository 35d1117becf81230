/**
 * Every guest as the API shows it, kept up as the engine's events come, and told to listeners
 * when one has changed. Derived from the last look, plan and records; nothing is asked of PVE.
 *
 * Changes that come together are looked at together: a burst of events costs one round.
 */
import type { ActualState } from '../../reconcile/guest.ts';
import type { Vmid } from '../../reconcile/ids.ts';
import type { OpRecord } from '../../reconcile/op.ts';
import type { Plan } from '../../reconcile/plan.ts';
import { type GuestView, LAST_OPS_READ_MAX, newestByGuest, viewGuests } from './guest-view.ts';
import type { ControlPorts } from './ports.ts';

/** Quicker than anybody sees, slow enough that a flood of events is a few rounds a second. */
const ROUND_MS = 50;

export interface GuestFeed {
  list(): GuestView[];
  find(vmid: Vmid): GuestView | null;
  /** What the last passes planned; null before the first. */
  readonly plan: Plan | null;
  /** The newest record known. */
  readonly lastSeq: number;
  /** All guests there are now. */
  vmids(): readonly Vmid[];
  /** As `/v1/guests` shows it; null: nobody wants it and PVE does not list it any more. */
  json(vmid: Vmid): string | null;
  /** Says that something the engine has no event for has changed (a hold). */
  touch(vmid: Vmid): void;
  /** Told of which guest has changed: a listener takes what it is when it has the room. */
  subscribe(listener: (vmid: Vmid) => void): () => void;
  close(): void;
}

type FeedPorts = Pick<
  ControlPorts,
  'mode' | 'engine' | 'ledger' | 'history' | 'looks' | 'events' | 'clock' | 'reportError'
>;

/** Reads the newest record of each guest once; after that events carry them. */
export async function createGuestFeed(ports: FeedPorts): Promise<GuestFeed> {
  const feed = new Feed(ports);
  await feed.readLastOps();
  return feed;
}

/** Guests that a round is due for. */
type Dirty = Set<Vmid> | 'all' | null;

class Feed implements GuestFeed {
  readonly #ports: FeedPorts;
  readonly #lastOps = new Map<Vmid, OpRecord>();
  readonly #listeners = new Set<(vmid: Vmid) => void>();
  readonly #shown = new Map<Vmid, string>();
  readonly #closing = new AbortController();
  readonly #unsubscribe: () => void;
  #dirty: Dirty = null;
  #plan: Plan | null = null;
  #lastSeq = 0;

  constructor(ports: FeedPorts) {
    this.#ports = ports;
    this.#unsubscribe = ports.events.subscribe((event) => {
      if (event.kind === 'op') this.#noteRecord(event.record);
      if (event.kind === 'waiting') this.touch(event.vmid);
      if (event.kind !== 'pass') return;
      this.#plan = this.#merge(event.plan);
      this.#schedule('all');
    });
  }

  get plan(): Plan | null {
    return this.#plan;
  }

  get lastSeq(): number {
    return this.#lastSeq;
  }

  async readLastOps(): Promise<void> {
    const records = await this.#ports.history.listOps({ limit: LAST_OPS_READ_MAX });
    this.#lastSeq = Math.max(this.#lastSeq, records[0]?.seq ?? 0);
    for (const [vmid, record] of newestByGuest(records)) {
      if (!this.#lastOps.has(vmid)) this.#lastOps.set(vmid, record);
    }
  }

  list(): GuestView[] {
    return this.#describe(null);
  }

  find(vmid: Vmid): GuestView | null {
    return this.#describe(new Set([vmid]))[0] ?? null;
  }

  vmids(): readonly Vmid[] {
    this.#round('all');
    return [...this.#shown.keys()];
  }

  json(vmid: Vmid): string | null {
    return this.#shown.get(vmid) ?? null;
  }

  touch(vmid: Vmid): void {
    this.#schedule(vmid);
  }

  subscribe(listener: (vmid: Vmid) => void): () => void {
    // What was shown before anybody listened may be old: it is no change that it is new.
    if (this.#listeners.size === 0) this.#round('all');
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  close(): void {
    this.#unsubscribe();
    this.#closing.abort();
    this.#listeners.clear();
  }

  #noteRecord(record: OpRecord): void {
    this.#lastOps.set(record.vmid, record);
    this.#lastSeq = Math.max(this.#lastSeq, record.seq);
    this.touch(record.vmid);
  }

  /** A pass over some guests says nothing of the others. */
  #merge({ entries }: Plan): Plan {
    const planned = new Set(entries.map(({ vmid }) => vmid));
    const { desired } = this.#ports.looks;
    const isWanted = (vmid: Vmid): boolean =>
      desired?.guests.has(vmid) === true || desired?.claimedTwice.has(vmid) === true;
    const others = (this.#plan?.entries ?? []).filter(
      ({ vmid }) => !planned.has(vmid) && isWanted(vmid),
    );
    return { entries: [...entries, ...others].sort((a, b) => a.vmid - b.vmid) };
  }

  #schedule(what: Vmid | 'all'): void {
    // Nobody listens: whoever asks gets it made then.
    if (this.#listeners.size === 0) return;
    const isDue = this.#dirty !== null;
    if (what === 'all' || this.#dirty === 'all') this.#dirty = 'all';
    else this.#dirty = (this.#dirty ?? new Set<Vmid>()).add(what);
    if (!isDue) void this.#runLater();
  }

  async #runLater(): Promise<void> {
    await this.#ports.clock.sleep(ROUND_MS, this.#closing.signal);
    const dirty = this.#dirty;
    this.#dirty = null;
    if (dirty === null || this.#closing.signal.aborted) return;
    try {
      this.#round(dirty);
    } catch (error) {
      // Listeners miss a round; the next one shows what there is then.
      this.#ports.reportError(error, 'guests');
    }
  }

  #round(dirty: ReadonlySet<Vmid> | 'all'): void {
    const seen = new Set<Vmid>();
    for (const guest of this.#describe(dirty === 'all' ? null : dirty)) {
      seen.add(guest.vmid);
      const json = JSON.stringify(guest);
      if (this.#shown.get(guest.vmid) === json) continue;
      this.#shown.set(guest.vmid, json);
      this.#tell(guest.vmid);
    }
    for (const vmid of dirty === 'all' ? [...this.#shown.keys()] : dirty) {
      if (!seen.has(vmid) && this.#shown.delete(vmid)) this.#tell(vmid);
    }
  }

  #tell(vmid: Vmid): void {
    for (const listener of this.#listeners) listener(vmid);
  }

  /** Null: all of them. */
  #describe(only: ReadonlySet<Vmid> | null): GuestView[] {
    const { mode, looks, ledger, engine, clock } = this.#ports;
    const entries = this.#plan?.entries ?? [];
    return viewGuests({
      only,
      mode,
      plan: { entries: only === null ? entries : entries.filter(({ vmid }) => only.has(vmid)) },
      desired: looks.desired,
      actual: looks.actual === null ? null : this.#newest(looks.actual, only),
      known: looks.known,
      inFlight: ledger.opsInFlight(),
      lastOps: this.#lastOps,
      holds: ledger.holds(),
      nowMs: clock.now(),
      waits: engine.waits(),
    });
  }

  /** The end of an op has shown its guest newer than the last look at the node did. */
  #newest(actual: ActualState, only: ReadonlySet<Vmid> | null): ActualState {
    const vmids = only ?? actual.guests.keys();
    const guests = new Map(
      [...vmids].flatMap((vmid) => {
        const guest = this.#ports.engine.lastSeen(vmid) ?? actual.guests.get(vmid);
        return guest === undefined ? [] : [[vmid, guest]];
      }),
    );
    return { ...actual, guests };
  }
}
