/**
 * Looks that cost no request: a second make of `observe`, in front of the API's. While the host's
 * own signs are as they were before the last look through the API began, that look still holds.
 *
 * Invariants:
 * - C1 A look is kept under signs that were read before it began, so a change during it shows.
 * - C2 After a change of our own the API is asked until the mirror must have caught up.
 * - C3 What was seen is believed for at most 10 minutes: signs may be missed.
 * - C4 `look`, under a lane, always asks the API: nothing is ever done on the word of a sign.
 * - C5 A config that somebody has asked for before is read again once its counter has moved,
 *   whether it is due or not, and whatever it was read under: by a sign, before there were any, or
 *   before a change of our own made us forget what we knew.
 * - C6 Only a whole look is kept: one that saw every guest and every task. It answers for the
 *   guests that are in it, and for those that it was asked to find elsewhere.
 */
import type { Clock } from '../../reconcile/clock.ts';
import type { ActualState, ConfigLook, Guest } from '../../reconcile/guest.ts';
import type { Vmid } from '../../reconcile/ids.ts';
import type { GuestApi, ObserveRequest } from '../../reconcile/ports.ts';
import type { HostSigns, SignReader } from './host-signs.ts';

const BELIEVED_MS = 10 * 60_000;
/** The mirror is a second behind, pmxcfs a little too. */
const MIRROR_LAG_MS = 3_000;

interface KeptLook {
  readonly signs: HostSigns;
  readonly actual: ActualState;
  /** C6: whom it looked for on the other nodes, where its own did not have them. */
  readonly wanted: ReadonlySet<Vmid>;
  readonly atMs: number;
}

interface KeptConfig {
  readonly version: string;
  readonly look: ConfigLook;
  readonly atMs: number;
}

export interface CheapLooksOptions {
  readonly guests: GuestApi;
  readonly clock: Clock;
  /** Null: the host shows nothing; the API is asked as if there were no cheap looks. */
  readonly readSigns: SignReader;
}

export function withCheapLooks({ guests, clock, readSigns }: CheapLooksOptions): GuestApi {
  const looks = new CheapLooks({ guests, clock, readSigns });
  const changing = async <T>(change: () => Promise<T>): Promise<T> => {
    try {
      return await change();
    } finally {
      looks.forget();
    }
  };
  return {
    ...guests,
    observe: (request, signal) => looks.observe(request, signal),
    start: (guest, signal) => changing(() => guests.start(guest, signal)),
    stop: (guest, params, signal) => changing(() => guests.stop(guest, params, signal)),
    setConfig: (guest, change, signal) => changing(() => guests.setConfig(guest, change, signal)),
    awaitTask: (upid, signal) => changing(() => guests.awaitTask(upid, signal)),
  };
}

class CheapLooks {
  readonly #options: CheapLooksOptions;
  #kept: KeptLook | null = null;
  readonly #configs = new Map<Vmid, KeptConfig>();
  /** Whose config was ever asked for: of the others none is wanted. */
  readonly #asked = new Set<Vmid>();
  /** C5: those of them whose counter has moved since they were read. */
  readonly #moved = new Set<Vmid>();
  #counters: HostSigns['configs'] = new Map();
  #lateUntilMs = 0;

  constructor(options: CheapLooksOptions) {
    this.#options = options;
  }

  /** C2. */
  forget(): void {
    this.#kept = null;
    this.#configs.clear();
    this.#lateUntilMs = this.#options.clock.monotonicMs() + MIRROR_LAG_MS;
  }

