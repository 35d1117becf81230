/** The model node's tasks: a worker each, a list of those that ran, an archive that rotates. */
import { formatUpid } from '../../../src/proxmox/upid.ts';
import type { Upid, Vmid } from '../../../src/reconcile/ids.ts';
import type { VirtualClock } from '../virtual-clock.ts';

export interface ModelTask {
  readonly upid: Upid;
  readonly type: string;
  readonly vmid: Vmid | null;
  readonly user: string;
  readonly startedAtMs: number;
  end: {
    readonly exitStatus: string;
    readonly log: readonly string[];
    readonly atMs: number;
  } | null;
}

/** How a worker ends: its exit status; anything thrown is its death without a last word. */
export type Work = (signal: AbortSignal) => Promise<string>;

export class ModelTasks {
  readonly #clock: VirtualClock;
  readonly #node: string;
  #boot = new AbortController();
  #workers = 0;
  #tasks: ModelTask[] = [];

  constructor(clock: VirtualClock, node: string) {
    this.#clock = clock;
    this.#node = node;
  }

  get all(): readonly ModelTask[] {
    return this.#tasks;
  }

  /** Aborted when the node goes down: what its workers were at is left as it is. */
  get signal(): AbortSignal {
    return this.#boot.signal;
  }

  spawn(type: string, vmid: Vmid | null, user: string, work: Work): ModelTask {
    const task = this.#make(type, vmid, user);
    const { signal } = this.#boot;
    const run = async (): Promise<void> => {
      const exitStatus = await work(signal).catch(() => 'unexpected status');
      if (task.end === null) this.end(task, exitStatus);
    };
    void run();
    return task;
  }

  end(task: ModelTask, exitStatus: string): void {
    task.end = { exitStatus, log: logOf(exitStatus), atMs: this.#clock.now() };
  }

  /** Running workers die; a recycled pid must not be taken for one of them. */
  reboot(): void {
    for (const task of this.#tasks) if (task.end === null) this.end(task, 'unexpected status');
    this.#boot.abort(new Error('the node has gone down'));
    this.#boot = new AbortController();
  }

  /** The archive forgets what has ended. */
  rotate(): void {
    this.#tasks = this.#tasks.filter(({ end }) => end === null);
  }

  #make(type: string, vmid: Vmid | null, user: string): ModelTask {
    this.#workers += 1;
    const nowMs = this.#clock.now();
    const upid = formatUpid({
      node: this.#node,
      pid: 4_000 + this.#workers,
      pstart: Math.floor(this.#clock.elapsedMs / 10) + 100_000_000 + this.#workers,
      startedS: Math.floor(nowMs / 1_000),
      type,
      id: vmid === null ? '' : `${vmid}`,
      user,
    });
    if (upid === null) throw new Error(`no UPID for ${type} ${vmid}`);
    const task = { upid, type, vmid, user, startedAtMs: nowMs, end: null };
    this.#tasks.push(task);
    return task;
  }
}

function logOf(exitStatus: string): string[] {
  if (exitStatus === 'OK') return ['TASK OK'];
  if (exitStatus.startsWith('WARNINGS')) return ['WARN: no such bridge', `TASK ${exitStatus}`];
  return [`TASK ERROR: ${exitStatus}`];
}
