/**
 * The node's clock and its timers. `speed` divides every duration (tasks, HA rounds, lock waits); the
 * clock itself runs at the real rate, shifted by `offsetMs`, so that a client's arithmetic on
 * timestamps stays true at any speed.
 */
export class Clock {
  readonly #speed: number;
  #offsetMs = 0;
  #bootMs: number;

  constructor(options: { readonly speed: number; readonly uptimeMs: number }) {
    this.#speed = options.speed;
    this.#bootMs = Date.now() - options.uptimeMs;
  }

  /** Milliseconds since 1970 on the node's clock, which may be wrong by `offsetMs`. */
  nowMs(): number {
    return Date.now() + this.#offsetMs;
  }

  nowS(): number {
    return Math.floor(this.nowMs() / 1000);
  }

  /** A monotonic time in real milliseconds, for uptimes. */
  uptimeMs(): number {
    return Date.now() - this.#bootMs;
  }

  /** Jiffies (1/100 s) since boot, as in a UPID's pstart. */
  jiffies(): number {
    return Math.floor(this.uptimeMs() / 10);
  }

  setOffset(offsetMs: number): void {
    this.#offsetMs = offsetMs;
  }

  reboot(): void {
    this.#bootMs = Date.now();
  }

  scaled(durationMs: number): number {
    return durationMs / this.#speed;
  }

  /** Resolves after the scaled duration; rejects with the signal's reason when it is aborted. */
  sleep(durationMs: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted === true) {
        reject(signal.reason as Error);
        return;
      }
      const onAbort = (): void => {
        clearTimeout(timer);
        reject(signal?.reason as Error);
      };
      const timer = setTimeout(() => {
        signal?.removeEventListener('abort', onAbort);
        resolve();
      }, this.scaled(durationMs));
      signal?.addEventListener('abort', onAbort, { once: true });
    });
  }
}
