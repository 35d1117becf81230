/** The event stream: order, resuming, what begins it, and readers that go away. */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { Agent, Client, type Dispatcher, request } from 'undici';
import { expect, test } from 'vitest';
import { API } from '../../../src/agent/control/api.ts';
import { connectToAgent } from '../../../src/agent/control/client.ts';
import { readServerEvents, type ServerEvent } from '../../../src/agent/control/server-events.ts';
import { opStory } from '../../support/journal-script.ts';
import { type ControlWorld, openControlWorld } from './control-world.ts';

const GUESTS = { 101: { running: true }, 102: {}, 103: {} } as const;

/** What comes until `isEnough`, on a connection of its own. */
async function collect(
  world: ControlWorld,
  isEnough: (event: ServerEvent) => boolean,
  options: { readonly types: readonly string[]; readonly lastId?: string },
): Promise<ServerEvent[]> {
  const events: ServerEvent[] = [];
  const stop = new AbortController();
  for await (const event of await world.client.openEvents({ ...options, signal: stop.signal })) {
    events.push(event);
    if (isEnough(event)) break;
  }
  return events;
}

/** The first chunk of the records behind that seq; no more is read. */
function writeAndWait(socket: Socket, seq: number): Promise<unknown[]> {
  const chunk = once(socket, 'data');
  socket.once('data', () => socket.pause());
  const head = `host: agent\r\nlast-event-id: ${seq}\r\nconnection: close`;
  socket.write(`GET /v1/events?types=op HTTP/1.1\r\n${head}\r\n\r\n`);
  return chunk;
}

async function runStart(world: ControlWorld, ref: string): Promise<string> {
  const op = await world.client.call(API.startGuest, { params: { ref } });
  await world.clock.until(world.engine.idle(), 60_000);
  return op.op_id;
}

const isStarting = ({ data }: ServerEvent): boolean => JSON.parse(data).phase === 'starting';

const seqsOf = (events: readonly ServerEvent[]): number[] =>
  events.map(({ data }) => JSON.parse(data).seq);

test('each record comes once, in order, with its seq as id', async () => {
  await using world = await openControlWorld({ guests: GUESTS });
  const collected = collect(world, ({ data }) => JSON.parse(data).state === 'succeeded', {
    types: ['op'],
  });
  const opId = await runStart(world, '102');
  const events = await collected;
  expect(events.map(({ data }) => JSON.parse(data).state)).toEqual([
    'received',
    'started',
    'task_running',
    'succeeded',
  ]);
  expect(new Set(events.map(({ data }) => JSON.parse(data).op_id))).toEqual(new Set([opId]));
  expect(events.map(({ id }) => Number(id))).toEqual(seqsOf(events));
});

test('a reader that comes back is given what it has missed, and then what follows', async () => {
  await using world = await openControlWorld({ guests: GUESTS });
  await runStart(world, '102');
  const all = await collect(world, ({ data }) => JSON.parse(data).state === 'succeeded', {
    types: ['op'],
    lastId: '0',
  });
  expect(all).toHaveLength(4);
  const second = all[1];
  const rest = collect(world, ({ data }) => JSON.parse(data).vmid === 103, {
    types: ['op'],
    lastId: second?.id ?? '',
  });
  await runStart(world, '103');
  const events = await rest;
  const missed = seqsOf(all).slice(2);
  expect(seqsOf(events).slice(0, 2)).toEqual(missed);
  expect(events).toHaveLength(3);
});

test('a stream begins with every guest, and tells of each one that changes', async () => {
  await using world = await openControlWorld({ guests: GUESTS });
  const collected = collect(world, isStarting, { types: ['guest'] });
  await world.client.call(API.getHealth);
  const stop = world.client.call(API.startGuest, { params: { ref: '103' } });
  await stop;
  await world.clock.advanceTo(world.clock.elapsedMs + 100);
  const events = (await collected).map(({ data }) => JSON.parse(data));
  expect(events.slice(0, 3).map(({ vmid }) => vmid)).toEqual([101, 102, 103]);
  expect(events.at(-1)).toMatchObject({ vmid: 103, phase: 'starting' });
  expect(events).toHaveLength(4);
});

test('a round in which all guests change cuts off nobody who reads, however many streams there are', async () => {
  const vmids = Array.from({ length: 2_000 }, (_, index) => 101 + index);
  const guests = Object.fromEntries(vmids.map((vmid) => [vmid, {}]));
  await using world = await openControlWorld({ guests });
  await using streams = new AsyncDisposableStack();
  const { signal } = new AbortController();
  for (let count = 0; count < 63; count += 1) {
    await streams.use(connectToAgent(world.socket)).openEvents({ types: ['pass'], signal });
  }
  const events = await world.client.openEvents({ types: ['guest'], signal });
  const take = async (): Promise<unknown[]> => {
    const all = await Promise.all(vmids.map(() => events.next()));
    return all.map(({ value, done }) => (done === true ? 'cut' : JSON.parse(value.data).vmid));
  };
  expect(await take()).toEqual(vmids);
  for (const vmid of vmids) world.node.guest(vmid).power = 'running';
  await world.pass();
  await world.clock.advanceTo(world.clock.elapsedMs + 100);
  expect(await take()).toEqual(vmids);
});

