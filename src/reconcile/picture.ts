/**
 * The engine's picture of the node: the last look, kept up with what is seen when ops end, and
 * the configs read so far. It decides which configs are due; it never decides what is done: that
 * takes a look under the lane.
 */
import type { DesiredState } from './desired.ts';
import {
  type ActualState,
  type Completeness,
  type Guest,
  type GuestConfig,
  type Power,
  splitTags,
} from './guest.ts';
import type { Upid, Vmid } from './ids.ts';

interface KeptConfig {
  readonly config: GuestConfig;
  /** `Clock.monotonicMs` of the pass or look that read it. */
  readonly readMs: number;
  /** What the list showed with it: a change hints that the config changed. */
  readonly hint: string;
  /** Starting or stopping a guest applies what is pending. */
  readonly power: Power;
}

const NOT_LOOKED: Completeness = {
  kind: 'unknown',
  problem: { code: 'service_unavailable', message: 'the node has not been looked at yet' },
};

/** Before the first look; the one value for it, so that it can be told by identity. */
const NOTHING_SEEN: ActualState = {
  lookedAtMs: 0,
  guests: new Map(),
  qemu: NOT_LOOKED,
  lxc: NOT_LOOKED,
  tasks: [],
  tasksKnown: NOT_LOOKED,
  endedTasks: [],
  bulkTasks: [],
  elsewhere: new Map(),
  nowhere: new Set(),
  unseen: new Map(),
  replaced: new Map(),
};

export interface Picture {
  /** The last look with the kept configs filled in; before the first everything is unknown. */
  readonly actual: ActualState;
  /** Takes a new look in. */
  update(actual: ActualState, nowMs: number): void;
  /** Takes one guest as it was seen at the end of an op; null: it is gone. */
  remember(vmid: Vmid, guest: Guest | null, nowMs: number): void;
  /** Guests whose config is to be read in the pass that begins now. */
  configsDue(desired: DesiredState, due: DueRule): Set<Vmid>;
  /** Managed guests whose config the last look did not bring and the kept one no longer tells. */
  unread(desired: DesiredState): Guest[];
}

export interface DueRule {
  readonly nowMs: number;
  readonly intervalMs: number;
  readonly configIntervalMs: number;
  /** Read every managed config (`plan`, `apply`, `--once`, a full look). */
  readonly isFull: boolean;
}

export function createPicture(): Picture {
  const configs = new Map<Vmid, KeptConfig>();
  /** When guests that were seen by themselves were; a look begun before that is older. */
  const seenMs = new Map<Vmid, number>();
  let actual = NOTHING_SEEN;
  /** Tasks that were over at the last look that showed any. */
  let ended: ReadonlySet<Upid> = new Set();

  function withConfig(guest: Guest, nowMs: number): Guest {
    const hint = hintOf(guest);
    const { vmid, power } = guest;
    const isNewer = nowMs >= (configs.get(vmid)?.readMs ?? nowMs);
    if (guest.config.kind === 'known' && isNewer) {
      configs.set(vmid, { config: guest.config.config, readMs: nowMs, hint, power });
      return guest;
    }
    const kept = configs.get(vmid);
    if (guest.config.kind === 'unknown' || kept === undefined) return guest;
    const isApplied = kept.power !== power && kept.config.pending.size > 0;
    if (kept.hint !== hint || isApplied) {
      configs.delete(vmid);
      return guest;
    }
    return { ...guest, config: { kind: 'known', config: kept.config } };
  }

  return {
    get actual() {
      return actual;
    },
    update(look, nowMs) {
      const guests = new Map<Vmid, Guest>();
      for (const vmid of touchedGuests(look, ended)) configs.delete(vmid);
      if (look.endedTasks.length > 0) ended = new Set(look.endedTasks.map(({ upid }) => upid));
      for (const [vmid, ms] of seenMs) if (ms <= nowMs) seenMs.delete(vmid);
      for (const [vmid, guest] of look.guests) {
        if (!seenMs.has(vmid)) guests.set(vmid, withConfig(guest, nowMs));
      }
      for (const vmid of seenMs.keys()) {
        const seen = actual.guests.get(vmid);
        if (seen !== undefined) guests.set(vmid, seen);
      }
      // A guest that is missing from a list that did not come may still be there.
      const isWhole = look.qemu.kind === 'complete' && look.lxc.kind === 'complete';
      for (const vmid of configs.keys()) if (isWhole && !guests.has(vmid)) configs.delete(vmid);
      actual = { ...look, guests };
    },
    remember(vmid, guest, nowMs) {
      if (actual === NOTHING_SEEN || nowMs < (seenMs.get(vmid) ?? nowMs)) return;
      seenMs.set(vmid, nowMs);
      const guests = new Map(actual.guests);
      if (guest === null) guests.delete(vmid);
      else guests.set(vmid, withConfig(guest, nowMs));
      actual = { ...actual, guests };
    },
    configsDue: (desired, due) => configsDue(desired, due, configs),
    unread(desired) {
      return [...actual.guests.values()].filter(({ vmid, config }) => {
        return config.kind === 'not_read' && (desired.guests.get(vmid)?.config.size ?? 0) > 0;
      });
    },
  };
}

/** Whose config is not in the look, and may be another one: somebody's task on them has ended. */
function touchedGuests({ endedTasks, guests }: ActualState, before: ReadonlySet<Upid>): Vmid[] {
  return endedTasks
    .filter(({ upid, vmid }) => !before.has(upid) && guests.get(vmid)?.config.kind !== 'known')
    .map(({ vmid }) => vmid);
}

/**
 * What a list answer shows of a config. Where the config itself is there it is asked: the row beside
 * it may be from before our own write.
 */
function hintOf(guest: Guest): string {
  const { name, tags, lock, template, kind, config } = guest;
  if (config.kind !== 'known') return JSON.stringify([name, tags.toSorted(), lock, template]);
  const { current } = config.config;
  const written = current.get(kind === 'qemu' ? 'name' : 'hostname') ?? name;
  const writtenTags = splitTags(current.get('tags') ?? '');
  return JSON.stringify([written, writtenTags.toSorted(), lock, template]);
}

function configsDue(
  desired: DesiredState,
  due: DueRule,
  configs: ReadonlyMap<Vmid, KeptConfig>,
): Set<Vmid> {
  const managed = [...desired.guests.values()].filter(({ config }) => config.size > 0);
  const chosen = new Set<Vmid>();
  const ages: { vmid: Vmid; readMs: number }[] = [];
  for (const { vmid } of managed) {
    const kept = configs.get(vmid);
    if (due.isFull || kept === undefined) chosen.add(vmid);
    else ages.push({ vmid, readMs: kept.readMs });
  }
  for (const vmid of oldestInTurn(ages, managed.length, due)) chosen.add(vmid);
  return chosen;
}

/**
 * In turn, a share a pass, so that none grows older than the interval: begun early enough that
 * also the last of those that were read together is in time.
 */
function oldestInTurn(
  ages: { readonly vmid: Vmid; readonly readMs: number }[],
  managed: number,
  { nowMs, intervalMs, configIntervalMs }: DueRule,
): Vmid[] {
  const share = Math.ceil((managed * intervalMs) / configIntervalMs);
  ages.sort((a, b) => a.readMs - b.readMs);
  const isTime = ages.some(({ readMs }, index) => {
    const waitMs = Math.floor(index / share) * intervalMs;
    return nowMs - readMs + waitMs > configIntervalMs - intervalMs;
  });
  return isTime ? ages.slice(0, share).map(({ vmid }) => vmid) : [];
}
