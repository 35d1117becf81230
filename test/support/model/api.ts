/** The model node as the core asks for it: `GuestApi` over the wire, with scripted faults. */

import { classifyText } from '../../../src/proxmox/errors.ts';
import { readUpid } from '../../../src/proxmox/upid.ts';
import { assertNever } from '../../../src/reconcile/errors.ts';
import type { ActualState, GuestRef, NodeLook } from '../../../src/reconcile/guest.ts';
import type { Upid } from '../../../src/reconcile/ids.ts';
import type { SetConfigParams, StopParams } from '../../../src/reconcile/op.ts';
import type {
  FoundTask,
  GuestApi,
  LookRequest,
  LookResult,
  ObserveRequest,
  Submission,
  TaskEnd,
  TaskRole,
  TaskSearch,
  TaskSearchResult,
  TaskStatus,
} from '../../../src/reconcile/ports.ts';
import { beganLater } from '../../../src/reconcile/task-order.ts';
import { type Fault, Faults, type RequestKind } from './faults.ts';
import type { ModelGuest } from './guest.ts';
import type { ModelNode } from './node.ts';
import { label } from './power.ts';
import type { ModelTask } from './tasks.ts';
import { NodeViews } from './views.ts';
import { unlessAborted, Wire } from './wire.ts';

export const AGENT_TOKEN = 'root@pam!agent';

/** A request that changes something and was sent, whatever became of it. */
export interface SentRequest {
  readonly atMs: number;
  readonly kind: RequestKind;
  readonly vmid: number;
  readonly params: object;
  /** The task it made, if it made one. */
  upid: Upid | null;
}

const ROLES: Readonly<Record<string, TaskRole>> = {
  qmstart: 'start',
  vzstart: 'start',
  hastart: 'start',
  qmstop: 'stop',
  qmshutdown: 'stop',
  vzstop: 'stop',
  vzshutdown: 'stop',
  hastop: 'stop',
  qmconfig: 'set_config',
  qmrollback: 'reverts',
  qmdestroy: 'replaces',
  qmcreate: 'replaces',
  qmrestore: 'replaces',
  vzcreate: 'replaces',
};

/** Tasks are dated in whole seconds: the real one looks so much further back. */
const SEARCH_MARGIN_MS = 5_000;
const FIRST_POLL_MS = 200;
const POLL_MS = { min: 100, max: 2_000, share: 0.25 };

export class ModelApi implements GuestApi {
  readonly node: ModelNode;
  readonly wire: Wire;
  readonly faults = new Faults();
  readonly sent: SentRequest[] = [];
  readonly views: NodeViews;
  /** Called as a request is sent. */
  onSent: (request: SentRequest) => void = () => undefined;

  constructor(node: ModelNode) {
    this.node = node;
    this.wire = new Wire(node.clock);
    this.views = new NodeViews(node, this.wire, AGENT_TOKEN);
  }

  observe(request: ObserveRequest, signal: AbortSignal): Promise<ActualState> {
    return this.views.observe(request, signal);
  }

  look(request: LookRequest, signal: AbortSignal): Promise<LookResult> {
    return this.views.look(request, signal);
  }

  lookAtNode(signal: AbortSignal): Promise<NodeLook> {
    return this.views.lookAtNode(signal);
  }

