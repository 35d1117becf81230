/**
 * Follows running tasks to their ends with as few requests as it can. One loop for all of them:
 * each task is due first when its type has usually ended, then ever less often. One alone is asked
 * for its own status; of several, one list tells which still run and which have ended well, and only
 * the others are asked. PVE makes a list in half the time of a status [task_list_filters], and the
 * guests of what ends together are looked at together.
 *
 * It gives up on nothing: while PVE does not answer it asks less often. It ends with the signal of
 * whoever waits, and the loop with the last of them.
 */
import type { Clock } from '../reconcile/clock.ts';
import type { Upid } from '../reconcile/ids.ts';
import type { TaskEnd, TaskStatus } from '../reconcile/ports.ts';
import { unlessAborted } from './shared-read.ts';
import { readUpid } from './upid.ts';

export interface TaskSource {
  status(upid: Upid, signal: AbortSignal): Promise<TaskStatus>;
  /** By one list: tasks that run and that have ended well; null: could not be read. */
  listed(signal: AbortSignal): Promise<ReadonlyMap<Upid, TaskStatus> | null>;
}

const POLL_MIN_MS = 50;
const POLL_MAX_MS = 2_000;
/** A task that has run for a while is asked for after a quarter of that again. */
const POLL_SHARE = 0.25;
/** The list is what a daemon of PVE last wrote down; one that was killed has not seen the end. */
const LIST_TRUSTED_MS = 30_000;
/** Tasks due this soon are asked for in the same tick. */
const TICK_MS = 25;
const FAILURE_PAUSE_MS = { first: 500, most: 10_000 };

/** A start on an idle node takes 200 ms (PVE-FACTS 6). */
const FIRST_POLL_MS = 200;
const FIRST_POLL_MIN_MS = 50;
/** A shutdown takes what the guest takes: what it took last time must not delay its end now. */
const FIRST_POLL_MAX_MS = 1_000;

const NO_LIST: ReadonlyMap<Upid, TaskStatus> = new Map();

interface Followed {
  readonly upid: Upid;
  readonly type: string;
  readonly sinceMs: number;
  readonly end: PromiseWithResolvers<TaskEnd>;
  followers: number;
  dueMs: number;
  seenRunningMs: number | null;
  /** When its own status was asked for last. */
  askedMs: number;
  failures: number;
}

export class TaskWatcher {
  readonly #source: TaskSource;
  readonly #clock: Clock;
  readonly #closed = new AbortController();
  readonly #followed = new Map<Upid, Followed>();
  readonly #usualMs = new Map<string, number>();
  #wake = new AbortController();
  #isRunning = false;

  constructor(source: TaskSource, clock: Clock) {
    this.#source = source;
    this.#clock = clock;
  }

  /** Rejects only with the signal's reason. */
  async follow(upid: Upid, signal: AbortSignal): Promise<TaskEnd> {
    signal.throwIfAborted();
    const followed = this.#followed.get(upid) ?? this.#add(upid);
    followed.followers += 1;
    try {
      return await unlessAborted(followed.end.promise, signal);
    } finally {
      followed.followers -= 1;
      if (followed.followers === 0) this.#followed.delete(upid);
      this.#wake.abort();
    }
  }

  close(): void {
    this.#closed.abort();
    this.#wake.abort();
  }

