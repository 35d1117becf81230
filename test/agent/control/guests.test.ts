/** Guests and operator ops over the socket: what is answered, and what the engine then does. */
import { describe, expect, test } from 'vitest';
import { API } from '../../../src/agent/control/api.ts';
import type { ActualState } from '../../../src/reconcile/guest.ts';
import { parseCorrelationId, parseVmid } from '../../../src/reconcile/ids.ts';
import { openControlWorld, untilAnswered } from './control-world.ts';

const GUESTS = {
  101: { running: true, config: { name: 'web' } },
  102: { config: { name: 'webmail' } },
  200: { kind: 'lxc', running: true, config: { name: 'db' } },
} as const;

describe('guests', () => {
  test('every guest that PVE lists or somebody wants is there, by ascending vmid', async () => {
    await using world = await openControlWorld({
      guests: GUESTS,
      desired: { 101: { power: 'running' }, 300: { power: 'running' } },
    });
    const { guests, looked_at } = await world.client.call(API.listGuests);
    expect(looked_at).toMatch(/^2026-11-20T/);
    expect(guests.map(({ vmid }) => vmid)).toEqual([101, 102, 200, 300]);
    expect(guests[0]).toMatchObject({
      name: 'web',
      kind: 'qemu',
      desired: { power: 'running', mode: 'enforce' },
      actual: { power: 'running' },
      status: 'in_sync',
      drift: false,
      phase: 'steady',
      hold: null,
      waiting_for: null,
    });
    expect(guests[1]).toMatchObject({ desired: null, drift: null });
    expect(guests[3]).toMatchObject({ actual: null, conditions: [{ code: 'not_found' }] });
  });

  test.each([
    ['101', 101],
    ['web', 101],
    ['webm', 102],
    ['d', 200],
  ])('the ref %s names guest %i', async (ref, vmid) => {
    await using world = await openControlWorld({ guests: GUESTS });
    expect(await world.client.call(API.getGuest, { params: { ref } })).toMatchObject({ vmid });
  });

  test.each([
    ['we', 'ambiguous_ref', '101 (web), 102 (webmail)'],
    ['mail', 'not_found', 'mail'],
    ['999', 'not_found', '999'],
  ])('the ref %s is %s', async (ref, code, part) => {
    await using world = await openControlWorld({ guests: GUESTS });
    const asked = world.client.call(API.getGuest, { params: { ref } });
    await expect(asked).rejects.toMatchObject({ code, message: expect.stringContaining(part) });
  });
});

describe('while PVE cannot be seen', () => {
  test('a guest keeps the name it was last seen with, also one that nobody wants', async () => {
    await using world = await openControlWorld({
      guests: GUESTS,
      desired: { 101: { power: 'running' } },
    });
    world.api.views.isBlind = true;
    await world.pass();
    const { guests } = await world.client.call(API.listGuests);
    expect(guests.map(({ vmid, name, kind }) => [vmid, name, kind])).toEqual([
      [101, 'web', 'qemu'],
      [102, 'webmail', 'qemu'],
      [200, 'db', 'lxc'],
    ]);
    expect(guests.map(({ actual, status }) => [actual, status])).toEqual([
      [null, 'unknown'],
      [null, null],
      [null, null],
    ]);
    const hold = world.client.call(API.holdGuest, { params: { ref: 'db' } });
    expect(await hold).toMatchObject({ vmid: 200, hold: { until: null } });
  });

  test('a guest that has gone since is forgotten once its list comes whole again', async () => {
    await using world = await openControlWorld({ guests: GUESTS });
    world.api.views.isBlind = true;
    await world.pass();
    world.node.guests.delete(vmidOf(200));
    world.api.views.isBlind = false;
    await world.pass();
    const { guests } = await world.client.call(API.listGuests);
    expect(guests.map(({ vmid }) => vmid)).toEqual([101, 102]);
  });

  test("a name that is not known is not said to be nobody's", async () => {
    await using world = await openControlWorld({ guests: GUESTS, isBlind: true });
    const ask = (ref: string) => world.client.call(API.getGuest, { params: { ref } });
    await expect(ask('web')).rejects.toMatchObject({ code: 'service_unavailable' });
    world.api.views.isBlind = true;
    await world.pass();
    for (const ref of ['web', '101']) {
      await expect(ask(ref)).rejects.toMatchObject({
        code: 'forbidden',
        message: expect.stringContaining('the token lacks VM.Audit'),
      });
    }
  });
});

