/**
 * Worker tasks: what runs, what ended how, and the archive with its rotation (PVE-FACTS 15–17).
 * A task's work is an async function; what it throws as TaskError is its exit status.
 *
 * Invariant: a task that has ended never changes again.
 */
import type { Clock } from './clock.ts';
import { fullName, type Principal } from './principal.ts';
import { formatUpid } from './upid.ts';

/** The index file is rotated at about this many entries; one old file is kept. */
const ARCHIVE_ENTRIES = 1000;
/** `got no worker upid` leaves tasks of this status; so does a killed worker. */
const KILLED = 'unexpected status';

export class TaskError extends Error {
  override readonly name = 'TaskError';
}

export interface Task {
  readonly upid: string;
  readonly node: string;
  readonly pid: number;
  readonly pstart: number;
  readonly starttime: number;
  readonly type: string;
  readonly id: string;
  readonly owner: Principal;
  readonly log: string[];
  readonly signal: AbortSignal;
  end: { readonly time: number; readonly status: string } | null;
  /** Settles with the exit status. */
  readonly done: Promise<string>;
}

export type TaskWork = (task: Task) => Promise<void>;

export class Tasks {
  readonly #clock: Clock;
  readonly #node: string;
  readonly #onChange: () => void;
  readonly #byUpid = new Map<string, Task>();
  readonly #controllers = new Map<string, AbortController>();
  readonly #disowned = new Set<string>();
  /** Oldest first. */
  #archive: Task[] = [];
  #previousArchive: Task[] = [];
  #nextPid = 18_000;
  #changes = 0;

  constructor(node: string, clock: Clock, onChange: () => void) {
    this.#node = node;
    this.#clock = clock;
    this.#onChange = onChange;
  }

  /** Counts starts and ends, as kvstore.NODE.tasklist does (PVE-FACTS 30). */
  get changes(): number {
    return this.#changes;
  }

  /** Pids are shared with the guests' own processes. */
  takePid(): number {
    this.#nextPid += 1 + (this.#nextPid % 3);
    return this.#nextPid;
  }

  find(upid: string): Task | null {
    return this.#byUpid.get(upid) ?? null;
  }

  running(): Task[] {
    return [...this.#controllers.keys()]
      .map((upid) => this.#byUpid.get(upid))
      .filter((task) => task !== undefined)
      .reverse();
  }

  /** Ended tasks, newest first. */
  archive(): Task[] {
    return [...this.#previousArchive, ...this.#archive].reverse();
  }

  start(type: string, id: string, owner: Principal, work: TaskWork): Task {
    const pid = this.takePid();
    const pstart = this.#clock.jiffies();
    const starttime = this.#clock.nowS();
    const upid = formatUpid({
      node: this.#node,
      pid,
      pstart,
      starttime,
      type,
      id,
      user: fullName(owner),
    });
    const controller = new AbortController();
    const settled = Promise.withResolvers<string>();
    const task: Task = {
      upid,
      node: this.#node,
      pid,
      pstart,
      starttime,
      type,
      id,
      owner,
      log: [],
      signal: controller.signal,
      end: null,
      done: settled.promise,
    };
    this.#byUpid.set(upid, task);
    this.#controllers.set(upid, controller);
    this.#changes += 1;
    this.#onChange();
    void this.#run(task, work).then(settled.resolve);
    return task;
  }

  async #run(task: Task, work: TaskWork): Promise<string> {
    let status: string;
    try {
      await work(task);
      const warnings = task.log.filter((line) => line.startsWith('WARN: ')).length;
      status = warnings === 0 ? 'OK' : `WARNINGS: ${warnings}`;
    } catch (error) {
      if (!(error instanceof TaskError)) throw error;
      status = error.message;
    }
    if (this.#disowned.delete(task.upid)) status = KILLED;
    if (status === KILLED) return this.#settle(task, status);
    const isGood = status === 'OK' || status.startsWith('WARNINGS: ');
    task.log.push(isGood ? `TASK ${status}` : `TASK ERROR: ${status}`);
    return this.#settle(task, status);
  }

  #settle(task: Task, status: string): string {
    task.end = { time: this.#clock.nowS(), status };
    this.#controllers.delete(task.upid);
    this.#changes += 1;
    this.#onChange();
    if (this.#byUpid.get(task.upid) !== task) return status;
    this.#archive.push(task);
    if (this.#archive.length >= ARCHIVE_ENTRIES) {
      for (const old of this.#previousArchive) this.#byUpid.delete(old.upid);
      this.#previousArchive = this.#archive;
      this.#archive = [];
    }
    return status;
  }

  /** DELETE of a task: the work sees its signal and ends with `received interrupt`. */
  interrupt(upid: string): void {
    this.#controllers.get(upid)?.abort(new TaskError('received interrupt'));
  }

  /** The worker is killed: no log line, and the status says so. */
  kill(upid: string): void {
    this.#controllers.get(upid)?.abort(new TaskError(KILLED));
  }

  /**
   * Its work is done to the end, but nobody learns how: the status will be that of a killed one.
   */
  disown(upid: string): void {
    if (this.#controllers.has(upid)) this.#disowned.add(upid);
  }

  killAll(): void {
    for (const upid of this.#controllers.keys()) this.kill(upid);
  }

  /** The index and the logs are gone; running work is killed. */
  forget(): void {
    this.killAll();
    this.#byUpid.clear();
    this.#archive = [];
    this.#previousArchive = [];
  }
}