  start(ref: GuestRef, signal: AbortSignal): Promise<Submission> {
    return this.#send('start', ref, {}, signal, (guest) => {
      if (guest.kind === 'lxc' && guest.power === 'running')
        return refusal(`CT ${guest.vmid} already running`);
      return this.node.start(guest, AGENT_TOKEN);
    });
  }

  stop(ref: GuestRef, params: StopParams, signal: AbortSignal): Promise<Submission> {
    return this.#send('stop', ref, params, signal, (guest) => {
      if (guest.kind === 'lxc' && guest.power === 'stopped')
        return refusal(`CT ${guest.vmid} not running`);
      return this.node.stop(guest, params, AGENT_TOKEN);
    });
  }

  setConfig(
    ref: GuestRef,
    change: SetConfigParams & { readonly digest: string },
    signal: AbortSignal,
  ): Promise<Submission> {
    return this.#send('set_config', ref, change, signal, (guest) => this.#write(guest, change));
  }

  #write(
    guest: ModelGuest,
    change: SetConfigParams & { readonly digest: string },
  ): ModelTask | Submission {
    if (change.digest !== '' && change.digest !== guest.digest()) {
      return refusal('checksum mismatch (file change by other user?)');
    }
    if (guest.lock !== null)
      return refusal(`${label(guest).slice(0, 2)} is locked (${guest.lock})`);
    const apply = (): void => {
      for (const [key, value] of Object.entries(change.set)) guest.write(key, value);
      for (const key of change.delete) guest.write(key, null);
    };
    const { configTaskMs } = guest.behaviour;
    if (configTaskMs === null) {
      apply();
      return { kind: 'done' };
    }
    return this.node.tasks.spawn('qmconfig', guest.vmid, AGENT_TOKEN, async (signal) => {
      await this.node.clock.sleep(configTaskMs, signal);
      signal.throwIfAborted();
      apply();
      return 'OK';
    });
  }

  #send(
    kind: RequestKind,
    ref: GuestRef,
    params: object,
    signal: AbortSignal,
    effect: (guest: ModelGuest) => ModelTask | Submission,
  ): Promise<Submission> {
    signal.throwIfAborted();
    return unlessAborted(this.#exchange(kind, ref, params, effect), signal);
  }

  async #exchange(
    kind: RequestKind,
    ref: GuestRef,
    params: object,
    effect: (guest: ModelGuest) => ModelTask | Submission,
  ): Promise<Submission> {
    const { wire } = this;
    const unsent = wire.state === 'down' ? wire.problem() : null;
    if (unsent !== null) return { kind: 'refused', problem: unsent };
    const sent: SentRequest = {
      atMs: this.node.clock.elapsedMs,
      kind,
      vmid: ref.vmid,
      params,
      upid: null,
    };
    this.sent.push(sent);
    wire.count(kind);
    this.onSent(sent);
    const act = (): Submission => {
      const guest = this.node.guests.get(ref.vmid);
      if (guest === undefined)
        return refusal(`Configuration file '${ref.vmid}.conf' does not exist`);
      const result = effect(guest);
      if ('kind' in result) return result;
      sent.upid = result.upid;
      return { kind: 'task', upid: result.upid };
    };
    await wire.pass();
    const fault = this.faults.take(kind);
    const submission = fault === null ? act() : await this.#fail(fault, act, ref, kind);
    await wire.pass();
    return submission;
  }

  async #fail(
    fault: Fault,
    act: () => Submission,
    ref: GuestRef,
    kind: RequestKind,
  ): Promise<Submission> {
    switch (fault.kind) {
      case 'cut_before':
        return unsure('socket hang up');
      case 'cut_after':
        act();
        return unsure('socket hang up');
      case 'cut_twice':
        act();
        act();
        return unsure('socket hang up');
      case 'answer_596': {
        const { effectAfterMs } = fault;
        if (effectAfterMs !== null) void this.wire.wait(effectAfterMs).then(act);
        await this.wire.wait(30_000);
        return {
          kind: 'unsure',
          problem: { code: 'timeout', message: 'Connection timed out [596]' },
        };
      }
      case 'no_worker_upid':
        if (fault.hasEffect && kind === 'set_config') act();
        this.#spawnDying(ref, kind, fault.hasEffect);
        return {
          kind: 'unsure',
          problem: { code: 'task_lost', message: 'got no worker upid [500]' },
        };
      case 'refuse':
        return { kind: 'refused', problem: { code: fault.code, message: fault.message } };
      default:
        return assertNever(fault);
    }
  }

  /** The worker dies without a last word, with or without having done its work. */
  #spawnDying(ref: GuestRef, kind: RequestKind, hasEffect: boolean): void {
    const guest = this.node.guests.get(ref.vmid);
    if (guest === undefined) return;
    const type = { start: 'qmstart', stop: 'qmstop', set_config: 'qmconfig' }[kind];
    this.node.tasks.spawn(type, guest.vmid, AGENT_TOKEN, async () => {
      if (hasEffect && kind !== 'set_config') this.#take(guest, kind);
      throw new Error('the worker died');
    });
  }

  /** What the worker had done before it died. */
  #take(guest: ModelGuest, kind: 'start' | 'stop'): void {
    const isStart = kind === 'start';
    if (guest.haState !== undefined) this.node.ha.request(guest, isStart ? 'started' : 'stopped');
    else if (isStart) guest.powerOn(this.node.clock.elapsedMs);
    else guest.powerOff();
  }

  async awaitTask(upid: Upid, signal: AbortSignal): Promise<TaskEnd> {
    const sinceMs = this.node.clock.monotonicMs();
    let pauseMs = FIRST_POLL_MS;
    for (;;) {
      await this.node.clock.sleep(pauseMs, signal);
      signal.throwIfAborted();
      const status = await this.taskStatus(upid, signal);
      if (status.kind === 'ended') return status.end;
      const elapsedMs = this.node.clock.monotonicMs() - sinceMs;
      pauseMs = Math.min(POLL_MS.max, Math.max(POLL_MS.min, elapsedMs * POLL_MS.share));
    }
  }

  async taskStatus(upid: Upid, signal: AbortSignal): Promise<TaskStatus> {
    const answer = await this.wire.read('task_status', signal, () => ({
      task: this.node.tasks.all.find((task) => task.upid === upid),
    }));
    if (answer.kind === 'failure') return { kind: 'unreadable', problem: answer.problem };
    const { task } = answer.value;
    if (task === undefined) return { kind: 'ended', end: { kind: 'vanished' } };
    return task.end === null ? { kind: 'running' } : { kind: 'ended', end: readEnd(task.end) };
  }

  async findTasks(search: TaskSearch, signal: AbortSignal): Promise<TaskSearchResult> {
    const sinceMs = search.sinceMs - SEARCH_MARGIN_MS;
    const { listSinceMs } = search;
    const listed =
      listSinceMs === undefined ? null : await this.views.listedTasks(listSinceMs, sinceMs, signal);
    if (listed !== null) return { kind: 'found', tasks: select(listed, search) };
    const answer = await this.wire.read('task_search', signal, () =>
      select(this.node.tasks.all, search),
    );
    return answer.kind === 'value'
      ? { kind: 'found', tasks: answer.value }
      : { kind: 'unknown', problem: answer.problem };
  }
}

