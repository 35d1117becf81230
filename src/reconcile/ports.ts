/**
 * The ports: everything the core knows of the world outside it. Each has one real make (in
 * src/proxmox, src/journal, src/agent) and one in the tests.
 */
import type { Clock, Random } from './clock.ts';
import type { DesiredState } from './desired.ts';
import type { Problem } from './errors.ts';
import type { EngineEvent } from './events.ts';
import type {
  ActualState,
  ConfigMap,
  Guest,
  GuestKind,
  GuestRef,
  NodeLook,
  RunningTask,
} from './guest.ts';
import type { OpId, Upid, Vmid } from './ids.ts';
import type { OpRecord, OpRecordDraft, Reversibility, SetConfigParams, StopParams } from './op.ts';

/** Where desired state comes from. `read` never throws: what is wrong is in the value. */
export interface DesiredProvider {
  read(signal: AbortSignal): Promise<DesiredState>;
  /** Calls back when a new read may differ; returns the way to stop. */
  onChange(listener: () => void): () => void;
  close(): Promise<void>;
}

/** What `observe` is to read beyond the lists and the running tasks. */
export interface ObserveRequest {
  /** Guests whose config is read. */
  readonly configs: ReadonlySet<Vmid>;
  /** Guests somebody wants: one that is in no list is looked for on the cluster's other nodes. */
  readonly wanted: ReadonlySet<Vmid>;
}

/** What one look under the lane is to read. Times are `Clock.monotonicMs`. */
export interface LookRequest {
  readonly guest: GuestRef;
  /** Only answers whose request began after this count; lanes share them. */
  readonly sinceMs: number;
  /** The same for the list of running tasks, which may be a little older; null: not needed. */
  readonly tasksSinceMs: number | null;
  readonly config: boolean;
  /** Also the HA state and `qmpStatus`: a request of this guest's own instead of a shared list. */
  readonly details: boolean;
}

export type LookResult =
  | { readonly kind: 'found'; readonly guest: Guest; readonly tasks: readonly RunningTask[] }
  /** Complete answers, and it is in none of them; `node` where it is now, if known. */
  | { readonly kind: 'gone'; readonly node: string | null }
  | { readonly kind: 'unknown'; readonly problem: Problem };

/** What became of a request that changes something. */
export type Submission =
  | { readonly kind: 'task'; readonly upid: Upid }
  /** Applied when it answered; there is no task. */
  | { readonly kind: 'done' }
  /** Proven without effect: PVE said no, or the request was never sent. */
  | { readonly kind: 'refused'; readonly problem: Problem }
  /** Maybe done (596, a timeout, a cut connection, `got no worker upid`): look, never repeat. */
  | { readonly kind: 'unsure'; readonly problem: Problem };

/** How a task ended; lines are PVE's own, at most the first and last 50. */
export type TaskEnd =
  | { readonly kind: 'ok'; readonly exitStatus: string }
  | { readonly kind: 'warning'; readonly exitStatus: string; readonly log: readonly string[] }
  | {
      readonly kind: 'error';
      readonly exitStatus: string;
      /** The exit status as one of our codes (`guest_locked`, `timeout`, `task_failed`, …). */
      readonly problem: Problem;
      readonly log: readonly string[];
    }
  /** `unexpected status`: the worker died without a last word. */
  | { readonly kind: 'unknown'; readonly exitStatus: string; readonly log: readonly string[] }
  /** PVE does not know the task (any more). */
  | { readonly kind: 'vanished' };

export type TaskStatus =
  | { readonly kind: 'running' }
  | { readonly kind: 'ended'; readonly end: TaskEnd }
  | { readonly kind: 'unreadable'; readonly problem: Problem };

/**
 * What a task means to recovery; PVE's type names stay in src/proxmox.
 * - `replaces`: the guest is gone, or another one under its vmid.
 * - `reverts`: it is the same guest, and what it was earlier.
 */
export type TaskRole =
  | 'start'
  | 'stop'
  | 'restart'
  | 'set_config'
  | 'replaces'
  | 'reverts'
  | 'other';

export interface FoundTask {
  readonly upid: Upid;
  readonly role: TaskRole;
  readonly isOurs: boolean;
  /** `succeeded`: `OK`, or with warnings. */
  readonly state: 'running' | 'succeeded' | 'failed';
  /** On the agent's clock. */
  readonly startedAtMs: number;
}