test('a guest that is on the node no more is told of as gone', async () => {
  await using world = await openControlWorld({ guests: GUESTS });
  const collected = collect(world, ({ data }) => JSON.parse(data).gone === true, {
    types: ['guest'],
  });
  await world.client.call(API.getHealth);
  world.node.guests.delete(world.node.guest(102).vmid);
  await world.pass();
  await world.clock.advanceTo(world.clock.elapsedMs + 100);
  expect(JSON.parse((await collected).at(-1)?.data ?? '')).toEqual({ vmid: 102, gone: true });
});

test('a round that fails is reported, and the next one tells what it has missed', async () => {
  await using world = await openControlWorld({ guests: GUESTS });
  const collected = collect(world, ({ data }) => JSON.parse(data).gone === true, {
    types: ['guest'],
  });
  await world.client.call(API.getHealth);
  const waits = world.engine.waits.bind(world.engine);
  const round = async (): Promise<void> => {
    await world.pass();
    await world.clock.advanceTo(world.clock.elapsedMs + 100);
  };
  world.engine.waits = () => {
    throw new Error('no round');
  };
  world.node.guests.delete(world.node.guest(102).vmid);
  await round();
  expect(world.errors).toEqual([new Error('no round')]);
  world.engine.waits = waits;
  await round();
  expect(JSON.parse((await collected).at(-1)?.data ?? '')).toEqual({ vmid: 102, gone: true });
});

test('a reader that is ahead of the journal starts anew, and misses nothing of it', async () => {
  await using world = await openControlWorld({ guests: GUESTS });
  const collected = collect(world, ({ type }) => type === 'op', { types: ['op'], lastId: '5000' });
  await world.client.call(API.getHealth);
  await runStart(world, '102');
  const [first, second] = await collected;
  expect(first).toMatchObject({ type: 'reset' });
  expect(JSON.parse(second?.data ?? '')).toMatchObject({ vmid: 102, state: 'received' });
});

test('one stream more than there may be is refused, with the next step; the socket has room', async () => {
  const listen = { host: '127.0.0.1', port: 0 };
  await using world = await openControlWorld({ guests: GUESTS, addresses: { listen } });
  const client = new Agent();
  const begin = (): Promise<Dispatcher.ResponseData> =>
    request(`http://127.0.0.1:${world.server.ports.listen}/v1/events`, { dispatcher: client });
  await Promise.all(Array.from({ length: 64 }, begin));
  const refused = await begin();
  expect(refused).toMatchObject({ statusCode: 503, headers: { 'retry-after': '10' } });
  expect(await refused.body.json()).toMatchObject({
    code: 'service_unavailable',
    detail: expect.stringContaining('too many event streams'),
    hint: expect.stringContaining('close'),
  });
  expect(await collect(world, () => true, { types: ['guest'] })).toHaveLength(1);
  await client.destroy();
});

test('a connection has one stream: what asks for another behind it is cut off', async () => {
  await using world = await openControlWorld({ guests: GUESTS });
  const head = 'GET /v1/events HTTP/1.1\r\nhost: agent\r\n\r\n';
  const socket = connect(world.socket);
  socket.resume().write(head.repeat(3));
  await once(socket, 'close');
  expect(await collect(world, () => true, { types: ['guest'] })).toHaveLength(1);
});

test('a stream cannot be asked for without its body', async () => {
  await using world = await openControlWorld();
  const client = new Client('http://agent', { socketPath: world.socket });
  const { statusCode } = await client.request({ method: 'HEAD', path: '/v1/events' });
  expect(statusCode).toBe(404);
  await client.destroy();
});

test('a pass is told of after all guests, also one that ends while they are', async () => {
  await using world = await openControlWorld({ guests: GUESTS });
  await runStart(world, '102');
  await world.pass();
  const isOfPass = ({ type }: ServerEvent): boolean => type === 'pass';
  const events = await collect(world, isOfPass, { types: ['op', 'guest', 'pass'], lastId: '0' });
  const order = [...Array(4).fill('op'), ...Array(3).fill('guest'), 'pass'];
  expect(events.map(({ type }) => type)).toEqual(order);
});

