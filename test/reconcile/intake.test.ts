/** The one way in for ops: who asks at the same moment, in which order, and when it is too much. */
import { afterEach, describe, expect, it } from 'vitest';
import { ReconcilerError } from '../../src/reconcile/errors.ts';
import {
  CLOCK_SKEW_MS,
  OPERATOR_OP_LIFETIME_MS,
  OPS_IN_FLIGHT_MAX,
  type OpRequest,
  type SubmitResult,
} from '../../src/reconcile/intake.ts';
import { QUEUED_PER_LANE_MAX } from '../../src/reconcile/lanes.ts';
import { DEFAULT_STOP } from '../../src/reconcile/op.ts';
import { OP_ATTEMPTS_MAX } from '../../src/reconcile/op-turn.ts';
import { RESTART_STARTS_MAX } from '../../src/reconcile/restart.ts';
import { ModelWorld } from '../support/model-world.ts';
import { vmidOf } from './plan-inputs.ts';

let world = new ModelWorld();
afterEach(async () => {
  await world.stop();
  // What the node itself is at comes to its end; of the agent nothing is left.
  await world.clock.advanceTo(world.clock.elapsedMs + 60_000);
  expect(world.clock.sleepers).toBe(0);
});

async function makeWorld(...ids: readonly number[]): Promise<void> {
  world = new ModelWorld();
  for (const id of ids) world.node.add(id);
  await world.start({ intervalMs: null });
  await world.clock.until(world.life.engine.pass(), 1_000);
}

function start(id: number): OpRequest {
  return { origin: 'operator', vmid: vmidOf(id), action: { kind: 'start', params: {} } };
}

function signed(id: number, key: string, payload = 'a'): OpRequest {
  const signers = [{ keyid: 'hub-1', key_sha256: '1'.repeat(64) }];
  const expiresAtMs = world.clock.now() + 60_000;
  const envelope = { idempKey: key, payloadHmac: payload.repeat(64), expiresAtMs, signers };
  return { ...start(id), origin: 'hub', signed: envelope };
}

function submit(...requests: readonly OpRequest[]): Promise<SubmitResult[]> {
  const answers = Promise.all(requests.map((request) => world.life.engine.submit(request)));
  return world.clock.until(answers, 5_000);
}

function codes(answers: readonly SubmitResult[]): string[] {
  return answers.map((answer) => (answer.kind === 'refused' ? answer.problem.code : answer.kind));
}

describe('at the same moment', () => {
  it('ten senders with one key are one op', async () => {
    await makeWorld(101);
    const answers = await submit(...Array.from({ length: 10 }, () => signed(101, 'k1')));
    expect(codes(answers)).toEqual(['accepted', ...Array.from({ length: 9 }, () => 'repeat')]);
    await world.clock.advanceTo(5_000);
    expect(world.api.sent).toHaveLength(1);
  });

  it('a key is not shared by two payloads', async () => {
    await makeWorld(101);
    const answers = await submit(signed(101, 'k1', 'a'), signed(101, 'k1', 'b'));
    expect(codes(answers)).toEqual(['accepted', 'idemp_key_reused']);
  });

  it('no lane takes more than it has room for', async () => {
    await makeWorld(101);
    world.node.guest(101).lock = 'backup';
    const many = QUEUED_PER_LANE_MAX + 5;
    const answers = await submit(...Array.from({ length: many }, () => start(101)));
    const accepted = answers.filter(({ kind }) => kind === 'accepted');
    // One is at work, the others wait.
    expect(accepted).toHaveLength(QUEUED_PER_LANE_MAX + 1);
    expect(codes(answers.slice(accepted.length))).toEqual([
      'queue_full',
      'queue_full',
      'queue_full',
      'queue_full',
    ]);
  });

  it('all ops together are bounded', async () => {
    await makeWorld(101);
    world.ports.ledger.inFlightCount = () => OPS_IN_FLIGHT_MAX;
    expect(codes(await submit(start(101)))).toEqual(['queue_full']);
  });
});

it('ops run in the order of their acceptance, also where a hold is written between', async () => {
  await makeWorld(101);
  const held = { ...start(101), holdMs: 60_000 };
  const stop: OpRequest = { ...start(101), action: { kind: 'stop', params: DEFAULT_STOP } };
  const answers = await submit(held, stop, held);
  await world.clock.advanceTo(20_000);
  const accepted = answers.flatMap((answer) =>
    answer.kind === 'accepted' ? [answer.record.op_id] : [],
  );
  const started = world.journal.records.filter(({ state }) => state === 'started');
  expect(started.map(({ op_id: id }) => id)).toEqual(accepted);
});