  async observe(request: ObserveRequest, signal: AbortSignal): Promise<ActualState> {
    const { guests, clock, readSigns } = this.#options;
    const atMs = clock.monotonicMs();
    for (const vmid of request.configs) this.#asked.add(vmid);
    const signs = readSigns(clock.now());
    if (signs === null) return guests.observe(request, signal);
    // C2: what moved did move, but nothing that stands still can be believed yet.
    this.#noteMoved(signs);
    const kept = this.#keptLook(request, signs, atMs);
    const known = this.#knownConfigs(signs, atMs);
    const unknown = [...request.configs].filter((vmid) => !known.has(vmid));
    const configs = new Set([...unknown, ...this.#moved]);
    if (kept !== null && configs.size === 0) return this.#answer(kept, request, known);
    const actual = await guests.observe({ ...request, configs }, signal);
    this.#keep(actual, { signs, wanted: request.wanted, atMs });
    return { ...actual, guests: withConfigs(actual.guests, request.configs, known) };
  }

  #noteMoved({ configs }: HostSigns): void {
    for (const vmid of this.#asked) {
      const before = this.#counters.get(vmid);
      if (before !== undefined && configs.get(vmid) !== before) this.#moved.add(vmid);
    }
    this.#counters = configs;
  }

  #keptLook({ wanted }: ObserveRequest, { stamp }: HostSigns, atMs: number): KeptLook | null {
    const kept = this.#kept;
    if (kept === null || kept.signs.stamp !== stamp || atMs < this.#lateUntilMs) return null;
    const isSought = (vmid: Vmid): boolean => kept.actual.guests.has(vmid) || kept.wanted.has(vmid);
    if (![...wanted].every(isSought)) return null;
    return atMs - kept.atMs < BELIEVED_MS ? kept : null;
  }

  #knownConfigs({ configs }: HostSigns, atMs: number): ReadonlyMap<Vmid, ConfigLook> {
    const known = new Map<Vmid, ConfigLook>();
    if (atMs < this.#lateUntilMs) return known;
    for (const [vmid, kept] of this.#configs) {
      const isSame = configs.get(vmid) === kept.version && atMs - kept.atMs < BELIEVED_MS;
      if (isSame) known.set(vmid, kept.look);
    }
    return known;
  }

  #answer(
    { actual }: KeptLook,
    { configs }: ObserveRequest,
    known: ReadonlyMap<Vmid, ConfigLook>,
  ): ActualState {
    return {
      ...actual,
      lookedAtMs: this.#options.clock.now(),
      guests: withConfigs(actual.guests, configs, known),
      bulkTasks: [],
    };
  }

  #keep(actual: ActualState, { signs, wanted, atMs }: Omit<KeptLook, 'actual'>): void {
    for (const { vmid, config } of actual.guests.values()) {
      if (config.kind === 'known') this.#moved.delete(vmid);
    }
    // A change of our own began meanwhile: what was seen may be from before it (C2).
    if (atMs < this.#lateUntilMs) return;
    const isWhole = actual.qemu.kind === 'complete' && actual.lxc.kind === 'complete';
    const isQuiet =
      actual.tasksKnown.kind === 'complete' &&
      actual.tasks.length === 0 &&
      actual.bulkTasks.every(({ endedAtMs }) => endedAtMs !== null);
    this.#kept =
      isWhole && isQuiet ? { signs, actual: withoutConfigs(actual), wanted, atMs } : null;
    for (const { vmid, config } of actual.guests.values()) {
      const version = signs.configs.get(vmid);
      if (config.kind !== 'known' || version === undefined) continue;
      this.#configs.set(vmid, { version, look: config, atMs });
    }
    if (!isWhole) return;
    for (const known of [this.#asked, this.#moved, this.#configs]) {
      for (const vmid of known.keys()) if (!actual.guests.has(vmid)) known.delete(vmid);
    }
  }
}

function withConfigs(
  guests: ReadonlyMap<Vmid, Guest>,
  wanted: ReadonlySet<Vmid>,
  known: ReadonlyMap<Vmid, ConfigLook>,
): ReadonlyMap<Vmid, Guest> {
  const filled = new Map(guests);
  for (const vmid of wanted) {
    const guest = filled.get(vmid);
    const config = known.get(vmid);
    if (guest?.config.kind === 'not_read' && config !== undefined) {
      filled.set(vmid, { ...guest, config });
    }
  }
  return filled;
}

function withoutConfigs(actual: ActualState): ActualState {
  const guests = new Map<Vmid, Guest>();
  for (const [vmid, guest] of actual.guests) guests.set(vmid, { ...guest, config: NOT_READ });
  return { ...actual, guests };
}

const NOT_READ: ConfigLook = { kind: 'not_read' };