test('a reader that is slow is given all it has missed, piece by piece', async () => {
  const listen = { host: '127.0.0.1', port: 0 };
  await using world = await openControlWorld({ guests: GUESTS, addresses: { listen } });
  const before = world.journal.stats().nextSeq;
  const stories = Array.from({ length: 1_500 }, (_, index) => opStory(index + 1)).flat();
  await Promise.all(stories.map((record) => world.journal.ledger.append(record)));
  const last = world.journal.stats().nextSeq - 1;
  await world.server.close();
  await world.restartServer(listen);
  const socket = connect(world.socket);
  const [first] = await writeAndWait(socket, before - 1);
  // Whoever else reads the journal meanwhile is not kept waiting.
  const query = { limit: 1 };
  for (let count = 0; count < 50; count += 1) await world.client.call(API.listOps, { query });
  const seqs: number[] = [];
  const text = [String(first)];
  for await (const chunk of socket) {
    text.push(String(chunk));
    if (String(chunk).includes(`id: ${last}\n`)) break;
  }
  for (const [, seq] of text.join('').matchAll(/event: op\nid: (\d+)\n/g)) seqs.push(Number(seq));
  expect(seqs).toEqual(Array.from({ length: stories.length }, (_, index) => before + index));
});

test('a pass that was asked for is told of when planned and when its work is done', async () => {
  await using world = await openControlWorld({
    guests: GUESTS,
    desired: { 102: { power: 'running' }, 103: { power: 'unmanaged' } },
  });
  await world.clock.until(world.engine.idle(), 60_000);
  world.node.guest(102).power = 'stopped';
  const collected = collect(world, ({ data }) => JSON.parse(data).state === 'settled', {
    types: ['pass', 'op'],
  });
  await world.client.call(API.getHealth);
  const { pass_id } = await world.client.call(API.reconcile, { body: { refs: ['102'] } });
  await world.clock.advanceTo(world.clock.elapsedMs + 60_000);
  const events = (await collected).map(({ type, data }) => ({ type, ...JSON.parse(data) }));
  const own = events.filter((event) => event.pass_id === pass_id);
  expect(own.map(({ state }) => state)).toEqual(['planned', 'settled']);
  expect(own[0].work).toEqual([{ vmid: 102, actions: ['start'] }]);
  const ops = events.filter(({ type }) => type === 'op');
  expect(new Set(ops.map(({ correlation_id }) => correlation_id))).toEqual(new Set([pass_id]));
});

test('a pass that was asked for does not wait for the ops of other guests', async () => {
  await using world = await openControlWorld({
    guests: { ...GUESTS, 104: { lock: 'backup' } },
    desired: { 102: { power: 'running' } },
  });
  await world.clock.until(world.engine.idle(), 60_000);
  world.node.guest(102).power = 'stopped';
  await world.client.call(API.startGuest, { params: { ref: '104' } });
  const collected = collect(world, ({ data }) => JSON.parse(data).state === 'settled', {
    types: ['pass'],
  });
  await world.client.call(API.getHealth);
  await world.client.call(API.reconcile, { body: {} });
  await world.clock.advanceTo(world.clock.elapsedMs + 60_000);
  await collected;
  expect(world.journal.ledger.opsInFlight().map(({ first }) => first.vmid)).toEqual([104]);
});

test('a Last-Event-ID that is none, or types there are not, are refused', async () => {
  await using world = await openControlWorld();
  const signal = new AbortController().signal;
  for (const options of [{ types: ['op'], lastId: 'x' }, { types: ['ops'] }]) {
    const events = world.client.openEvents({ ...options, signal });
    await expect(events).rejects.toMatchObject({ code: 'invalid_request' });
  }
});

test('an end of the agent ends the stream', async () => {
  await using world = await openControlWorld();
  const { signal } = new AbortController();
  const events = await world.client.openEvents({ types: ['op'], signal });
  const next = events.next();
  await world.server.close();
  await expect(next).resolves.toMatchObject({ done: true });
});

test('an event cut at any byte is read the same', async () => {
  const text =
    'retry: 5\nid: 7\n\n: note\nevent: op\nid: 8\ndata: {"a":"ü"}\ndata: x\n\ndata:y\n\n';
  const bytes = Buffer.from(text);
  for (let cut = 0; cut <= bytes.length; cut += 1) {
    const events: ServerEvent[] = [];
    async function* chunks() {
      yield bytes.subarray(0, cut);
      yield bytes.subarray(cut);
    }
    for await (const event of readServerEvents(chunks(), { maxChars: 1_000 })) events.push(event);
    expect(events).toEqual([
      { type: 'op', data: '{"a":"ü"}\nx', id: '8' },
      { type: 'message', data: 'y', id: '8' },
    ]);
  }
});
