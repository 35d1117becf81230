/**
 * A read that all who need it at the same time share. An answer serves whoever asked before its
 * request began; who comes too late for the one under way waits, with all others like that, for
 * the next. So at most one request of a kind is under way, however many lanes look.
 */
import type { Clock } from '../reconcile/clock.ts';

interface Reading<T> {
  readonly beganMs: number;
  readonly value: Promise<T>;
}

export class SharedRead<T> {
  readonly #clock: Clock;
  readonly #read: () => Promise<T>;
  readonly #isUsable: (value: T) => boolean;
  /** The last one that gave something usable, or the one under way. */
  #latest: Reading<T> | null = null;
  #next: Promise<Reading<T>> | null = null;
  #isReading = false;

  /** `isUsable`: may an answer that is already there be given to later askers too? */
  constructor(clock: Clock, read: () => Promise<T>, isUsable: (value: T) => boolean) {
    this.#clock = clock;
    this.#read = read;
    this.#isUsable = isUsable;
  }

  /** An answer whose request began after `sinceMs` (monotonic), or begins now. */
  async get(sinceMs: number, signal: AbortSignal): Promise<T> {
    signal.throwIfAborted();
    const latest = this.#latest;
    if (latest !== null && latest.beganMs > sinceMs) return unlessAborted(latest.value, signal);
    const begun = this.#isReading ? this.#afterThis() : Promise.resolve(this.#begin());
    return unlessAborted(
      begun.then((reading) => reading.value),
      signal,
    );
  }

  #afterThis(): Promise<Reading<T>> {
    const current = this.#latest?.value;
    this.#next ??= Promise.allSettled([current]).then(() => {
      this.#next = null;
      return this.#begin();
    });
    return this.#next;
  }

  #begin(): Reading<T> {
    const value = this.#read();
    const reading = { beganMs: this.#clock.monotonicMs(), value };
    this.#latest = reading;
    this.#isReading = true;
    const settle = (isUsable: boolean): void => {
      this.#isReading = false;
      if (!isUsable && this.#latest === reading) this.#latest = null;
    };
    value.then(
      (result) => settle(this.#isUsable(result)),
      () => settle(false),
    );
    return reading;
  }
}

/** The promise, unless the signal is first; then its reason. */
export function unlessAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const onAbort = (): void => reject(signal.reason);
    signal.addEventListener('abort', onAbort, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort));
  });
}
