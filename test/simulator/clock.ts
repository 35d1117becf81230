/**
 * The node's clock and its timers. `speed` divides every duration (tasks, HA rounds, lock waits);
 * the clock itself runs at the real rate, shifted by an offset, so that a client's arithmetic on
 * timestamps stays true at any speed. Where time comes from is a Ticker, so that a test can own it.
 */
export interface Ticker {
  /** Milliseconds since 1970, never going back. */
  nowMs(): number;
  /** Runs `wake` once after the delay; answers how to cancel that. */
  after(delayMs: number, wake: () => void): () => void;
}

export const realTicker: Ticker = {
  nowMs: () => performance.timeOrigin + performance.now(),
  after: (delayMs, wake) => {
    const timer = setTimeout(wake, delayMs);
    return () => clearTimeout(timer);
  },
};

export interface ClockOptions {
  readonly speed: number;
  /** How long the node has been up already. */
  readonly uptimeMs: number;
  readonly ticker: Ticker;
}

export class Clock {
  readonly #speed: number;
  readonly #ticker: Ticker;
  #offsetMs = 0;
  #bootMs: number;

  constructor(options: ClockOptions) {
    this.#speed = options.speed;
    this.#ticker = options.ticker;
    this.#bootMs = options.ticker.nowMs() - options.uptimeMs;
  }

  /** What the node believes, milliseconds since 1970. */
  nowMs(): number {
    return Math.floor(this.#ticker.nowMs() + this.#offsetMs);
  }

  nowS(): number {
    return Math.floor(this.nowMs() / 1000);
  }

  /** Unmoved by a wrong clock. */
  monotonicMs(): number {
    return this.#ticker.nowMs();
  }

  uptimeMs(): number {
    return this.monotonicMs() - this.#bootMs;
  }

  /** Jiffies (1/100 s) since boot, as in a UPID's pstart. */
  jiffies(): number {
    return Math.floor(this.uptimeMs() / 10);
  }

  setOffset(offsetMs: number): void {
    this.#offsetMs = offsetMs;
  }

  reboot(): void {
    this.#bootMs = this.monotonicMs();
  }

  scaled(durationMs: number): number {
    return durationMs / this.#speed;
  }

  /** Resolves after the scaled duration; rejects with the signal's reason when it is aborted. */
  sleep(durationMs: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted === true) {
        reject(reasonOf(signal));
        return;
      }
      const onAbort = (): void => {
        cancel();
        if (signal !== undefined) reject(reasonOf(signal));
      };
      const cancel = this.#ticker.after(this.scaled(durationMs), () => {
        signal?.removeEventListener('abort', onAbort);
        resolve();
      });
      signal?.addEventListener('abort', onAbort, { once: true });
    });
  }
}

function reasonOf(signal: AbortSignal): Error {
  const reason: unknown = signal.reason;
  return reason instanceof Error ? reason : new Error(String(reason));
}
