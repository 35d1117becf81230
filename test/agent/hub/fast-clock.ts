/** Real time, a thousand times as fast: what is tested over real sockets waits for milliseconds. */
import type { Clock } from '../../../src/reconcile/clock.ts';

const SPEED = 1_000;

export class FastClock implements Clock {
  readonly #startMs = Date.now();
  readonly #since = performance.now();

  #wallShiftMs = 0;

  now(): number {
    return this.#startMs + this.#wallShiftMs + Math.floor(this.monotonicMs());
  }

  /** The wall clock steps; monotonic time does not. */
  stepWall(ms: number): void {
    this.#wallShiftMs += ms;
  }

  monotonicMs(): number {
    return (performance.now() - this.#since) * SPEED;
  }

  sleep(ms: number, signal: AbortSignal): Promise<void> {
    if (signal.aborted) return Promise.resolve();
    return new Promise((resolve) => {
      const end = (): void => {
        clearTimeout(timer);
        signal.removeEventListener('abort', end);
        resolve();
      };
      const timer = setTimeout(end, ms / SPEED);
      signal.addEventListener('abort', end);
    });
  }
}
