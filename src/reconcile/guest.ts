/**
 * Guests as PVE shows them: what a look at the node found. Values only; who looks is behind
 * `GuestApi`. *Unknown* is never *absent*: a failed read says so in the type.
 */
import { type Problem, requirePresent } from './errors.ts';
import type { Upid, Vmid } from './ids.ts';

export type GuestKind = 'qemu' | 'lxc';

export interface GuestRef {
  readonly vmid: Vmid;
  readonly kind: GuestKind;
}

/** A paused QEMU guest is `running` for PVE (PVE-FACTS 18). */
export type Power = 'running' | 'stopped';

/** A config as PVE has it on disk: every value as its text. */
export type ConfigMap = ReadonlyMap<string, string>;

export type PendingChange =
  | { readonly kind: 'set'; readonly value: string }
  | { readonly kind: 'delete' };

/** One read of a guest's config: what is in force, and what waits for the next start. */
export interface GuestConfig {
  /** SHA-1 of the whole file with its pending part (PVE-FACTS 24). */
  readonly digest: string;
  readonly current: ConfigMap;
  readonly pending: ReadonlyMap<string, PendingChange>;
  readonly readAtMs: number;
}

export type ConfigLook =
  | { readonly kind: 'not_read' }
  | { readonly kind: 'known'; readonly config: GuestConfig }
  | { readonly kind: 'unknown'; readonly problem: Problem };

/** `state: null` is a guest the manager has not taken up yet (PVE-FACTS 38). */
export type HaLook =
  | { readonly kind: 'not_read' }
  | { readonly kind: 'unmanaged' }
  | { readonly kind: 'managed'; readonly state: string | null }
  | { readonly kind: 'unknown'; readonly problem: Problem };

/** One guest as one look found it. */
export interface Guest {
  readonly vmid: Vmid;
  readonly kind: GuestKind;
  readonly name: string | null;
  readonly power: Power;
  /** PVE's `qmpstatus` (`paused`, `io-error`, …); null where the look did not read it. */
  readonly qmpStatus: string | null;
  readonly template: boolean;
  /** PVE's lock (`backup`, `migrate`, …), or null. */
  readonly lock: string | null;
  readonly tags: readonly string[];
  /** When it booted, from its uptime: good to a few seconds, and moves with the wall clock. */
  readonly bootedAtMs: number | null;
  /** Its process on the host (of a container: its init); null while stopped, or not told. */
  readonly pid: number | null;
  readonly ha: HaLook;
  readonly config: ConfigLook;
}

/** What the node look knows of HA, put beside a guest whose own look did not read it. */
export function withHa(guest: Guest, node: NodeLook | null): Guest {
  const state = node?.managed?.get(guest.vmid);
  if (state === undefined || guest.ha.kind !== 'not_read') return guest;
  return { ...guest, ha: { kind: 'managed', state } };
}

/** The config of a guest whose look was asked to read it, and did. */
export function configOf({ vmid, config }: Guest): GuestConfig {
  const read = config.kind === 'known' ? config.config : null;
  return requirePresent(read, `the config of guest ${vmid}`);
}

/** A PVE task under way on the node. */
export interface RunningTask {
  readonly upid: Upid;
  readonly type: string;
  /** Null for a task of the node itself (`startall`, …). */
  readonly vmid: Vmid | null;
  /** As PVE prints it, `user@realm` or `user@realm!token`. */
  readonly user: string;
  readonly startedAtMs: number;
  /** Started with this agent's own token. */
  readonly isOurs: boolean;
}

/** A task on a guest that is over. */
export type EndedTask = Pick<RunningTask, 'upid'> & { readonly vmid: Vmid };

/** The task that destroyed a guest, restored it or made it anew. */
export interface Replacement {
  readonly upid: Upid;
  /** On the agent's clock, in whole seconds. */
  readonly endedAtMs: number;
}

/** What a list answer is worth: an empty list without privileges is not absence (PVE-FACTS 10). */
export type Completeness =
  | { readonly kind: 'complete' }
  | { readonly kind: 'unknown'; readonly problem: Problem };

/** Quorum and HA. Null means that the token may not see it. */
export interface NodeLook {
  readonly quorate: boolean | null;
  /** Disarmed or frozen: requests would be lost though their task says OK (PVE-FACTS 36, 39). */
  readonly ha: 'armed' | 'disarmed' | 'frozen' | 'absent' | 'unknown';
  /** HA-managed guests and their HA state. */
  readonly managed: ReadonlyMap<Vmid, string | null> | null;
}

/** As a config or a list has them: PVE takes commas, semicolons and white space. */
export function splitTags(text: string): readonly string[] {
  return text.split(/[,;\s]+/).filter((tag) => tag !== '');
}

const BULK_TYPES = ['startall', 'stopall', 'migrateall', 'suspendall'] as const;

/** A task of the node that touches many guests. */
export interface BulkTask {
  readonly upid: Upid;
  readonly type: (typeof BULK_TYPES)[number];
  readonly startedAtMs: number;
  /** On the agent's clock, in whole seconds; null: it runs. */
  readonly endedAtMs: number | null;
}

export function isBulkType(type: string): type is BulkTask['type'] {
  return BULK_TYPES.some((bulk) => bulk === type);
}

/** The bulk tasks among running ones. */
export function runningBulkTasks(tasks: readonly RunningTask[]): readonly BulkTask[] {
  return tasks.flatMap(({ type, upid, startedAtMs }) =>
    isBulkType(type) ? [{ upid, type, startedAtMs, endedAtMs: null }] : [],
  );
}

/** The node as one look found it. */
export interface ActualState {
  readonly lookedAtMs: number;
  readonly guests: ReadonlyMap<Vmid, Guest>;
  readonly qemu: Completeness;
  readonly lxc: Completeness;
  /** Running tasks, also those of others as far as the token may see them. */
  readonly tasks: readonly RunningTask[];
  readonly tasksKnown: Completeness;
  /** The newest of those tasks of others that have ended, whether the look before showed it or not. */
  readonly endedTasks: readonly EndedTask[];
  /** Bulk tasks running, or begun since the look before this one; at the first look all known. */
  readonly bulkTasks: readonly BulkTask[];
  /** Guests known to be on another node of the cluster. */
  readonly elsewhere: ReadonlyMap<Vmid, string>;
  /** Wanted ones of which complete answers show that no node has them. */
  readonly nowhere: ReadonlySet<Vmid>;
  /** Wanted ones that complete lists do not have, and that may be there all the same: why. */
  readonly unseen: ReadonlyMap<Vmid, Problem>;
  /** The last time the guest under a vmid was replaced, as far as the task list reaches back. */
  readonly replaced: ReadonlyMap<Vmid, Replacement>;
}