describe('operator ops', () => {
  test('a start is answered with its op, and the phase has changed by then', async () => {
    await using world = await openControlWorld({ guests: GUESTS });
    const params = { ref: '102' };
    const body = { actor: 'anna', correlation_id: correlationOf('ticket-7') };
    const op = await world.client.call(API.startGuest, { params, body });
    expect(op).toMatchObject({
      vmid: 102,
      kind: 'start',
      origin: 'operator',
      actor: 'anna',
      correlation_id: 'ticket-7',
      state: 'received',
    });
    const during = await world.client.call(API.getGuest, { params });
    expect(during).toMatchObject({ phase: 'starting', last_op: { op_id: op.op_id } });

    await world.clock.until(world.engine.idle(), 60_000);
    const ended = await world.client.call(API.getOp, { params: { op_id: op.op_id } });
    expect(ended.records.map(({ state }) => state)).toEqual([
      'received',
      'started',
      'task_running',
      'succeeded',
    ]);
    expect(ended).toMatchObject({ state: 'succeeded', correlation_id: 'ticket-7' });
    expect(ended.waiting_for).toBeUndefined();
    const after = await world.client.call(API.getGuest, { params });
    expect(after).toMatchObject({ phase: 'steady', actual: { power: 'running' } });
  });

  test('an op tells its outcome in one place, a restart with its stop and its start', async () => {
    const behaviour = { startEnds: ['no space', 'no space', 'no space'] };
    await using world = await openControlWorld({ guests: { 101: { running: true, behaviour } } });
    const restart = await world.client.call(API.restartGuest, { params: { ref: '101' } });
    await world.clock.until(world.engine.idle(), 60_000);
    const { receipt } = await world.client.call(API.getOp, { params: { op_id: restart.op_id } });
    expect(receipt).toMatchObject({
      outcome: 'failed',
      code: 'task_failed',
      message: 'stopped, but not started again: no space',
      attempts: [{ number: 1, outcome: 'failed' }],
      log: ['TASK ERROR: no space'],
      phases: { waited_ms: expect.any(Number), task_ms: null },
      parts: [
        { kind: 'stop', outcome: 'succeeded', exit_status: 'OK' },
        {
          kind: 'start',
          outcome: 'failed',
          attempts: [{ number: 1 }, { number: 2 }, { number: 3 }],
        },
      ],
    });
    expect(receipt?.upids).toHaveLength(4);
  });

  test('a stop takes the parameters it is given, and the defaults for the others', async () => {
    await using world = await openControlWorld({ guests: GUESTS });
    const op = await world.client.call(API.stopGuest, {
      params: { ref: 'web' },
      body: { params: { timeout_s: 5 } },
    });
    expect(op.params).toEqual({ mode: 'shutdown', timeout_s: 5, force: false });
  });

  test('an op against desired state is a conflict without a hold, and is taken with one', async () => {
    await using world = await openControlWorld({
      guests: GUESTS,
      desired: { 101: { power: 'running' } },
    });
    const stop = (body: { hold?: string }): Promise<unknown> =>
      world.client.call(API.stopGuest, { params: { ref: '101' }, body });
    await expect(stop({})).rejects.toMatchObject({ code: 'conflict' });
    await expect(stop({ hold: '1h' })).resolves.toMatchObject({ kind: 'stop' });
    const held = async (): Promise<unknown> =>
      (await world.client.call(API.getGuest, { params: { ref: '101' } })).hold;
    const reason = expect.stringContaining('asked for with op');
    expect(await held()).toEqual({ until: null, reason });
    await world.clock.until(world.engine.idle(), 60_000);
    const until = new Date(world.clock.now() + 3_600_000).toISOString();
    expect(await held()).toEqual({ until, reason });
  });

  test('ops behind another on the same guest say which one comes first', async () => {
    await using world = await openControlWorld({ guests: GUESTS });
    const params = { ref: '101' };
    const first = await world.client.call(API.stopGuest, { params });
    const second = await world.client.call(API.startGuest, { params });
    expect(second.waiting_for).toMatchObject({
      code: 'queued',
      message: expect.stringContaining(first.op_id),
    });
  });

  test('however many ops an answer lists, those in flight are gone through once', async () => {
    await using world = await openControlWorld({ guests: GUESTS });
    const params = { ref: '101' };
    await world.client.call(API.startGuest, { params: { ref: 'db' } });
    const first = await world.client.call(API.stopGuest, { params });
    for (let count = 0; count < 5; count += 1) await world.client.call(API.startGuest, { params });
    const { ledger } = world.journal;
    const inFlight = ledger.opsInFlight();
    let reads = 0;
    const counted = new Proxy(inFlight, {
      get(target, key, receiver): unknown {
        if (key === '0') reads += 1;
        return Reflect.get(target, key, receiver);
      },
    });
    ledger.opsInFlight = () => counted;
    const readsFor = async (limit: number): Promise<number> => {
      reads = 0;
      const { ops } = await world.client.call(API.listOps, { query: { limit } });
      expect(ops).toHaveLength(limit);
      for (const { waiting_for: wait } of ops.slice(0, 5)) {
        expect(wait?.message).toContain(first.op_id);
      }
      return reads;
    };
    expect(await readsFor(6)).toBe(await readsFor(1));
    reads = 0;
    const { guests } = await world.client.call(API.listGuests);
    expect(guests.map(({ phase }) => phase)).toEqual(['stopping', 'steady', 'starting']);
    const forAll = reads;
    reads = 0;
    await world.client.call(API.getGuest, { params });
    expect(forAll).toBe(reads);
  });

  test('a queued op is cancelled; one in flight is a conflict that names it', async () => {
    await using world = await openControlWorld({ guests: GUESTS });
    const params = { ref: '101' };
    const first = await world.client.call(API.stopGuest, { params });
    const second = await world.client.call(API.startGuest, { params });
    await world.clock.advanceTo(world.clock.elapsedMs + 1_000);
    const cancel = (opId: string): Promise<unknown> =>
      world.client.call(API.cancelOp, { params: { op_id: opId } });
    await expect(cancel(second.op_id.slice(0, 8))).resolves.toMatchObject({
      state: 'failed',
      error: { code: 'cancelled' },
    });
    await expect(cancel(first.op_id)).rejects.toMatchObject({
      code: 'conflict',
      context: { op_id: first.op_id },
    });
    expect(world.api.sent.map(({ kind }) => kind)).toEqual(['stop']);
  });

  test('a hold keeps until it ends or somebody resumes, and is in the journal', async () => {
    await using world = await openControlWorld({ guests: GUESTS });
    const params = { ref: 'db' };
    const held = await world.client.call(API.holdGuest, {
      params,
      body: { for: '30m', actor: 'anna' },
    });
    expect(held.hold).toMatchObject({ reason: 'held by anna' });
    expect(world.journal.ledger.holds().get(vmidOf(200))).toMatchObject({ reason: 'held by anna' });
    await world.clock.advanceTo(world.clock.elapsedMs + 31 * 60_000);
    expect((await world.client.call(API.getGuest, { params })).hold).toBeNull();

    await world.client.call(API.holdGuest, { params });
    expect((await world.client.call(API.getGuest, { params })).hold).toMatchObject({ until: null });
    expect((await world.client.call(API.resumeGuest, { params })).hold).toBeNull();
  });

  test('hold and resume take what every request about a guest may have', async () => {
    await using world = await openControlWorld({ guests: GUESTS });
    const params = { ref: 'db' };
    const common = { params: {}, correlation_id: correlationOf('req-1'), actor: 'anna' };
    const { client, clock } = world;
    const held = await client.call(API.holdGuest, { params, body: { ...common, hold: '1h' } });
    const until = new Date(clock.now() + 3_600_000).toISOString();
    expect(held.hold).toMatchObject({ until, reason: 'held by anna' });
    expect((await client.call(API.resumeGuest, { params, body: common })).hold).toBeNull();
    const twice = { for: '1h', hold: '2h' };
    await expect(client.call(API.holdGuest, { params, body: twice })).rejects.toMatchObject({
      code: 'invalid_request',
      message: expect.stringContaining('for and hold'),
    });
  });

  test('what is not known is neither held nor resumed, and nothing is noted of it', async () => {
    await using world = await openControlWorld({ guests: GUESTS });
    const { records } = world.journal.stats();
    const params = { ref: '999' };
    const refused = { code: 'not_found', message: expect.stringContaining('999') };
    await expect(world.client.call(API.holdGuest, { params })).rejects.toMatchObject(refused);
    await expect(world.client.call(API.resumeGuest, { params })).rejects.toMatchObject(refused);
    expect(world.journal.stats().records).toBe(records);
  });

  test('a wanted guest is held also while the node cannot be looked at, another is not', async () => {
    await using world = await openControlWorld({
      guests: GUESTS,
      desired: { 102: { power: 'running', mode: 'observe' } },
      isBlind: true,
    });
    const hold = (ref: string) => world.client.call(API.holdGuest, { params: { ref } });
    const unseen = { code: 'service_unavailable', message: expect.stringContaining('not known') };
    await expect(hold('102')).rejects.toMatchObject(unseen);
    const isAsked = Promise.withResolvers<void>();
    const answer = Promise.withResolvers<ActualState>();
    world.api.observe = () => {
      isAsked.resolve();
      return answer.promise;
    };
    const pass = world.engine.pass();
    await isAsked.promise;
    expect(await hold('102')).toMatchObject({
      vmid: 102,
      desired: { power: 'running', mode: 'observe' },
      actual: null,
      status: 'unknown',
      hold: { until: null },
    });
    await expect(hold('101')).rejects.toMatchObject(unseen);
    expect([...world.journal.ledger.holds().keys()]).toEqual([102]);
    answer.reject(new Error('over'));
    await expect(pass).rejects.toThrow('over');
  });

  test.each(['104000000d', '367d', '0s'])('a hold of %s is none, nor is a pause', async (time) => {
    await using world = await openControlWorld({ guests: GUESTS });
    const { records } = world.journal.stats();
    const params = { ref: '101' };
    const refused = { code: 'invalid_request', message: expect.stringContaining('366d') };
    const { client } = world;
    const bodies = { for: { for: time }, hold: { hold: time } };
    await expect(client.call(API.holdGuest, { params, body: bodies.for })).rejects.toMatchObject(
      refused,
    );
    await expect(client.call(API.stopGuest, { params, body: bodies.hold })).rejects.toMatchObject(
      refused,
    );
    await expect(client.call(API.pause, { body: bodies.for })).rejects.toMatchObject(refused);
    expect(world.journal.stats().records).toBe(records);
    expect(world.errors).toEqual([]);
  });

  test('what a journal holds of times beyond all dates is shown as the last there is', async () => {
    await using world = await openControlWorld({
      guests: GUESTS,
      desired: { 101: { power: 'stopped' } },
    });
    const untilMs = world.clock.now() + 104_000_000 * 86_400_000;
    const { ledger } = world.journal;
    await ledger.note({ kind: 'hold', hold: { vmid: vmidOf(101), untilMs, reason: 'held' } });
    await ledger.note({ kind: 'pause', pause: { untilMs, reason: 'paused' } });
    const until = '9999-12-31T23:59:59.999Z';
    const { client } = world;
    expect(await client.call(API.getGuest, { params: { ref: '101' } })).toMatchObject({
      hold: { until },
    });
    expect(await client.call(API.getAgent)).toMatchObject({ pause: { until } });
    const plan = await untilAnswered(world, client.call(API.getPlan));
    expect(plan.guests[0]?.conditions).toContainEqual(expect.objectContaining({ until }));
  });

  test('a guest that is not here is not found, also before the first look', async () => {
    await using world = await openControlWorld({ guests: GUESTS, isBlind: true });
    const started = world.client.call(API.startGuest, { params: { ref: '999' } });
    started.catch(() => undefined);
    // The engine looks for it at the node: that takes a moment there.
    await expect(untilAnswered(world, started)).rejects.toMatchObject({ code: 'not_found' });
  });
});

function vmidOf(number: number) {
  const vmid = parseVmid(number);
  if (vmid === null) throw new Error(`not a vmid: ${number}`);
  return vmid;
}

function correlationOf(text: string) {
  const id = parseCorrelationId(text);
  if (id === null) throw new Error(`not a correlation id: ${text}`);
  return id;
}
