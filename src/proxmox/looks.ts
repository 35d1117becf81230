/**
 * Looking at the node: all of it (`observe`), one guest under its lane (`look`), quorum and HA
 * (`lookAtNode`). Reads only. What could not be read is said to be unknown; that a guest is gone
 * is said only where complete answers show it.
 */
import type { Clock } from '../reconcile/clock.ts';
import type { Problem } from '../reconcile/errors.ts';
import type {
  ActualState,
  Completeness,
  ConfigLook,
  Guest,
  GuestKind,
  GuestRef,
  NodeLook,
} from '../reconcile/guest.ts';
import type { Vmid } from '../reconcile/ids.ts';
import type {
  LookRequest,
  LookResult,
  ObserveRequest,
  TaskSearch,
  TaskSearchResult,
} from '../reconcile/ports.ts';
import type { Access } from './access.ts';
import { haStatus, type TaskRow } from './answers.ts';
import type { PveApi, Result } from './api.ts';
import type { GuestLists, GuestMap } from './guest-lists.ts';
import { findNode, type GuestReads } from './guest-reads.ts';
import { readNodeLook, readNodeLookFromResources } from './ha.ts';
import type { NodeClock } from './node-clock.ts';
import { readRequest } from './request.ts';
import type { TaskReader } from './tasks.ts';

const KINDS: readonly GuestKind[] = ['qemu', 'lxc'];

export interface LooksOptions {
  readonly api: PveApi;
  readonly lists: GuestLists;
  readonly reads: GuestReads;
  readonly access: Access;
  readonly tasks: TaskReader;
  readonly nodeClock: NodeClock;
  readonly clock: Clock;
}

export class Looks {
  readonly #api: PveApi;
  readonly #lists: GuestLists;
  readonly #reads: GuestReads;
  readonly #access: Access;
  readonly #tasks: TaskReader;
  readonly #nodeClock: NodeClock;
  readonly #clock: Clock;
  /** What the last complete lists held, to notice what is missing now. */
  #known: Readonly<Record<GuestKind, GuestMap>> = { qemu: new Map(), lxc: new Map() };
  #observedAtMs: number | null = null;

  constructor(options: LooksOptions) {
    this.#api = options.api;
    this.#lists = options.lists;
    this.#reads = options.reads;
    this.#access = options.access;
    this.#tasks = options.tasks;
    this.#nodeClock = options.nodeClock;
    this.#clock = options.clock;
  }

  async observe(request: ObserveRequest, signal: AbortSignal): Promise<ActualState> {
    const lookedAtMs = this.#clock.now();
    const sinceMs = this.#clock.monotonicMs();
    const [qemu, lxc, tasks] = await Promise.all([
      this.#lists.guests('qemu', sinceMs, signal),
      this.#lists.guests('lxc', sinceMs, signal),
      this.#lists.tasks(sinceMs, signal),
    ]);
    const seen = await this.#judge({ qemu, lxc }, sinceMs, signal);
    const guests = new Map<Vmid, Guest>();
    for (const result of [qemu, lxc]) {
      if (result.kind === 'failure') continue;
      for (const [vmid, guest] of result.value) guests.set(vmid, guest);
    }
    const isWhole = seen.qemu.kind === 'complete' && seen.lxc.kind === 'complete';
    const missing = [...request.wanted].filter((vmid) => !guests.has(vmid));
    this.#access.forgetGuests((vmid) => guests.has(vmid));
    const [seenTasks, sought] = await Promise.all([
      this.#readTasks(tasks, lookedAtMs, signal),
      this.#findMissing(missing, isWhole, signal),
      this.#readConfigs(request.configs, guests, signal),
    ]);
    return { lookedAtMs, guests, ...seen, ...seenTasks, ...sought };
  }

