import { describe, expect, it } from 'vitest';
import {
  createLanes,
  LANES_MAX,
  type Lanes,
  QUEUED_PER_LANE_MAX,
} from '../../src/reconcile/lanes.ts';
import { vmidOf } from './plan-inputs.ts';

/** A job that ends when it is told to. */
function makeJob(name: string, log: string[]): { run: () => Promise<void>; end: () => void } {
  const { promise, resolve } = Promise.withResolvers<void>();
  return {
    end: resolve,
    run: async () => {
      log.push(`${name} begins`);
      await promise;
      log.push(`${name} ends`);
    },
  };
}

/** All that is ready has run. */
function settled(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

describe('a lane', () => {
  it('runs its jobs one at a time, in the order they came', async () => {
    const lanes = createLanes({ maxParallel: 4 });
    const log: string[] = [];
    const jobs = ['a', 'b', 'c'].map((name) => makeJob(name, log));
    for (const { run } of jobs) lanes.add(vmidOf(101), run);
    for (const { end } of jobs.reverse()) end();
    await lanes.idle();
    expect(log).toEqual(['a begins', 'a ends', 'b begins', 'b ends', 'c begins', 'c ends']);
  });

  it('keeps one waiting reconcile entry, the newest, in the place of the first', async () => {
    const lanes = createLanes({ maxParallel: 4 });
    const log: string[] = [];
    const first = makeJob('op', log);
    lanes.add(vmidOf(101), first.run);
    for (const name of ['old', 'newer', 'newest']) {
      lanes.offerReconcile(vmidOf(101), async () => void log.push(name));
      lanes.add(vmidOf(101), async () => void log.push(`op after ${name}`));
    }
    expect(lanes.depths().get(vmidOf(101))).toBe(5);
    first.end();
    await lanes.idle();
    expect(log).toEqual([
      'op begins',
      'op ends',
      'newest',
      'op after old',
      'op after newer',
      'op after newest',
    ]);
  });

  it('takes a new reconcile entry while the last one runs', async () => {
    const lanes = createLanes({ maxParallel: 4 });
    const log: string[] = [];
    const running = makeJob('first', log);
    lanes.offerReconcile(vmidOf(101), running.run);
    await settled();
    lanes.offerReconcile(vmidOf(101), async () => void log.push('second'));
    running.end();
    await lanes.idle();
    expect(log).toEqual(['first begins', 'first ends', 'second']);
  });

  it('is gone when it has no work', async () => {
    const lanes = createLanes({ maxParallel: 4 });
    lanes.add(vmidOf(101), async () => undefined);
    await lanes.idle();
    expect(lanes.depths().size).toBe(0);
  });

  it(`has room for ${QUEUED_PER_LANE_MAX} waiting jobs`, async () => {
    const lanes = createLanes({ maxParallel: 4 });
    const first = makeJob('first', []);
    lanes.add(vmidOf(101), first.run);
    await settled();
    for (let count = 0; count < QUEUED_PER_LANE_MAX; count++) {
      expect(lanes.hasRoom(vmidOf(101))).toBe(true);
      lanes.add(vmidOf(101), async () => undefined);
    }
    expect(lanes.hasRoom(vmidOf(101))).toBe(false);
    expect(lanes.hasRoom(vmidOf(102))).toBe(true);
    first.end();
    await lanes.idle();
  });
});

it(`there are ${LANES_MAX} lanes at most, and reconciling waits for the next pass beyond`, async () => {
  const lanes = createLanes({ maxParallel: 4 });
  const jobs = Array.from({ length: LANES_MAX }, () => makeJob('job', []));
  for (const [index, { run }] of jobs.entries()) lanes.add(vmidOf(1_000 + index), run);
  expect(lanes.hasRoom(vmidOf(100))).toBe(false);
  lanes.offerReconcile(vmidOf(100), async () => undefined);
  expect(lanes.depths().has(vmidOf(100))).toBe(false);
  for (const { end } of jobs) end();
  await lanes.idle();
});

async function begun(lanes: Lanes, names: readonly string[]): Promise<string[]> {
  const log: string[] = [];
  const jobs = names.map((name) => makeJob(name, log));
  const runs = jobs.map(({ run }) => lanes.withSlot(run));
  await settled();
  const atOnce = [...log];
  for (const { end } of jobs) end();
  await Promise.all(runs);
  expect(log.filter((line) => line.endsWith('begins'))).toEqual(
    names.map((name) => `${name} begins`),
  );
  return atOnce;
}

describe('slots', () => {
  it('let as many jobs work as they are, and hand on in the order of asking', async () => {
    const lanes = createLanes({ maxParallel: 2 });
    expect(await begun(lanes, ['a', 'b', 'c', 'd'])).toEqual(['a begins', 'b begins']);
  });

  it('are busy when all are taken', async () => {
    const lanes = createLanes({ maxParallel: 1 });
    const job = makeJob('job', []);
    expect(lanes.isBusy()).toBe(false);
    const run = lanes.withSlot(job.run);
    expect(lanes.isBusy()).toBe(true);
    job.end();
    await run;
    expect(lanes.isBusy()).toBe(false);
  });
});

it('a slot that is given up for a wait goes to who asked next, and is asked for again after it', async () => {
  const lanes = createLanes({ maxParallel: 1 });
  const log: string[] = [];
  const [waited, worked] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  const first = lanes.withSlot(async () => {
    await lanes.withoutSlot(() => waited.promise);
    log.push('the first goes on');
  });
  const second = lanes.withSlot(async () => {
    log.push('the second begins');
    expect(lanes.isBusy()).toBe(true);
    waited.resolve();
    await worked.promise;
    log.push('the second ends');
  });
  const third = lanes.withSlot(async () => {
    log.push('the third');
  });
  await waited.promise;
  worked.resolve();
  await Promise.all([first, second, third]);
  expect(log).toEqual(['the second begins', 'the second ends', 'the third', 'the first goes on']);
});