  #add(upid: Upid): Followed {
    const { type } = readUpid(upid);
    const nowMs = this.#clock.monotonicMs();
    const followed: Followed = {
      upid,
      type,
      sinceMs: nowMs,
      end: Promise.withResolvers<TaskEnd>(),
      followers: 0,
      dueMs: nowMs + (this.#usualMs.get(type) ?? FIRST_POLL_MS),
      seenRunningMs: null,
      askedMs: nowMs,
      failures: 0,
    };
    this.#followed.set(upid, followed);
    this.#wake.abort();
    if (!this.#isRunning) void this.#run();
    return followed;
  }

  async #run(): Promise<void> {
    this.#isRunning = true;
    while (this.#followed.size > 0 && !this.#closed.signal.aborted) {
      this.#wake = new AbortController();
      const nowMs = this.#clock.monotonicMs();
      const due = [...this.#followed.values()].filter((task) => task.dueMs <= nowMs + TICK_MS);
      if (due.length > 0) {
        await this.#poll(due);
      } else {
        const nextMs = Math.min(...[...this.#followed.values()].map((task) => task.dueMs));
        await this.#clock.sleep(nextMs - nowMs, this.#wake.signal);
      }
    }
    this.#isRunning = false;
  }

  async #poll(due: readonly Followed[]): Promise<void> {
    const nowMs = this.#clock.monotonicMs();
    const isAlone = this.#followed.size === 1;
    const listed = isAlone ? NO_LIST : await this.#list();
    if (listed === null) return this.#goOnWithoutList(due);
    const dueNow = new Set(due);
    const asked: Promise<void>[] = [];
    // Of those that are not due yet the list tells for nothing.
    for (const task of this.#followed.values()) {
      const status = listed.get(task.upid);
      const isDue = dueNow.has(task);
      const isTrusted = status !== undefined && nowMs - task.askedMs < LIST_TRUSTED_MS;
      if (status?.kind === 'ended') this.#finish(task, status.end);
      else if (isDue && !isTrusted) asked.push(this.#ask(task));
      else if (isDue || (isTrusted && task.seenRunningMs !== null)) this.#keep(task);
    }
    await Promise.all(asked);
  }

  /** The list may be all that fails: who has waited for it in vain once asks for itself. */
  async #goOnWithoutList(due: readonly Followed[]): Promise<void> {
    const [first, again] = [
      due.filter(isFirstFailure),
      due.filter((task) => !isFirstFailure(task)),
    ];
    for (const task of first) this.#postpone(task);
    await Promise.all(again.map((task) => this.#ask(task)));
  }

  #list(): Promise<ReadonlyMap<Upid, TaskStatus> | null> {
    return this.#source.listed(this.#closed.signal).catch(() => null);
  }

  async #ask(task: Followed): Promise<void> {
    task.askedMs = this.#clock.monotonicMs();
    const status = await this.#source.status(task.upid, this.#closed.signal).catch(() => null);
    if (status === null || status.kind === 'unreadable') return this.#postpone(task);
    if (status.kind === 'running') return this.#keep(task);
    this.#finish(task, status.end);
  }

  #finish(task: Followed, end: TaskEnd): void {
    this.#learn(task);
    this.#followed.delete(task.upid);
    task.end.resolve(end);
  }

  #keep(task: Followed): void {
    const nowMs = this.#clock.monotonicMs();
    const pauseMs = (nowMs - task.sinceMs) * POLL_SHARE;
    task.seenRunningMs = nowMs;
    task.failures = 0;
    task.dueMs = nowMs + Math.min(POLL_MAX_MS, Math.max(POLL_MIN_MS, pauseMs));
  }

  #postpone(task: Followed): void {
    const { first, most } = FAILURE_PAUSE_MS;
    task.dueMs = this.#clock.monotonicMs() + Math.min(most, first * 2 ** task.failures);
    task.failures = Math.min(task.failures + 1, 10);
  }

  /**
   * Moves towards the time within which nine of ten tasks of the type have ended: up, to what was
   * seen, when the first poll came too early; a little down each time that it did not.
   */
  #learn(task: Followed): void {
    const usualMs = this.#usualMs.get(task.type) ?? FIRST_POLL_MS;
    const nowMs = this.#clock.monotonicMs();
    // It ended some time between the last poll that saw it run and now.
    const tookMs = ((task.seenRunningMs ?? nowMs) + nowMs) / 2 - task.sinceMs;
    const learnedMs =
      task.seenRunningMs === null ? usualMs * 0.995 : usualMs + (tookMs - usualMs) * 0.5;
    this.#usualMs.set(
      task.type,
      Math.min(FIRST_POLL_MAX_MS, Math.max(FIRST_POLL_MIN_MS, learnedMs)),
    );
  }
}

function isFirstFailure({ failures }: Followed): boolean {
  return failures === 0;
}
