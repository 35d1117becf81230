/** What the agent sees of the model node: lists that lanes share, a guest's own status, configs. */
import { isConsole } from '../../../src/proxmox/tasks.ts';
import type { Problem } from '../../../src/reconcile/errors.ts';
import type {
  ActualState,
  BulkTask,
  Completeness,
  ConfigLook,
  EndedTask,
  Guest,
  GuestKind,
  GuestRef,
  NodeLook,
  Replacement,
  RunningTask,
} from '../../../src/reconcile/guest.ts';
import type { Vmid } from '../../../src/reconcile/ids.ts';
import type { LookRequest, LookResult, ObserveRequest } from '../../../src/reconcile/ports.ts';
import type { ModelNode } from './node.ts';
import { SharedList } from './shared-list.ts';
import type { ModelTask } from './tasks.ts';
import type { Answer, Wire } from './wire.ts';

type GuestMap = ReadonlyMap<Vmid, Guest>;

/** The newest that a list of PVE shows. */
const RECENT_TASKS = 50;
const NEVER = new AbortController().signal;
function lacksAudit(path: string): Problem {
  return { code: 'forbidden', message: `the token lacks VM.Audit on ${path}` };
}

export class NodeViews {
  readonly #node: ModelNode;
  readonly #wire: Wire;
  readonly #user: string;
  readonly #lists: Readonly<Record<GuestKind, SharedList<GuestMap>>>;
  readonly #tasks: SharedList<readonly ModelTask[]>;
  /** The token's privileges were taken away: lists are empty, and configs refused. */
  isBlind = false;
  /** Guests that are hidden from the token, one by one. */
  readonly hidden = new Set<Vmid>();
  #observedAtMs: number | null = null;

  constructor(node: ModelNode, wire: Wire, user: string) {
    this.#node = node;
    this.#wire = wire;
    this.#user = user;
    const list = (kind: GuestKind): SharedList<GuestMap> =>
      new SharedList(node.clock, () => wire.read(`${kind}_list`, NEVER, () => this.#list(kind)));
    this.#lists = { qemu: list('qemu'), lxc: list('lxc') };
    this.#tasks = new SharedList<readonly ModelTask[]>(node.clock, () =>
      wire.read('tasks', NEVER, () => node.tasks.all.map((task) => ({ ...task }))),
    );
  }

  #isHidden(vmid: Vmid): boolean {
    return this.isBlind || this.hidden.has(vmid);
  }

  /** Another life of the agent has looked at nothing yet. */
  beginLife(): void {
    this.#observedAtMs = null;
  }