  async look(request: LookRequest, signal: AbortSignal): Promise<LookResult> {
    const { guest: ref, sinceMs, tasksSinceMs } = request;
    const [found, config, tasks] = await Promise.all([
      request.details ? this.#reads.details(ref, signal) : this.#readListed(ref, sinceMs, signal),
      request.config ? this.#reads.config(ref, signal) : NOT_READ,
      tasksSinceMs === null ? null : this.#lists.tasks(tasksSinceMs, signal),
    ]);
    if (tasks?.kind === 'failure') return { kind: 'unknown', problem: tasks.problem };
    const running = this.#tasks.toRunning(tasks?.value ?? []);
    if (found.kind === 'value' && found.value !== null) {
      return { kind: 'found', guest: { ...found.value, config }, tasks: running };
    }
    const isMissing = found.kind === 'value' || found.problem.code === 'not_found';
    if (!isMissing) return { kind: 'unknown', problem: found.problem };
    const sought = await this.#seek(ref.vmid, signal);
    if (sought.kind !== 'found') return sought;
    // It came back, or it is of the other kind now: the caller compares the kind.
    const own = request.config ? await this.#reads.config(sought.guest, signal) : NOT_READ;
    return { kind: 'found', guest: { ...sought.guest, config: own }, tasks: running };
  }

  async findTasks(search: TaskSearch, signal: AbortSignal): Promise<TaskSearchResult> {
    const { listSinceMs } = search;
    const listed = listSinceMs === undefined ? null : await this.#lists.tasks(listSinceMs, signal);
    const found =
      listed?.kind === 'value' ? await this.#tasks.findIn(listed.value, search, signal) : null;
    return found ?? this.#tasks.find(search, signal);
  }

  async lookAtNode(signal: AbortSignal): Promise<NodeLook> {
    if (await this.#access.haStatus(signal)) {
      const result = await this.#api.ask(haStatus, readRequest(HA_STATUS), signal);
      if (result.kind === 'value') return readNodeLook(result.value, this.#api.node);
    }
    const result = await this.#reads.cluster(signal);
    return result.kind === 'value'
      ? readNodeLookFromResources(result.value)
      : { quorate: null, ha: 'unknown', managed: null };
  }

  /** A list that did not come is unknown; so is one from which something is missing, unless the
   * token's privileges, read after it went missing, show that it would be there. */
  async #judge(
    listed: Readonly<Record<GuestKind, Result<GuestMap>>>,
    sinceMs: number,
    signal: AbortSignal,
  ): Promise<Readonly<Record<GuestKind, Completeness>>> {
    const isSurprising = KINDS.some((kind) => {
      const result = listed[kind];
      return result.kind === 'value' && isMissingAny(this.#known[kind], result.value);
    });
    const access = await this.#access.guests(isSurprising ? sinceMs : null, signal);
    const judge = (kind: GuestKind): Completeness => {
      const result = listed[kind];
      if (result.kind === 'failure') return { kind: 'unknown', problem: result.problem };
      if (access.kind === 'complete') this.#known = { ...this.#known, [kind]: result.value };
      return access;
    };
    return { qemu: judge('qemu'), lxc: judge('lxc') };
  }

  async #readTasks(
    listed: Result<readonly TaskRow[]>,
    lookedAtMs: number,
    signal: AbortSignal,
  ): Promise<Pick<ActualState, 'tasks' | 'tasksKnown' | 'endedTasks' | 'bulkTasks' | 'replaced'>> {
    if (listed.kind === 'failure') {
      const tasksKnown: Completeness = { kind: 'unknown', problem: listed.problem };
      return { tasks: [], tasksKnown, endedTasks: [], bulkTasks: [], replaced: new Map() };
    }
    if (listed.value.length > 0) await this.#nodeClock.offsetMs(signal);
    const sinceMs = this.#observedAtMs;
    const rows = await this.#tasks.reachBack(listed.value, sinceMs, signal);
    this.#observedAtMs = lookedAtMs;
    return {
      tasks: this.#tasks.toRunning(listed.value),
      tasksKnown: await this.#access.tasks(signal),
      endedTasks: this.#tasks.toEnded(listed.value),
      bulkTasks: this.#tasks.toBulk(rows, sinceMs),
      replaced: this.#tasks.toReplaced(rows),
    };
  }

