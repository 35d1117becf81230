/**
 * When the next pass is due: after the interval, when something has changed, when a wait that the
 * last plan named is over, and once after work has ended. Never two at a time.
 */
import type { Clock } from '../../reconcile/clock.ts';
import type { CorrelationId, Vmid } from '../../reconcile/ids.ts';
import { hasWork, type Plan } from '../../reconcile/plan.ts';

/** Hints come in bursts: one look answers them all. */
const GAP_MS = 250;

export interface PassLoop {
  /** A pass soon. */
  readonly wake: () => void;
  /** Runs until the signal; rejects with what a pass rejects with. */
  readonly run: (signal: AbortSignal) => Promise<void>;
}

export interface PassLoopOptions {
  readonly clock: Clock;
  readonly intervalMs: number;
  readonly engine: {
    pass(options?: { only?: ReadonlySet<Vmid>; passId?: CorrelationId }): Promise<Plan>;
    idle(): Promise<void>;
    readonly steps: number;
  };
}

export function createPassLoop({ clock, intervalMs, engine }: PassLoopOptions): PassLoop {
  let alarm = new AbortController();
  const wake = (): void => alarm.abort();

  return {
    wake,
    async run(signal) {
      while (!signal.aborted) {
        alarm = new AbortController();
        const { steps } = engine;
        const plan = await engine.pass();
        // What a lane, having looked again, left undone is not looked at sooner for it.
        if (hasWork(plan)) void engine.idle().then(() => engine.steps > steps && wake());
        const dueMs = Math.min(intervalMs, msUntilNextWait(plan, clock.now()));
        await clock.sleep(GAP_MS, signal);
        await clock.sleep(dueMs - GAP_MS, AbortSignal.any([signal, alarm.signal]));
      }
    },
  };
}

/** A backoff or a hold that ends before the interval does. */
function msUntilNextWait({ entries }: Plan, nowMs: number): number {
  let nextMs = Number.POSITIVE_INFINITY;
  for (const { conditions } of entries) {
    for (const { untilMs } of conditions) {
      if (untilMs !== undefined && untilMs > nowMs) nextMs = Math.min(nextMs, untilMs - nowMs);
    }
  }
  return nextMs;
}
