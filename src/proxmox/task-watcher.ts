/**
 * Follows running tasks to their ends with as few requests as it can. One loop for all of them:
 * each task is due first when its type has usually ended, then ever less often. Those that have
 * probably ended, and up to two others, are asked for their own status; with more, one list of
 * running tasks tells which of them are still at it, and only the others are asked.
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
  running(signal: AbortSignal): Promise<ReadonlySet<Upid> | null>;
}

const POLL_MIN_MS = 50;
const POLL_MAX_MS = 2_000;
/** A task that has run for a while is asked for after a quarter of that again. */
const POLL_SHARE = 0.25;
const ASKED_SINGLY = 2;
/** Tasks due this soon are asked for in the same tick. */
const TICK_MS = 25;
const FAILURE_PAUSE_MS = { first: 500, most: 10_000 };

/** A start on an idle node takes 200 ms (PVE-FACTS 6). */
const FIRST_POLL_MS = 200;
const FIRST_POLL_MIN_MS = 50;
/** A shutdown takes what the guest takes: what it took last time must not delay its end now. */
const FIRST_POLL_MAX_MS = 1_000;

interface Followed {
  readonly upid: Upid;
  readonly type: string;
  readonly sinceMs: number;
  readonly end: PromiseWithResolvers<TaskEnd>;
  followers: number;
  dueMs: number;
  seenRunningMs: number | null;
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
    const doubtful = due.filter((task) => !this.#isProbablyOver(task));
    let toAsk = due;
    if (doubtful.length > ASKED_SINGLY) {
      const running = await this.#source.running(this.#closed.signal).catch(() => null);
      if (running === null) return due.forEach((task) => this.#postpone(task));
      toAsk = due.filter((task) => !running.has(task.upid));
      for (const task of due) if (running.has(task.upid)) this.#keep(task);
    }
    await Promise.all(toAsk.map((task) => this.#ask(task)));
  }

  /** It has taken what its like usually take: a list first would be one request more. */
  #isProbablyOver({ type, seenRunningMs }: Followed): boolean {
    return seenRunningMs === null && this.#usualMs.has(type);
  }

  async #ask(task: Followed): Promise<void> {
    const status = await this.#source.status(task.upid, this.#closed.signal).catch(() => null);
    if (status === null || status.kind === 'unreadable') return this.#postpone(task);
    if (status.kind === 'running') return this.#keep(task);
    this.#learn(task);
    this.#followed.delete(task.upid);
    task.end.resolve(status.end);
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