  /** In which of both lists is it now, and if in none: would the token see it there? */
  async #seek(vmid: Vmid, signal: AbortSignal): Promise<LookResult> {
    const sinceMs = this.#clock.monotonicMs();
    const [qemu, lxc] = await Promise.all([
      this.#lists.guests('qemu', sinceMs, signal),
      this.#lists.guests('lxc', sinceMs, signal),
    ]);
    for (const result of [qemu, lxc]) {
      if (result.kind === 'failure') return { kind: 'unknown', problem: result.problem };
      const guest = result.value.get(vmid);
      if (guest !== undefined) return { kind: 'found', guest, tasks: [] };
    }
    const [access, cluster] = await Promise.all([
      this.#access.guest(vmid, signal),
      this.#reads.cluster(signal),
    ]);
    if (access.kind === 'unknown') return { kind: 'unknown', problem: access.problem };
    const node = cluster.kind === 'value' ? findNode(cluster.value, vmid) : null;
    if (node !== this.#api.node) return { kind: 'gone', node };
    const message = `the cluster has guest ${vmid} on ${node}, and no list of the node has it`;
    return { kind: 'unknown', problem: { code: 'service_unavailable', message } };
  }

  async #readListed(
    ref: GuestRef,
    sinceMs: number,
    signal: AbortSignal,
  ): Promise<Result<Guest | null>> {
    const result = await this.#lists.guests(ref.kind, sinceMs, signal);
    if (result.kind === 'failure') return result;
    return { kind: 'value', value: result.value.get(ref.vmid) ?? null, total: 1 };
  }

  /** Puts each config into its guest. */
  async #readConfigs(
    due: ReadonlySet<Vmid>,
    guests: Map<Vmid, Guest>,
    signal: AbortSignal,
  ): Promise<void> {
    const reads = [...due].map(async (vmid) => {
      const guest = guests.get(vmid);
      if (guest !== undefined) {
        guests.set(vmid, { ...guest, config: await this.#reads.config(guest, signal) });
      }
    });
    await Promise.all(reads);
  }

  /** `isWhole`: both lists came, and the token sees guests; else nothing can be said of a missing one. */
  async #findMissing(
    missing: readonly Vmid[],
    isWhole: boolean,
    signal: AbortSignal,
  ): Promise<Pick<ActualState, 'elsewhere' | 'nowhere' | 'unseen'>> {
    const elsewhere = new Map<Vmid, string>();
    const nowhere = new Set<Vmid>();
    const unseen = new Map<Vmid, Problem>();
    const found = { elsewhere, nowhere, unseen };
    if (missing.length === 0) return found;
    const cluster = await this.#reads.cluster(signal);
    const seek = async (vmid: Vmid): Promise<void> => {
      if (cluster.kind === 'failure') {
        unseen.set(vmid, cluster.problem);
        return;
      }
      const node = findNode(cluster.value, vmid);
      if (node !== null && node !== this.#api.node) elsewhere.set(vmid, node);
      if (node !== null || !isWhole) return;
      const access = await this.#access.missingGuest(vmid, signal);
      if (access.kind === 'complete') nowhere.add(vmid);
      else unseen.set(vmid, access.problem);
    };
    await Promise.all(missing.map(seek));
    this.#access.forgetGuests((vmid) => elsewhere.has(vmid));
    return found;
  }
}

const HA_STATUS = '/cluster/ha/status/current';
const NOT_READ: ConfigLook = { kind: 'not_read' };

function isMissingAny(before: GuestMap, now: GuestMap): boolean {
  for (const vmid of before.keys()) if (!now.has(vmid)) return true;
  return false;
}