function select(
  tasks: readonly ModelTask[],
  { guest, sinceMs, newerThan }: TaskSearch,
): FoundTask[] {
  const bound = newerThan === null ? null : readUpid(newerThan);
  return tasks
    .filter((task) => task.vmid === guest.vmid)
    .filter((task) => task.startedAtMs >= sinceMs - SEARCH_MARGIN_MS)
    .filter((task) => bound === null || beganLater(readUpid(task.upid), bound))
    .map((task) => ({
      upid: task.upid,
      role: ROLES[task.type] ?? 'other',
      isOurs: task.user === AGENT_TOKEN,
      state: stateOf(task),
      startedAtMs: Math.floor(task.startedAtMs / 1_000) * 1_000,
    }));
}

function stateOf({ end }: ModelTask): FoundTask['state'] {
  if (end === null) return 'running';
  return /^(OK$|WARNINGS)/.test(end.exitStatus) ? 'succeeded' : 'failed';
}

function readEnd({ exitStatus, log }: NonNullable<ModelTask['end']>): TaskEnd {
  if (exitStatus === 'OK') return { kind: 'ok', exitStatus };
  if (exitStatus.startsWith('WARNINGS')) return { kind: 'warning', exitStatus, log };
  if (exitStatus === 'unexpected status') return { kind: 'unknown', exitStatus, log };
  const problem = { code: classifyText(exitStatus), message: exitStatus };
  return { kind: 'error', exitStatus, problem, log };
}

function refusal(message: string): Submission {
  return { kind: 'refused', problem: { code: classifyText(message), message: `${message} [500]` } };
}

function unsure(message: string): Submission {
  return { kind: 'unsure', problem: { code: 'service_unavailable', message } };
}