it('records are announced in their order, also where a hold is written with one', async () => {
  await makeWorld(101, 102, 103);
  const announced: number[] = [];
  world.onEvent = (event) => {
    if (event.kind === 'op') announced.push(event.record.seq);
  };
  await submit({ ...start(101), holdMs: 60_000 }, start(102), start(103));
  await world.clock.advanceTo(20_000);
  expect(announced.length).toBeGreaterThan(9);
  expect(announced).toEqual(announced.toSorted((a, b) => a - b));
});

it('none overtakes another whose guest is looked at first', async () => {
  await makeWorld(101);
  const params = { set: { description: 'b' }, delete: [] };
  const write: OpRequest = { ...start(101), action: { kind: 'set_config', params } };
  const answers = await submit(write, start(101));
  expect(codes(answers)).toEqual(['accepted', 'accepted']);
  await world.clock.advanceTo(20_000);
  const started = world.journal.records.filter(({ state }) => state === 'started');
  expect(started.map(({ kind }) => kind)).toEqual(['set_config', 'start']);
});

it('PVE that says nothing keeps no op on a guest waiting for another', async () => {
  await makeWorld(101);
  const params = { set: { description: 'b' }, delete: [] };
  const write: OpRequest = { ...start(101), action: { kind: 'set_config', params } };
  world.api.wire.state = 'stuck';
  const sinceMs = world.clock.elapsedMs;
  expect(codes(await submit(write, write, write, write))).toEqual(Array(4).fill('accepted'));
  expect(world.clock.elapsedMs - sinceMs).toBeLessThan(1_000);
  world.api.wire.state = 'up';
  await world.clock.until(world.life.engine.idle(), 120_000);
});

it('what is being looked at as the agent is stopped is not taken any more', async () => {
  await makeWorld(101);
  const params = { set: { description: 'b' }, delete: [] };
  const write: OpRequest = { ...start(101), action: { kind: 'set_config', params } };
  const answers = submit(write, start(101));
  await world.clock.advanceTo(world.clock.elapsedMs + 1);
  const stopped = world.life.engine.stop();
  expect(codes(await answers)).toEqual(['service_unavailable', 'service_unavailable']);
  await world.clock.until(stopped, 1_000);
  expect(world.journal.records).toEqual([]);
});

it('an operator has ten minutes, a signer what was signed', async () => {
  await makeWorld(101, 102);
  await submit(start(101), signed(102, 'k1'));
  const expiries = world.journal.records
    .filter(({ state }) => state === 'received')
    .map(({ expires_at_ms: expiresAtMs = 0, at }) => expiresAtMs - Date.parse(at));
  expect(expiries).toEqual([OPERATOR_OP_LIFETIME_MS, 60_000]);
});

it('who asked, as claimed, stands in every record of the op', async () => {
  await makeWorld(101);
  await submit({ ...start(101), actor: 'anna' });
  await world.clock.advanceTo(5_000);
  const actors = world.journal.records.map(({ state, actor }) => `${state} for ${actor}`);
  expect(actors).toEqual([
    'received for anna',
    'started for anna',
    'task_running for anna',
    'succeeded for anna',
  ]);
});

it('an operator may write a config, without any signature', async () => {
  await makeWorld(101);
  const params = { set: { description: 'x' }, delete: [] };
  await submit({ ...start(101), action: { kind: 'set_config', params } });
  await world.clock.advanceTo(5_000);
  expect(world.node.guest(101).config.get('description')).toBe('x');
});

describe('a key whose op could not be written', () => {
  const key = 'k1';
  it('is free again where the journal goes on', async () => {
    await makeWorld(101);
    const { ledger } = world.ports;
    const append = ledger.append.bind(ledger);
    ledger.append = () => Promise.reject(new Error('not now'));
    await expect(submit(signed(101, key))).rejects.toThrow('not now');
    ledger.append = append;
    expect(codes(await submit(signed(101, key)))).toEqual(['accepted']);
  });

  it('stays taken where it does not: nobody may hear of an op that may be lost', async () => {
    await makeWorld(101);
    const poison = new ReconcilerError('journal_poisoned', 'EIO', { disposition: 'halt' });
    let appended = 0;
    world.ports.ledger.append = () => {
      appended += 1;
      return Promise.reject(poison);
    };
    await expect(submit(signed(101, key))).rejects.toThrow(poison);
    await expect(submit(signed(101, key))).rejects.toThrow(poison);
    expect(appended).toBe(1);
  });
});

