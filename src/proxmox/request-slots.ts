/**
 * At most two requests at a time, and neither kind starves the other: a free slot goes to a
 * waiting write first, but writes hold both slots only while no read waits. (A config write can
 * block for 10 s on a guest's lock, PVE-FACTS 19; without this two of them would blind us.)
 */

export type RequestKind = 'read' | 'write';

interface Waiter {
  readonly kind: RequestKind;
  readonly go: () => void;
}

export class RequestSlots {
  readonly #limit: number;
  readonly #waiting: Record<RequestKind, Waiter[]> = { read: [], write: [] };
  readonly #running: Record<RequestKind, number> = { read: 0, write: 0 };

  constructor(limit: number) {
    this.#limit = limit;
  }

  /** Runs `work` in its turn. Rejects with the signal's reason if aborted before that. */
  async run<T>(kind: RequestKind, signal: AbortSignal, work: () => Promise<T>): Promise<T> {
    await this.#enter(kind, signal);
    try {
      return await work();
    } finally {
      this.#running[kind] -= 1;
      this.#admit();
    }
  }

  #enter(kind: RequestKind, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    return new Promise((resolve, reject) => {
      const waiter: Waiter = {
        kind,
        go: () => {
          signal.removeEventListener('abort', leave);
          resolve();
        },
      };
      const leave = (): void => {
        const index = this.#waiting[kind].indexOf(waiter);
        if (index !== -1) this.#waiting[kind].splice(index, 1);
        reject(signal.reason);
      };
      signal.addEventListener('abort', leave, { once: true });
      this.#waiting[kind].push(waiter);
      this.#admit();
    });
  }

  #admit(): void {
    while (this.#running.read + this.#running.write < this.#limit) {
      const waiter = this.#next();
      if (waiter === undefined) return;
      this.#running[waiter.kind] += 1;
      waiter.go();
    }
  }

  #next(): Waiter | undefined {
    const { read, write } = this.#waiting;
    const isReadDue = write.length === 0 || (this.#running.write > 0 && read.length > 0);
    return isReadDue ? read.shift() : write.shift();
  }
}
