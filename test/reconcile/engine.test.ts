/** What the engine tells while it works, and what becomes of a guest that is not there any more. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { makeOpId } from '../../src/reconcile/ids.ts';
import type { OpRequest, SubmitResult } from '../../src/reconcile/intake.ts';
import { type Action, DEFAULT_STOP, type OpRecord } from '../../src/reconcile/op.ts';
import { ModelWorld } from '../support/model-world.ts';
import { seededRandom } from '../support/seeded-random.ts';
import { vmidOf } from './plan-inputs.ts';

const START: Action = { kind: 'start', params: {} };
const STOP: Action = { kind: 'stop', params: DEFAULT_STOP };
const RESTART: Action = { kind: 'restart', params: DEFAULT_STOP };

let world = new ModelWorld();
beforeEach(async () => {
  world = new ModelWorld();
  world.node.add(101);
  await world.start({ intervalMs: null });
  await pass();
});
afterEach(() => world.stop());

async function pass(): Promise<void> {
  await world.clock.until(world.life.engine.pass(), 60_000);
}

async function submit(action: Action, more: Partial<OpRequest> = {}): Promise<SubmitResult> {
  const request: OpRequest = { origin: 'operator', vmid: vmidOf(101), action, ...more };
  return world.clock.until(world.life.engine.submit(request), 5_000);
}

async function accepted(action: Action): Promise<OpRecord> {
  const result = await submit(action);
  if (result.kind !== 'accepted') throw new Error(JSON.stringify(result));
  return result.record;
}

function endOf({ op_id: opId }: OpRecord): OpRecord | undefined {
  return world.journal.records.findLast((record) => record.op_id === opId);
}

describe('while an op waits', () => {
  it('the engine says why, that it is at work, and how the guest was seen last', async () => {
    world.node.guest(101).lock = 'backup';
    const op = await accepted(START);
    await world.clock.advanceTo(world.clock.elapsedMs + 1_000);
    const { engine } = world.life;
    expect(engine.waits().get(vmidOf(101))).toMatchObject({ code: 'guest_locked' });
    expect(engine.isAtWork(op.op_id)).toBe(true);
    expect(engine.lastSeen(vmidOf(101))).toMatchObject({ power: 'stopped' });
    world.node.guest(101).lock = null;
    await world.clock.until(engine.idle(), 60_000);
    expect(engine.waits().size).toBe(0);
    expect(engine.isAtWork(op.op_id)).toBe(false);
    expect(engine.lastSeen(vmidOf(101))).toMatchObject({ power: 'running' });
  });

  it('it can be cancelled, and has then ended; what has ended, or nobody knows, cannot', async () => {
    const { engine } = world.life;
    world.node.guest(101).lock = 'backup';
    const [first, second] = [await accepted(START), await accepted(STOP)];
    await world.clock.advanceTo(world.clock.elapsedMs + 1_000);
    for (const op of [first, second]) {
      expect(await engine.cancel(op.op_id)).toBeNull();
      expect(endOf(op)).toMatchObject({ state: 'failed', error: { code: 'cancelled' } });
    }
    expect(await engine.cancel(first.op_id)).toMatchObject({ code: 'conflict' });
    await world.clock.until(engine.idle(), 60_000);
    expect(await engine.cancel(first.op_id)).toMatchObject({ code: 'conflict' });
    const nobody = makeOpId(seededRandom(99));
    expect(await engine.cancel(nobody)).toMatchObject({ code: 'not_found' });
  });
});

describe('a guest that is gone', () => {
  const leave = (node: string | null): void => {
    world.node.guests.delete(vmidOf(101));
    if (node !== null) world.node.elsewhere.set(vmidOf(101), node);
  };

  it.each([
    [null, 'not_found'],
    ['pve2', 'guest_moved'],
  ])('before its op has its turn (now on %s) ends it as %s', async (node, code) => {
    const op = await accepted(START);
    leave(node);
    await world.clock.until(world.life.engine.idle(), 60_000);
    expect(endOf(op)).toMatchObject({ state: 'failed', error: { code } });
    expect(world.api.sent).toEqual([]);
  });

  it.each([
    [null, 'not_found'],
    ['pve2', 'guest_moved'],
  ])('when its task has ended (now on %s) ends the op as %s', async (node, code) => {
    world.api.onSent = () => leave(node);
    const op = await accepted(START);
    await world.clock.until(world.life.engine.idle(), 120_000);
    expect(endOf(op)).toMatchObject({ state: 'failed', error: { code } });
    expect(world.life.engine.lastSeen(vmidOf(101))).toBeUndefined();
  });

  it('between pass and turn is left alone by reconciling', async () => {
    world.desired.put('desired.yaml', { 101: { power: 'running' } });
    world.onEvent = ({ kind }) => {
      if (kind === 'pass') leave(null);
    };
    await pass();
    await world.clock.until(world.life.engine.idle(), 60_000);
    expect(world.journal.records).toEqual([]);
  });

  it('as a guest of the other kind is another guest', async () => {
    const op = await accepted(START);
    leave(null);
    world.node.add(101, { kind: 'lxc' });
    await world.clock.until(world.life.engine.idle(), 60_000);
    expect(endOf(op)).toMatchObject({ state: 'failed' });
    expect(world.api.sent).toEqual([]);
  });
});

describe('an op against desired state needs a hold', () => {
  const config = (set: Record<string, string>, ...keys: string[]): Action => {
    return { kind: 'set_config', params: { set, delete: keys } };
  };

  it.each<[object, Action, string]>([
    [{ power: 'stopped' }, START, 'conflict'],
    [{ power: 'stopped' }, RESTART, 'conflict'],
    [{ power: 'running' }, STOP, 'conflict'],
    [{ power: 'initial' }, STOP, 'conflict'],
    [{ power: 'unmanaged' }, STOP, 'accepted'],
    [{ power: 'running' }, RESTART, 'accepted'],
    [{ config: { cores: 4 } }, config({ cores: '2' }), 'conflict'],
    [{ config: { cores: 4 } }, config({ cores: '4' }), 'accepted'],
    [{ config: { cores: 4 } }, config({ onboot: '1' }), 'accepted'],
    [{ config: { cores: 4 } }, config({}, 'cores'), 'conflict'],
    [{ config: { description: null } }, config({}, 'description'), 'accepted'],
    [{ config: { description: null } }, config({ description: 'x' }), 'conflict'],
    [{ power: 'running', mode: 'observe' }, STOP, 'accepted'],
    [{ power: 'running', mode: 'paused' }, STOP, 'accepted'],
    [{ power: 'running', kind: 'lxc' }, STOP, 'accepted'],
    [{ power: 'running', name: 'another' }, STOP, 'accepted'],
    [{ config: { cores: 4 }, ignore: ['cores'] }, config({ cores: '2' }), 'accepted'],
    [{ config: { tags: 'a' } }, config({ tags: 'a;reconcile-hold' }), 'accepted'],
    [{ config: { tags: 'a' } }, config({ tags: 'b;reconcile-hold' }), 'accepted'],
    [{ config: { tags: 'a' } }, config({ tags: 'b' }), 'conflict'],
    // What policy does not let desired state do undoes nothing.
    [{ power: 'stopped', stop: { mode: 'stop' } }, START, 'accepted'],
  ])('desired %j, asked %j: %s', async (wanted, action, answer) => {
    world.desired.put('desired.yaml', { 101: wanted });
    await pass();
    const result = await submit(action);
    expect(result.kind === 'refused' ? result.problem.code : result.kind).toBe(answer);
    const held = await submit(action, { holdMs: 60_000 });
    expect(held.kind).toBe('accepted');
  });

  it('and while the agent is paused nothing is against it', async () => {
    world.desired.put('desired.yaml', { 101: { power: 'stopped' } });
    await pass();
    const { ledger } = world.ports;
    await ledger.note({ kind: 'pause', pause: { untilMs: null, reason: 'maintenance' } });
    expect((await submit(START)).kind).toBe('accepted');
  });

  it('also while a pause after a failure puts off what would undo it', async () => {
    world.node.guest(101).behaviour.startEnds.push('start failed: no space left');
    world.desired.put('desired.yaml', { 101: { power: 'running' } });
    await pass();
    await world.clock.until(world.life.engine.idle(), 60_000);
    expect(await submit(STOP)).toMatchObject({ problem: { code: 'conflict' } });
  });

  it('and a guest with `power: initial` that has had its start may be stopped', async () => {
    world.desired.put('desired.yaml', { 101: { power: 'initial' } });
    await pass();
    await world.clock.until(world.life.engine.idle(), 60_000);
    expect((await submit(STOP)).kind).toBe('accepted');
  });
});

it('a pass over some guests leaves the others for later', async () => {
  world.node.add(102);
  world.desired.put('desired.yaml', { 101: { power: 'running' }, 102: { power: 'running' } });
  const only = new Set([vmidOf(102)]);
  await world.clock.until(world.life.engine.pass({ only }), 60_000);
  await world.clock.until(world.life.engine.idle(), 60_000);
  expect([101, 102].map((id) => world.node.guest(id).power)).toEqual(['stopped', 'running']);
});

it('a guest that nobody wants any more when its slot is free is left alone', async () => {
  await world.stop();
  world.node.add(102);
  world.node.guest(101).behaviour.startMs = 20_000;
  await world.start({ intervalMs: null, policy: { maxParallel: 1 } });
  world.desired.put('desired.yaml', { 101: { power: 'running' }, 102: { power: 'running' } });
  await pass();
  world.desired.put('desired.yaml', { 101: { power: 'running' } });
  await pass();
  await world.clock.until(world.life.engine.idle(), 60_000);
  expect([101, 102].map((id) => world.node.guest(id).power)).toEqual(['running', 'stopped']);
});
