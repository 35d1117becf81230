/**
 * A list that all who look at the same time share: an answer serves whoever asked before its
 * request arrived (the real one is src/proxmox/shared-read.ts, which waits a turn of the event
 * loop; here time stands still meanwhile).
 */
import type { VirtualClock } from '../virtual-clock.ts';
import { type Answer, unlessAborted } from './wire.ts';

interface Reading<Value> {
  readonly beganMs: number;
  readonly answer: Promise<Answer<Value>>;
  isOver: boolean;
}

export class SharedList<Value> {
  readonly #clock: VirtualClock;
  readonly #read: () => Promise<Answer<Value>>;
  #latest: Reading<Value> | null = null;
  #next: Promise<Reading<Value>> | null = null;

  constructor(clock: VirtualClock, read: () => Promise<Answer<Value>>) {
    this.#clock = clock;
    this.#read = read;
  }

  async get(sinceMs: number, signal: AbortSignal): Promise<Answer<Value>> {
    signal.throwIfAborted();
    const latest = this.#latest;
    if (latest !== null && latest.beganMs >= Math.floor(sinceMs)) {
      return unlessAborted(latest.answer, signal);
    }
    const reading = latest?.isOver === false ? await this.#after(latest, signal) : this.#begin();
    return unlessAborted(reading.answer, signal);
  }

  #after(latest: Reading<Value>, signal: AbortSignal): Promise<Reading<Value>> {
    this.#next ??= latest.answer.then(() => {
      this.#next = null;
      return this.#begin();
    });
    return unlessAborted(this.#next, signal);
  }

  #begin(): Reading<Value> {
    const answer = this.#read();
    const reading = { beganMs: this.#clock.elapsedMs, answer, isOver: false };
    this.#latest = reading;
    void this.#finish(reading);
    return reading;
  }

  /** A failure is given to those who asked together, and kept for nobody else. */
  async #finish(reading: Reading<Value>): Promise<void> {
    const { kind } = await reading.answer;
    reading.isOver = true;
    if (kind === 'failure' && this.#latest === reading) this.#latest = null;
  }
}
