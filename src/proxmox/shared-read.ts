/**
 * A read that all who need it at the same time share. An answer serves whoever asked before its
 * request began; who comes too late for the one under way waits, with all others like that, for
 * the next. So at most one request of a kind is under way, however many lanes look.
 */
import type { Clock } from '../reconcile/clock.ts';

/** Reads; calls `began` when the request goes out. */
export type Read<T> = (began: () => void) => Promise<T>;

interface Reading<T> {
  /** Null while it waits for its turn: who asks now is served as well. */
  beganMs: number | null;
  isOver: boolean;
  readonly value: Promise<T>;
}

export class SharedRead<T> {
  readonly #clock: Clock;
  readonly #read: Read<T>;
  readonly #isUsable: (value: T) => boolean;
  /** The last one that gave something usable, or the one under way. */
  #latest: Reading<T> | null = null;
  #next: Promise<Reading<T>> | null = null;

  /** `isUsable`: may an answer that is already there be given to later askers too? */
  constructor(clock: Clock, read: Read<T>, isUsable: (value: T) => boolean) {
    this.#clock = clock;
    this.#read = read;
    this.#isUsable = isUsable;
  }

  /** An answer whose request began after `sinceMs` (monotonic), or begins now. */
  async get(sinceMs: number, signal: AbortSignal): Promise<T> {
    signal.throwIfAborted();
    const latest = this.#latest;
    if (latest !== null && (latest.beganMs === null || latest.beganMs > sinceMs)) {
      return unlessAborted(latest.value, signal);
    }
    const reading = latest?.isOver === false ? await this.#after(latest, signal) : this.#begin();
    return unlessAborted(reading.value, signal);
  }

  #after(latest: Reading<T>, signal: AbortSignal): Promise<Reading<T>> {
    this.#next ??= Promise.allSettled([latest.value]).then(() => {
      this.#next = null;
      return this.#begin();
    });
    return unlessAborted(this.#next, signal);
  }

  #begin(): Reading<T> {
    const start = (): void => {
      reading.beganMs ??= this.#clock.monotonicMs();
    };
    // Lanes that ask in the same turn of the event loop are together in this.
    const value = nextTurn().then(() => this.#read(start));
    const reading: Reading<T> = { beganMs: null, isOver: false, value };
    this.#latest = reading;
    const settle = (isUsable: boolean): void => {
      start();
      reading.isOver = true;
      if (!isUsable && this.#latest === reading) this.#latest = null;
    };
    value.then(
      (result) => settle(this.#isUsable(result)),
      () => settle(false),
    );
    return reading;
  }
}

function nextTurn(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}

/** The promise, unless the signal is first; then its reason. */
export function unlessAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const onAbort = (): void => reject(signal.reason);
    if (signal.aborted) onAbort();
    signal.addEventListener('abort', onAbort, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort));
  });
}
