/**
 * The agent is cut off at every step of its work, one run for each: before and after every record,
 * every request, every look and every wait. Whatever the point, there is at most one request per
 * attempt, every op ends once, and what was wanted has happened exactly once.
 */
import { describe, expect, it } from 'vitest';
import { DEFAULT_STOP } from '../../src/reconcile/op.ts';
import type { Fault, RequestKind } from '../support/model/faults.ts';
import { type Cut, runCutOff, type Wish } from './cut-off-run.ts';

/** The work on any of these wishes, an HA manager's rounds included. */
const WORK_MS = 25_000;

const OFF = { starts: 0, stops: 0, writes: 0 };

const WISHES: readonly Wish[] = [
  {
    name: 'desired state starts a guest',
    guest: {},
    desired: { power: 'running' },
    effects: { ...OFF, starts: 1 },
  },
  {
    name: 'desired state stops a guest',
    guest: { running: true },
    desired: { power: 'stopped' },
    effects: { ...OFF, stops: 1 },
  },
  {
    name: 'desired state configures and starts a guest',
    guest: { config: { cores: '2' } },
    desired: { power: 'running', config: { cores: 4 } },
    effects: { ...OFF, starts: 1, writes: 1 },
  },
  {
    name: 'desired state configures a guest by a task',
    guest: { running: true, config: {}, behaviour: { configTaskMs: 700 } },
    desired: { config: { description: 'new' } },
    effects: { ...OFF, writes: 1 },
  },
  {
    name: 'a signed op starts a guest',
    guest: {},
    asked: { origin: 'hub', action: { kind: 'start', params: {} } },
    effects: { ...OFF, starts: 1 },
  },
  {
    name: 'a signed op stops a guest that desired state wants up, with a hold',
    guest: { running: true },
    desired: { power: 'running' },
    asked: { origin: 'hub', action: { kind: 'stop', params: DEFAULT_STOP }, holdMs: 3_600_000 },
    effects: { ...OFF, stops: 1 },
  },
  {
    name: 'a signed op configures a guest',
    guest: { running: true, config: { description: 'old' } },
    asked: {
      origin: 'hub',
      action: { kind: 'set_config', params: { set: { description: 'new' }, delete: [] } },
    },
    effects: { ...OFF, writes: 1 },
  },
  {
    name: 'a signed op restarts a guest',
    guest: { running: true },
    asked: { origin: 'hub', action: { kind: 'restart', params: DEFAULT_STOP } },
    effects: { starts: 1, stops: 1, writes: 0 },
  },
  {
    name: 'an operator restarts a container',
    guest: { kind: 'lxc', running: true },
    asked: { origin: 'operator', action: { kind: 'restart', params: DEFAULT_STOP } },
    effects: { starts: 1, stops: 1, writes: 0 },
  },
  {
    name: 'desired state starts an HA guest',
    guest: { ha: 'stopped' },
    desired: { power: 'running' },
    effects: { ...OFF, starts: 1 },
  },
  {
    name: 'a signed op stops an HA guest',
    guest: { ha: 'started', running: true },
    asked: { origin: 'hub', action: { kind: 'stop', params: DEFAULT_STOP } },
    effects: { ...OFF, stops: 1 },
  },
];

/** The run as it is, and cut off at each of its steps, or at every `stride`th. */
async function explore(
  wish: Wish,
  cut: Omit<Cut, 'atStep'>,
  { first = 1, stride = 1 } = {},
): Promise<string[]> {
  const broken: string[] = [];
  const whole = await runCutOff(wish, { ...cut, atStep: null });
  broken.push(...whole.broken.map((problem) => `uncut: ${problem}`));
  for (let atStep = first; atStep <= whole.steps; atStep += stride) {
    const run = await runCutOff(wish, { ...cut, atStep });
    broken.push(...run.broken.map((problem) => `cut at step ${atStep}: ${problem}`));
  }
  return broken;
}

describe('cut off at every step, what is wanted happens exactly once', () => {
  it.each(WISHES)('$name: killed, back at once', async (wish) => {
    expect(await explore(wish, { how: 'kill', downMs: 0, withinMs: WORK_MS })).toEqual([]);
  });

  it.each(WISHES)('$name: killed, back after a minute', async (wish) => {
    expect(await explore(wish, { how: 'kill', downMs: 60_000, withinMs: WORK_MS })).toEqual([]);
  });

  it.each(WISHES)('$name: SIGTERM', async (wish) => {
    expect(await explore(wish, { how: 'sigterm', downMs: 2_000, withinMs: WORK_MS })).toEqual([]);
  });
});

const FAULTS: readonly { readonly name: string; readonly fault: Fault }[] = [
  { name: 'the request never arrives', fault: { kind: 'cut_before' } },
  { name: 'the answer is lost', fault: { kind: 'cut_after' } },
  { name: '596, done five seconds later', fault: { kind: 'answer_596', effectAfterMs: 5_000 } },
  { name: '596, done after 33 s', fault: { kind: 'answer_596', effectAfterMs: 33_000 } },
  { name: 'no worker UPID, done', fault: { kind: 'no_worker_upid', hasEffect: true } },
];

/** The request that loses its answer: a restart has two. */
function requestsOf({ asked, desired }: Wish): RequestKind[] {
  const kind = asked?.action.kind;
  if (kind === 'restart') return ['stop', 'start'];
  if (kind !== undefined) return [kind];
  const text = JSON.stringify(desired);
  const power = text.includes('running') ? 'start' : 'stop';
  return [...(text.includes('config') ? (['set_config'] as const) : []), power];
}

describe('cut off with an answer lost besides', () => {
  const cases = WISHES.flatMap((wish) =>
    requestsOf(wish).flatMap((on) => FAULTS.map((each, index) => ({ wish, on, index, ...each }))),
  );
  // Most steps of these runs are searches, one like the other: each case tries another third.
  it.each(cases)('$wish.name: $on, $name', async ({ wish, on, fault, index }) => {
    const cut = { how: 'kill', downMs: 1_000, withinMs: 50_000, fault: { on, fault } } as const;
    expect(await explore(wish, cut, { first: 1 + (index % 3), stride: 3 })).toEqual([]);
  });
});