  #list(kind: GuestKind): ReadonlyMap<Vmid, Guest> {
    const ofKind = [...this.#node.guests.values()].filter(
      (guest) => guest.kind === kind && !this.#isHidden(guest.vmid),
    );
    return new Map(ofKind.map((guest) => [guest.vmid, guest.look(false, this.#node.clock)]));
  }

  async observe(request: ObserveRequest, signal: AbortSignal): Promise<ActualState> {
    const { clock } = this.#node;
    const lookedAtMs = clock.now();
    const sinceMs = clock.monotonicMs();
    const [qemu, lxc, tasks] = await Promise.all([
      this.#lists.qemu.get(sinceMs, signal),
      this.#lists.lxc.get(sinceMs, signal),
      this.#tasks.get(sinceMs, signal),
    ]);
    const guests = new Map<Vmid, Guest>();
    for (const list of [qemu, lxc]) {
      if (list.kind === 'value') for (const [vmid, guest] of list.value) guests.set(vmid, guest);
    }
    for (const vmid of request.configs) {
      const guest = guests.get(vmid);
      if (guest === undefined) continue;
      guests.set(vmid, { ...guest, config: await this.#readConfig(guest, signal) });
    }
    const rows = tasks.kind === 'value' ? tasks.value : [];
    const bulkTasks = this.#bulk(rows, this.#observedAtMs);
    if (tasks.kind === 'value') this.#observedAtMs = lookedAtMs;
    const missing = [...request.wanted].filter((vmid) => !guests.has(vmid));
    const isWhole = qemu.kind === 'value' && lxc.kind === 'value' && !this.isBlind;
    const sought = missing.filter((vmid) => isWhole && !this.#node.elsewhere.has(vmid));
    const [unseen = [], nowhere = []] = [true, false].map((isHidden) =>
      sought.filter((vmid) => this.hidden.has(vmid) === isHidden),
    );
    return {
      lookedAtMs,
      guests,
      qemu: this.#completeness(qemu),
      lxc: this.#completeness(lxc),
      tasks: this.#running(rows),
      tasksKnown: this.#completeness(tasks),
      endedTasks: this.#ended(rows),
      bulkTasks,
      elsewhere: new Map(
        [...this.#node.elsewhere].filter(([vmid]) => request.wanted.has(vmid) && !guests.has(vmid)),
      ),
      nowhere: new Set(nowhere),
      unseen: new Map(unseen.map((vmid) => [vmid, lacksAudit(`/vms/${vmid}`)])),
      replaced: findReplaced(rows),
    };
  }

  async look(request: LookRequest, signal: AbortSignal): Promise<LookResult> {
    const { guest: ref, sinceMs, tasksSinceMs } = request;
    const [found, config, tasks] = await Promise.all([
      request.details ? this.#readDetails(ref, signal) : this.#readListed(ref, sinceMs, signal),
      request.config ? this.#readConfig(ref, signal) : null,
      tasksSinceMs === null ? null : this.#tasks.get(tasksSinceMs, signal),
    ]);
    if (tasks?.kind === 'failure') return { kind: 'unknown', problem: tasks.problem };
    if (found.kind === 'failure' && found.problem.code !== 'not_found') {
      return { kind: 'unknown', problem: found.problem };
    }
    const guest = found.kind === 'value' ? found.value.guest : undefined;
    if (guest === undefined) {
      if (this.#isHidden(ref.vmid)) {
        return { kind: 'unknown', problem: lacksAudit(`/vms/${ref.vmid}`) };
      }
      return { kind: 'gone', node: this.#node.elsewhere.get(ref.vmid) ?? null };
    }
    const seen = config === null ? guest : { ...guest, config };
    return { kind: 'found', guest: seen, tasks: this.#running(tasks?.value ?? []) };
  }

  /** From the list that lanes share, if it goes back to `sinceMs`. */
  async listedTasks(
    listSinceMs: number,
    sinceMs: number,
    signal: AbortSignal,
  ): Promise<readonly ModelTask[] | null> {
    const rows = await this.#tasks.get(listSinceMs, signal);
    if (rows.kind === 'failure') return null;
    const ends = rows.value.flatMap(({ end }) => (end === null ? [] : [end.atMs]));
    const shown = ends.sort((a, b) => b - a).slice(0, RECENT_TASKS);
    const isWhole = shown.length < RECENT_TASKS || (shown.at(-1) ?? 0) <= sinceMs;
    return isWhole ? rows.value : null;
  }

  async lookAtNode(signal: AbortSignal): Promise<NodeLook> {
    const answer = await this.#wire.read('node', signal, () => this.#describeNode());
    return answer.kind === 'value' ? answer.value : { quorate: null, ha: 'unknown', managed: null };
  }

  #describeNode(): NodeLook {
    const managed = new Map<Vmid, string | null>();
    for (const { vmid, haState } of this.#node.guests.values()) {
      if (haState !== undefined) managed.set(vmid, haState);
    }
    const isArmed = managed.size > 0 ? 'armed' : 'absent';
    const ha = this.#node.ha.isDisarmed ? 'disarmed' : isArmed;
    return { quorate: this.#node.isQuorate, ha, managed };
  }

  async #readListed(
    ref: GuestRef,
    sinceMs: number,
    signal: AbortSignal,
  ): Promise<Answer<{ guest: Guest | undefined }>> {
    const list = await this.#lists[ref.kind].get(sinceMs, signal);
    return list.kind === 'failure'
      ? list
      : { kind: 'value', value: { guest: list.value.get(ref.vmid) } };
  }

  #readDetails(ref: GuestRef, signal: AbortSignal): Promise<Answer<{ guest: Guest | undefined }>> {
    return this.#wire.read('status', signal, () => ({
      guest: this.#isHidden(ref.vmid)
        ? undefined
        : this.#node.guests.get(ref.vmid)?.look(true, this.#node.clock),
    }));
  }

  async #readConfig(ref: GuestRef, signal: AbortSignal): Promise<ConfigLook> {
    const { clock } = this.#node;
    const answer = await this.#wire.read('config', signal, () =>
      this.#isHidden(ref.vmid)
        ? null
        : (this.#node.guests.get(ref.vmid)?.read(clock.now()) ?? null),
    );
    if (answer.kind === 'failure') return { kind: 'unknown', problem: answer.problem };
    return answer.value === null
      ? { kind: 'unknown', problem: { code: 'forbidden', message: 'no config' } }
      : { kind: 'known', config: answer.value };
  }

  #completeness(answer: Answer<unknown>): Completeness {
    if (answer.kind === 'failure') return { kind: 'unknown', problem: answer.problem };
    return this.isBlind ? { kind: 'unknown', problem: lacksAudit('/vms') } : { kind: 'complete' };
  }

  #running(rows: readonly ModelTask[]): readonly RunningTask[] {
    return rows
      .filter(({ end, type }) => end === null && !isConsole(type))
      .map(({ upid, type, vmid, user, startedAtMs }) => {
        return { upid, type, vmid, user, startedAtMs, isOurs: user === this.#user };
      });
  }

  #ended(rows: readonly ModelTask[]): readonly EndedTask[] {
    return rows.slice(-RECENT_TASKS).flatMap(({ upid, type, vmid, user, end }) => {
      const isOther = user !== this.#user && !isConsole(type);
      return vmid === null || end === null || !isOther ? [] : [{ upid, vmid }];
    });
  }

  #bulk(rows: readonly ModelTask[], sinceMs: number | null): readonly BulkTask[] {
    const found: BulkTask[] = [];
    for (const { type, upid, startedAtMs, end } of rows) {
      if (
        type !== 'startall' &&
        type !== 'stopall' &&
        type !== 'suspendall' &&
        type !== 'migrateall'
      )
        continue;
      const isRecent = sinceMs === null || startedAtMs >= sinceMs;
      if (end === null || isRecent) {
        const endedAtMs = end === null ? null : Math.floor(end.atMs / 1_000) * 1_000;
        found.push({ upid, type, startedAtMs, endedAtMs });
      }
    }
    return found;
  }
}

/** Rows are in the order in which tasks began. */
function findReplaced(rows: readonly ModelTask[]): ReadonlyMap<Vmid, Replacement> {
  const replaced = new Map<Vmid, Replacement>();
  for (const { upid, type, vmid, end } of rows) {
    if (vmid === null || end?.exitStatus !== 'OK' || !/create$|restore$|destroy$/.test(type))
      continue;
    replaced.set(vmid, { upid, endedAtMs: Math.floor(end.atMs / 1_000) * 1_000 });
  }
  return replaced;
}