describe('nothing is taken', () => {
  it('by an agent that is stopping', async () => {
    await makeWorld(101);
    await world.life.engine.stop();
    expect(codes(await submit(start(101)))).toEqual(['service_unavailable']);
  });

  it.each(['unauthorized', 'forbidden', 'tls_untrusted', 'service_unavailable'] as const)(
    'for a guest that cannot be seen, with why: %s',
    async (code) => {
      await makeWorld(101);
      const list = { kind: 'unknown', problem: { code, message: 'PVE says no' } } as const;
      const observe = world.api.observe.bind(world.api);
      world.api.observe = async (...asked) => {
        return { ...(await observe(...asked)), qemu: list, lxc: list };
      };
      expect(codes(await submit(start(102)))).toEqual([code]);
    },
  );

  it('for a guest that alone is hidden', async () => {
    await makeWorld(101);
    const problem = { code: 'forbidden', message: 'PVE says no' } as const;
    const observe = world.api.observe.bind(world.api);
    world.api.observe = async (request, signal) => {
      const unseen = new Map([...request.wanted].map((vmid) => [vmid, problem]));
      return { ...(await observe(request, signal)), unseen };
    };
    expect(codes(await submit(start(102)))).toEqual(['forbidden']);
  });

  it('for a guest of a node that PVE does not find: that is not to say that there is none', async () => {
    await makeWorld(101);
    const problem = { code: 'not_found', message: "hostname lookup 'pve9' failed" } as const;
    const list = { kind: 'unknown', problem } as const;
    const observe = world.api.observe.bind(world.api);
    world.api.observe = async (...asked) => {
      return { ...(await observe(...asked)), qemu: list, lxc: list };
    };
    expect(codes(await submit(start(102)))).toEqual(['service_unavailable']);
  });

  it('that has expired by more than two clocks may differ', async () => {
    await makeWorld(101);
    const late = signed(101, 'k1');
    await world.clock.advanceTo(world.clock.elapsedMs + 60_000 + CLOCK_SKEW_MS + 1);
    expect(codes(await submit(late, start(101)))).toEqual(['expired', 'accepted']);
  });

  it('that the journal cannot hold, and the agent goes on', async () => {
    await makeWorld(101);
    const text = 'x'.repeat(2_000_000);
    const params = { set: { description: text }, delete: [] };
    const long: OpRequest = { ...signed(101, 'k1'), action: { kind: 'set_config', params } };
    expect(codes(await submit(long, start(101)))).toEqual(['invalid_request', 'accepted']);
    await world.clock.advanceTo(5_000);
    expect(world.node.guest(101).power).toBe('running');
  });

  it('of a set_config without a key', async () => {
    await makeWorld(101);
    const action = { kind: 'set_config', params: { set: {}, delete: [] } } as const;
    expect(codes(await submit({ ...signed(101, 'k1'), action }))).toEqual(['invalid_request']);
  });
});

it(`an op is tried ${OP_ATTEMPTS_MAX} times, a restart's start ${RESTART_STARTS_MAX} times`, async () => {
  await makeWorld(101, 102);
  const refused = { kind: 'refuse', code: 'guest_locked', message: 'VM is locked' } as const;
  for (let count = 0; count < 9; count++) world.api.faults.plan('start', refused);
  world.node.guest(102).powerOn(world.clock.elapsedMs);
  await submit(start(101));
  await world.clock.advanceTo(60_000);
  const restart: OpRequest = { ...start(102), action: { kind: 'restart', params: DEFAULT_STOP } };
  await submit(restart);
  await world.clock.advanceTo(120_000);
  const started = (id: number): number[] =>
    world.journal.records
      .filter(({ vmid, kind, state }) => vmid === id && kind === 'start' && state === 'started')
      .map(({ attempt }) => attempt);
  expect([started(101), started(102)]).toEqual([
    [1, 2, 3],
    [1, 2, 3],
  ]);
});

it('a journal that fails ends the engine, and nothing more is sent', async () => {
  await makeWorld(101, 102);
  const halts: unknown[] = [];
  world.onEvent = (event) => {
    if (event.kind === 'halted') halts.push(event.error);
  };
  await submit(start(101));
  const poison = new ReconcilerError('journal_poisoned', 'EIO', { disposition: 'halt' });
  world.ports.ledger.append = () => Promise.reject(poison);
  await world.clock.advanceTo(10_000);
  expect(halts).toEqual([poison]);
  expect(world.api.sent.length).toBeLessThanOrEqual(1);
  expect(codes(await submit(start(102)))).toEqual(['service_unavailable']);
});
