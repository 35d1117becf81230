/** Time that stands still until a test moves it, for servers that run in the test's own process. */
import type { Ticker } from './clock.ts';

interface Alarm {
  readonly atMs: number;
  readonly wake: () => void;
}

export class ManualTicker implements Ticker {
  #nowMs: number;
  readonly #alarms = new Set<Alarm>();

  constructor(startMs: number) {
    this.#nowMs = startMs;
  }

  nowMs(): number {
    return this.#nowMs;
  }

  after(delayMs: number, wake: () => void): () => void {
    const alarm = { atMs: this.#nowMs + delayMs, wake };
    this.#alarms.add(alarm);
    return () => this.#alarms.delete(alarm);
  }

  /** Everything that is due happens in order, each with what follows from it at once. */
  async advance(byMs: number): Promise<void> {
    await turn();
    const endMs = this.#nowMs + byMs;
    for (;;) {
      const next = [...this.#alarms].reduce<Alarm | null>(earlier, null);
      if (next === null || next.atMs > endMs) break;
      this.#alarms.delete(next);
      this.#nowMs = Math.max(this.#nowMs, next.atMs);
      next.wake();
      await turn();
    }
    this.#nowMs = endMs;
    await turn();
  }
}

function earlier(best: Alarm | null, alarm: Alarm): Alarm {
  return best === null || alarm.atMs < best.atMs ? alarm : best;
}

/** One turn of the event loop: every promise that could settle has settled. */
export function turn(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}
