/**
 * Time that a test owns. Nothing in it waits for real: a sleep ends when the test advances to it,
 * one sleeper after another, and all that follows from one is done before the next wakes. So two
 * runs of the same script are the same run.
 */
import type { Clock } from '../../src/reconcile/clock.ts';

/** Where virtual time begins. */
export const VIRTUAL_EPOCH_MS = Date.UTC(2026, 10, 20, 12);
/** Every reading of the monotonic clock differs, as it does on a real machine. */
const TICK_MS = 1e-6;

interface Sleeper {
  readonly dueMs: number;
  readonly wake: () => void;
}

export class VirtualClock implements Clock {
  #nowMs = VIRTUAL_EPOCH_MS;
  #wallShiftMs = 0;
  #readings = 0;
  /** By due time; those due together in the order they went to sleep. */
  readonly #sleepers: Sleeper[] = [];
  readonly #settle: () => Promise<void>;

  constructor(settle: () => Promise<void> = turn) {
    this.#settle = settle;
  }

  /** Whole milliseconds, as the system's. */
  now(): number {
    return Math.floor(this.#nowMs + this.#wallShiftMs);
  }

  monotonicMs(): number {
    this.#readings += 1;
    return this.#nowMs - VIRTUAL_EPOCH_MS + this.#readings * TICK_MS;
  }

  sleep(ms: number, signal: AbortSignal): Promise<void> {
    if (signal.aborted || ms <= 0) return Promise.resolve();
    const { promise, resolve } = Promise.withResolvers<void>();
    const wake = (): void => {
      signal.removeEventListener('abort', wake);
      const index = this.#sleepers.indexOf(sleeper);
      if (index !== -1) this.#sleepers.splice(index, 1);
      resolve();
    };
    const sleeper: Sleeper = { dueMs: this.#nowMs + ms, wake };
    const after = this.#sleepers.findIndex(({ dueMs }) => dueMs > sleeper.dueMs);
    this.#sleepers.splice(after === -1 ? this.#sleepers.length : after, 0, sleeper);
    signal.addEventListener('abort', wake, { once: true });
    return promise;
  }

  /** Ms since the beginning of virtual time, whatever the wall clock says. */
  get elapsedMs(): number {
    return this.#nowMs - VIRTUAL_EPOCH_MS;
  }

  get sleepers(): number {
    return this.#sleepers.length;
  }

  /** The wall clock steps; monotonic time does not. */
  stepWall(ms: number): void {
    this.#wallShiftMs += ms;
  }

  async advanceTo(elapsedMs: number): Promise<void> {
    const untilMs = VIRTUAL_EPOCH_MS + elapsedMs;
    await this.#settle();
    for (let next = this.#sleepers[0]; next && next.dueMs <= untilMs; next = this.#sleepers[0]) {
      this.#nowMs = Math.max(this.#nowMs, next.dueMs);
      next.wake();
      await this.#settle();
    }
    this.#nowMs = Math.max(this.#nowMs, untilMs);
  }

  /** Advances until the promise has settled, at most `limitMs`; fails if it does not by then. */
  async until<Result>(promise: Promise<Result>, limitMs: number): Promise<Result> {
    const endMs = this.elapsedMs + limitMs;
    const settled = new AbortController();
    const noted = promise.finally(() => settled.abort());
    noted.catch(() => undefined);
    await this.#settle();
    while (!settled.signal.aborted) {
      const next = this.#sleepers[0];
      if (next === undefined || next.dueMs - VIRTUAL_EPOCH_MS > endMs) {
        throw new Error(`not settled after ${limitMs} virtual ms`);
      }
      await this.advanceTo(next.dueMs - VIRTUAL_EPOCH_MS);
    }
    return noted;
  }
}

/** One turn of the event loop: what is ready runs, and what has come from outside is heard. */
function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/**
 * What is ready runs, and nothing from outside is heard: a tick comes when no promise is left to be
 * told, and costs less than a turn. For worlds that are wholly in memory.
 */
export function tick(): Promise<void> {
  return new Promise((resolve) => process.nextTick(resolve));
}
