/**
 * The way from the agent to the model node: it takes time, it can be cut, and everything that goes
 * over it is counted.
 */
import type { Problem } from '../../../src/reconcile/errors.ts';
import type { VirtualClock } from '../virtual-clock.ts';

/** One way. */
const LATENCY_MS = 5;
const STUCK_MS = 30_000;

export type Answer<Value> =
  | { readonly kind: 'value'; readonly value: Value }
  | { readonly kind: 'failure'; readonly problem: Problem };

/** Nobody aborts the node's own work. */
const NEVER = new AbortController().signal;

export class Wire {
  readonly #clock: VirtualClock;
  readonly counts = new Map<string, number>();
  /** `down`: nothing is sent; `stuck`: pvedaemon takes nothing, 596 after 30 s. */
  state: 'up' | 'down' | 'stuck' = 'up';

  constructor(clock: VirtualClock) {
    this.#clock = clock;
  }

  get total(): number {
    return [...this.counts.values()].reduce((sum, count) => sum + count, 0);
  }

  /** A read: its answer is what is there when the request arrives. */
  read<Value>(name: string, signal: AbortSignal, make: () => Value): Promise<Answer<Value>> {
    return unlessAborted(this.#read(name, make), signal);
  }

  async #read<Value>(name: string, make: () => Value): Promise<Answer<Value>> {
    this.count(name);
    await this.pass();
    if (this.state === 'stuck') await this.wait(STUCK_MS);
    const problem = this.problem();
    const value = problem === null ? make() : null;
    await this.pass();
    return value === null || problem !== null
      ? { kind: 'failure', problem: problem ?? { code: 'not_found', message: 'not there [500]' } }
      : { kind: 'value', value };
  }

  problem(): Problem | null {
    if (this.state === 'up') return null;
    return this.state === 'down'
      ? { code: 'service_unavailable', message: 'connect ECONNREFUSED 127.0.0.1:8006' }
      : { code: 'service_unavailable', message: 'Connection timed out [596]' };
  }

  count(name: string): void {
    this.counts.set(name, (this.counts.get(name) ?? 0) + 1);
  }

  pass(): Promise<void> {
    return this.#clock.sleep(LATENCY_MS, NEVER);
  }

  wait(ms: number): Promise<void> {
    return this.#clock.sleep(ms, NEVER);
  }
}

/** The promise, unless the signal is first; then its reason. */
export function unlessAborted<Value>(promise: Promise<Value>, signal: AbortSignal): Promise<Value> {
  if (signal.aborted) return Promise.reject(signal.reason);
  return new Promise((resolve, reject) => {
    const onAbort = (): void => reject(signal.reason);
    signal.addEventListener('abort', onAbort, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort));
  });
}
