import { describe, expect, test } from 'vitest';
import { createPassLoop } from '../../../src/agent/daemon/pass-loop.ts';
import type { Clock } from '../../../src/reconcile/clock.ts';
import { parseVmid } from '../../../src/reconcile/ids.ts';
import type { Plan, PlanEntry } from '../../../src/reconcile/plan.ts';

const vmid = parseVmid(100);
if (vmid === null) throw new Error('not a vmid');
const IN_SYNC: PlanEntry = {
  vmid,
  kind: 'qemu',
  name: 'web',
  mode: 'enforce',
  status: 'in_sync',
  power: { desired: 'running', actual: 'running' },
  changes: [],
  actions: [],
  verdict: { kind: 'go' },
  conditions: [],
};
const start = {
  action: { kind: 'start', params: {} },
  reversibility: 'benign',
  remarks: [],
} as const;
const WORK: PlanEntry = { ...IN_SYNC, status: 'drift', actions: [start] };

/** Runs the loop in virtual time; resolves with when each pass began. */
async function passTimes(
  plans: readonly PlanEntry[],
  options: {
    onPass?: (index: number, wake: () => void) => void;
    idle?: () => Promise<void>;
    /** Of ops, that each pass leads to. */
    steps?: number;
  } = {},
): Promise<number[]> {
  let nowMs = 0;
  const stop = new AbortController();
  const times: number[] = [];
  const clock: Clock = {
    now: () => nowMs,
    monotonicMs: () => nowMs,
    async sleep(ms, signal) {
      // What is to happen meanwhile happens first, as it would in real time.
      for (let i = 0; i < 5; i++) await Promise.resolve();
      if (!signal.aborted) nowMs += Math.max(0, ms);
    },
  };
  const loop = createPassLoop({
    clock,
    intervalMs: 30_000,
    engine: {
      async pass(): Promise<Plan> {
        const entry = plans[times.length];
        times.push(nowMs);
        options.onPass?.(times.length, loop.wake);
        if (times.length === plans.length) stop.abort();
        return { entries: entry === undefined ? [] : [entry] };
      },
      idle: options.idle ?? (() => Promise.resolve()),
      get steps() {
        return times.length * (options.steps ?? 1);
      },
    },
  });
  await loop.run(stop.signal);
  return times;
}

describe('the next pass is due', () => {
  test('after the interval, where nothing happens', async () => {
    expect(await passTimes([IN_SYNC, IN_SYNC, IN_SYNC])).toEqual([0, 30_000, 60_000]);
  });

  test('soon, when something has changed; a burst of hints is one pass', async () => {
    const times = await passTimes([IN_SYNC, IN_SYNC, IN_SYNC], {
      onPass: (index, wake) => {
        if (index === 1) for (let i = 0; i < 100; i++) wake();
      },
    });
    expect(times).toEqual([0, 250, 30_250]);
  });

  test('once more when the work it gave has ended', async () => {
    expect(await passTimes([WORK, IN_SYNC, IN_SYNC])).toEqual([0, 250, 30_250]);
  });

  test('at the interval where the work it gave came to nothing', async () => {
    expect(await passTimes([WORK, WORK], { steps: 0 })).toEqual([0, 30_000]);
  });

  test('at the interval while work is still under way', async () => {
    const times = await passTimes([WORK, WORK], { idle: () => new Promise(() => undefined) });
    expect(times).toEqual([0, 30_000]);
  });

  test('when a wait that the plan names is over', async () => {
    const backingOff: PlanEntry = {
      ...IN_SYNC,
      conditions: [{ code: 'backing_off', message: 'it failed', untilMs: 2_000 }],
    };
    expect(await passTimes([backingOff, IN_SYNC])).toEqual([0, 2_000]);
  });
});