export interface TaskSearch {
  readonly guest: GuestRef;
  /** Agent's wall clock; the adapter adds the offset to PVE's. */
  readonly sinceMs: number;
  /** Only tasks that began after this one (task-order.ts). */
  readonly newerThan: Upid | null;
  /**
   * `Clock.monotonicMs`: the list of the node's newest tasks that lanes share tells, too, if its request
   * began after this and it goes back far enough. Absent: the guest's own tasks are asked for.
   */
  readonly listSinceMs?: number;
}

export type TaskSearchResult =
  | { readonly kind: 'found'; readonly tasks: readonly FoundTask[] }
  | { readonly kind: 'unknown'; readonly problem: Problem };

/**
 * The node, as far as the core needs it. Nothing here throws for what PVE says or fails to say:
 * that is in the values. A method rejects only with the signal's reason when aborted.
 */
export interface GuestApi {
  observe(request: ObserveRequest, signal: AbortSignal): Promise<ActualState>;
  /** Quorum and HA, one request where the token may: asked when something is about to be done. */
  lookAtNode(signal: AbortSignal): Promise<NodeLook>;
  look(request: LookRequest, signal: AbortSignal): Promise<LookResult>;
  start(guest: GuestRef, signal: AbortSignal): Promise<Submission>;
  stop(guest: GuestRef, params: StopParams, signal: AbortSignal): Promise<Submission>;
  /** `digest`: the config this change was computed from; PVE refuses it if stale. */
  setConfig(
    guest: GuestRef,
    change: SetConfigParams & { readonly digest: string },
    signal: AbortSignal,
  ): Promise<Submission>;
  /** Waits until the task has ended, however long that takes and whatever fails meanwhile. */
  awaitTask(upid: Upid, signal: AbortSignal): Promise<TaskEnd>;
  taskStatus(upid: Upid, signal: AbortSignal): Promise<TaskStatus>;
  findTasks(search: TaskSearch, signal: AbortSignal): Promise<TaskSearchResult>;
}

/** One change of a config, and the config it is made in. */
export interface ConfigWrite {
  readonly kind: GuestKind;
  readonly key: string;
  /** Null: not set. */
  readonly from: string | null;
  readonly to: string | null;
  readonly current: ConfigMap;
}

/** What config values mean to PVE. Pure and total: it never throws, whatever the text. */
export interface ValueSemantics {
  /**
   * Does `actual` (null: not set) satisfy `desired`? What desired leaves to PVE (a MAC, a size) may
   * be anything; an empty description is kept by PVE as not set.
   */
  isSatisfied(value: {
    readonly kind: GuestKind;
    readonly key: string;
    readonly desired: string;
    readonly actual: string | null;
  }): boolean;
  /** What to write: desired, with what PVE had filled in kept. */
  fillIn(value: {
    readonly kind: GuestKind;
    readonly key: string;
    readonly desired: string;
    readonly actual: string | null;
  }): string;
  /** Would PVE accept it? Null: yes, or not known to be refused. Else why not. */
  refusal(kind: GuestKind, key: string, value: string): string | null;
  /**
   * Would PVE refuse this change, and all that is written with it, whatever the privileges? Where
   * the value alone does not say. Null: no, or it is not known.
   */
  refusalOfWrite(write: ConfigWrite): string | null;
  /**
   * The class of changing `from` to `to` (null: not set). Unknown is `irreversible`. With `from`
   * undefined, what is there is not known: then the mildest class it can be.
   */
  classify(change: {
    readonly kind: GuestKind;
    readonly key: string;
    readonly from: string | null | undefined;
    readonly to: string | null;
  }): Reversibility;
  /** PVE never gives the value back (`cipassword`): compared by a salted hash, never shown. */
  isWriteOnly(kind: GuestKind, key: string): boolean;
}

export interface Pause {
  /** Wall clock ms; null: until somebody resumes. */
  readonly untilMs: number | null;
  readonly reason: string;
}

/** Why a guest is left alone by reconciling. */
export interface Hold extends Pause {
  readonly vmid: Vmid;
  /** What it took the place of: that comes back when this one is released. */
  readonly under?: Pause;
}

