/** A clock that goes only where a test sends it. */
import type { Clock } from '../../src/reconcile/clock.ts';

interface Sleeper {
  readonly atMs: number;
  readonly wake: () => void;
}

export class VirtualClock implements Clock {
  #nowMs = 0;
  #wallOffsetMs: number;
  readonly #sleepers = new Set<Sleeper>();

  constructor(wallMs = 1_795_000_000_000) {
    this.#wallOffsetMs = wallMs;
  }

  now(): number {
    return this.#wallOffsetMs + this.#nowMs;
  }

  monotonicMs(): number {
    return this.#nowMs;
  }

  get sleeping(): number {
    return this.#sleepers.size;
  }

  /** Somebody sets the wall clock. */
  step(ms: number): void {
    this.#wallOffsetMs += ms;
  }

  sleep(ms: number, signal: AbortSignal): Promise<void> {
    if (signal.aborted) return Promise.resolve();
    return new Promise((resolve) => {
      const sleeper: Sleeper = {
        atMs: this.#nowMs + ms,
        wake: () => {
          this.#sleepers.delete(sleeper);
          signal.removeEventListener('abort', sleeper.wake);
          resolve();
        },
      };
      this.#sleepers.add(sleeper);
      signal.addEventListener('abort', sleeper.wake, { once: true });
    });
  }

  /** Lets time pass, waking each sleeper at its own time. */
  async advance(ms: number): Promise<void> {
    const untilMs = this.#nowMs + ms;
    await settle();
    for (;;) {
      const next = [...this.#sleepers].sort((a, b) => a.atMs - b.atMs)[0];
      if (next === undefined || next.atMs > untilMs) break;
      this.#nowMs = Math.max(this.#nowMs, next.atMs);
      next.wake();
      await settle();
    }
    this.#nowMs = untilMs;
    await settle();
  }
}

/** Lets everything that is ready run: promises, and one turn of the event loop. */
export function settle(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}
