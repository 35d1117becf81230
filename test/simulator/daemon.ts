/**
 * pvedaemon: 3 workers that serve what pveproxy passes on. Busy ones make requests wait, and after
 * 30 s pveproxy gives up with 596 while the request still happens later; a daemon that is down is
 * 595 at once (PVE-FACTS 5, transcripts daemon_hangs and daemon_down).
 */
import type { Clock } from './clock.ts';

const WORKERS = 3;
const PROXY_TIMEOUT_MS = 30_000;

/** pveproxy's own answer, without a body. */
export class ProxyError extends Error {
  readonly status: number;

  constructor(status: number, reason: string) {
    super(reason);
    this.status = status;
  }
}

export class Daemon {
  readonly #clock: Clock;
  #isDown = false;
  /** Workers that hang until they are released. */
  #stuck = 0;
  #working = 0;
  #waiting: (() => void)[] = [];

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  get state(): { readonly isDown: boolean; readonly stuck: number } {
    return { isDown: this.#isDown, stuck: this.#stuck };
  }

  setDown(isDown: boolean): void {
    this.#isDown = isDown;
  }

  /** `count` of the 3 workers hang until this is called again with fewer. */
  setStuck(count: number): void {
    this.#stuck = Math.min(count, WORKERS);
    this.#wake();
  }

  /** Runs a request on a free worker. The caller may get a ProxyError while `work` runs later. */
  async serve<T>(work: () => Promise<T>): Promise<T> {
    if (this.#isDown) throw new ProxyError(595, 'Connection refused');
    const result = this.#whenFree(work);
    const cancel = new AbortController();
    const timeout = this.#clock
      .sleep(PROXY_TIMEOUT_MS, cancel.signal)
      .then(() => Promise.reject(new ProxyError(596, 'Connection timed out')));
    // Whoever loses the race is not awaited by anybody.
    timeout.catch(() => {});
    result.catch(() => {});
    try {
      return await Promise.race([result, timeout]);
    } finally {
      cancel.abort(new Error('not needed'));
    }
  }

  async #whenFree<T>(work: () => Promise<T>): Promise<T> {
    while (this.#working + this.#stuck >= WORKERS) {
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
    this.#working += 1;
    try {
      return await work();
    } finally {
      this.#working -= 1;
      this.#wake();
    }
  }

  #wake(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const resume of waiting) resume();
  }
}