/** A durable fact that is not a record of an op. */
export type Note =
  | { readonly kind: 'hold'; readonly hold: Hold }
  | { readonly kind: 'resume_guest'; readonly vmid: Vmid }
  | { readonly kind: 'pause'; readonly pause: Pause }
  | { readonly kind: 'resume' }
  /** A guest with `power: initial` has had its start. */
  | { readonly kind: 'initial_done'; readonly vmid: Vmid }
  /** A task of ours that no op claims. */
  | { readonly kind: 'late_effect'; readonly vmid: Vmid; readonly upid: Upid }
  /** The guest was replaced: nothing that was remembered of it counts any more, its hold neither. */
  | { readonly kind: 'forget_guest'; readonly vmid: Vmid }
  /** Salted hash of a write-only value that was applied. */
  | {
      readonly kind: 'secret_applied';
      readonly vmid: Vmid;
      readonly key: string;
      readonly hash: string;
    }
  /** What the hub's stream has delivered is dealt with up to here. */
  | { readonly kind: 'hub_cursor'; readonly cursor: string }
  /** The hub has every receipt of records up to this seq. */
  | { readonly kind: 'receipt_acked'; readonly recordSeq: number };

/** An op as its records tell it. */
export interface OpView {
  readonly opId: OpId;
  readonly latest: OpRecord;
  /** The record that opened it: `received`, or the first `started`. */
  readonly first: OpRecord;
  /** `started` of the latest attempt; null while only received. */
  readonly started: OpRecord | null;
  /** `at` of `started` and of `latest` in ms since 1970 (the core parses no dates). */
  readonly startedAtMs: number | null;
  readonly latestAtMs: number;
}

export interface KeptKey {
  readonly opId: OpId;
  readonly payloadHmac: string;
  readonly expiresAtMs: number;
}

/**
 * The journal as the core sees it. `append` and `note` resolve when the record is on disk, in the
 * order of the calls; a failed write halts the process (J3). Reads are of what has been appended.
 */
export interface OpLedger {
  append(record: OpRecordDraft): Promise<OpRecord>;
  note(note: Note): Promise<void>;
  /** What `work` appends before it returns is one write: a killed process leaves all of it or nothing. */
  together<Result>(work: () => Result): Result;
  /** `received`, `started` and `task_running`, oldest first. */
  opsInFlight(): readonly OpView[];
  /** How many they are, without going through them. */
  inFlightCount(): number;
  /** Ops that have ended, of those that no key keeps the newest few, in the order of their ends. */
  endedOps(): readonly OpView[];
  /** An op in flight, or one whose end is still remembered. */
  findOp(opId: OpId): OpView | null;
  /** The parts of a composite op in flight, ended ones too, oldest first. */
  childrenOf(opId: OpId): readonly OpView[];
  findKey(idempKey: string): KeptKey | null;
  lastUpid(vmid: Vmid): Upid | null;
  /** When reconciling started this guest in the last 10 minutes, wall clock ms. */
  recentStarts(vmid: Vmid): readonly number[];
  /** Have we started it in the last 10 minutes, whoever asked for it? */
  wasStartedLately(vmid: Vmid): boolean;
  /**
   * When the oldest was noted (wall clock ms) of what is remembered of a guest beyond its ops: starts
   * of ours in the last 10 minutes, its one start, secrets, a hold. Null: nothing is.
   */
  rememberedSince(vmid: Vmid): number | null;
  holds(): ReadonlyMap<Vmid, Hold>;
  pause(): Pause | null;
  isInitialDone(vmid: Vmid): boolean;
  appliedSecret(vmid: Vmid, key: string): string | null;
  /** When the last record before this life of the agent was written, wall clock ms. */
  readonly lastLifeAtMs: number;
  /** Salted hash of a secret, under a key of the state dir. */
  hashSecret(text: string): string;
}

/** Where the engine says what happens, as it happens. Must not throw and must not wait. */
export interface Events {
  emit(event: EngineEvent): void;
}

export interface EnginePolicy {
  readonly mode: 'enforce' | 'observe' | 'paused';
  /** What desired state may do without a signature. */
  readonly unsigned: 'none' | 'benign' | 'disruptive';
  readonly operator: 'none' | 'benign' | 'disruptive';
  readonly irreversibleSignatures: number;
  /** Ops in flight on this node. */
  readonly maxParallel: number;
  readonly intervalMs: number;
  readonly configIntervalMs: number;
}

/** May an op that waits still run? Asked at every turn: a signer may have been removed. */
export interface Authority {
  /** Null: yes. Else why not (`gate_denied`, `signature_invalid`, …). */
  objection(op: OpView): Problem | null;
  /** Distinct keys of its signers that may still sign it. */
  signaturesLeft(op: OpView): number;
}

/** All that the core is given. */
export interface CorePorts {
  readonly clock: Clock;
  readonly random: Random;
  readonly guests: GuestApi;
  readonly ledger: OpLedger;
  readonly semantics: ValueSemantics;
  readonly desired: DesiredProvider;
  readonly authority: Authority;
  readonly events: Events;
  readonly policy: EnginePolicy;
}
