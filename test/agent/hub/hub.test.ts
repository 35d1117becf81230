/** An agent and a hub over real sockets: what arrives, in which order, and what a bad hub can do. */
import { expect, test } from 'vitest';
import { createAuthority } from '../../simulator/certificates.ts';
import { HubWorld } from './hub-world.ts';

const RECEIPT = 'application/vnd.pve-reconciler.receipt.v1+json';
const REFUSAL = 'application/vnd.pve-reconciler.refusal.v1+json';

test('an op arrives, is done, and its receipt is the record of its end', async () => {
  await using world = await HubWorld.start();
  const { hub, agent } = world;
  hub.send(world.sign({ idemp_key: 'a', vmid: 101 }));
  await hub.until(() => hub.receipts.length === 1);
  expect(agent.node.sent).toEqual(['start 101']);
  const record = agent.opOf('a')?.latest;
  expect(hub.receipts).toEqual([{ payloadType: RECEIPT, payload: { agent: 'pve1', ...record } }]);
  expect(record).toMatchObject({
    state: 'succeeded',
    sum: expect.stringMatching(/^[0-9a-f]{32}$/),
  });
});

test('every op has its receipt, also those nobody signed, in the order of their ends', async () => {
  await using world = await HubWorld.start();
  const { hub, agent } = world;
  agent.desired.put('all.yaml', { 105: { power: 'running' } });
  await agent.engine.converge();
  hub.send(world.sign({ idemp_key: 'a', kind: 'restart', vmid: 105 }));
  await hub.until(() => hub.receipts.length === 4);
  const ends = hub.receipts.map(({ payload }) => [payload['origin'], payload['kind']].join(' '));
  expect(ends).toEqual(['reconcile start', 'hub stop', 'hub start', 'hub restart']);
});

test('a refused op is told of at once, and the ones behind it go on', async () => {
  await using world = await HubWorld.start();
  const { hub } = world;
  hub.send(world.sign({ idemp_key: 'a', vmid: 999 }));
  hub.send('{"payload":');
  hub.send(world.sign({ idemp_key: 'b', vmid: 102 }));
  await hub.until(() => hub.receipts.length === 3);
  const told = hub.receipts.map(({ payloadType, payload }) => [payloadType, payload]);
  expect(told).toMatchObject([
    [REFUSAL, { event_id: '1', error: { code: 'not_found' } }],
    [REFUSAL, { event_id: '2', error: { code: 'invalid_request' } }],
    [RECEIPT, { idemp_key: 'b', state: 'succeeded' }],
  ]);
});

test('after a restart the stream goes on where it was, and nothing is told twice', async () => {
  await using world = await HubWorld.start();
  const { hub, agent } = world;
  hub.send(world.sign({ idemp_key: 'a', vmid: 101 }));
  await hub.until(() => hub.receipts.length === 1 && agent.journal.hub().cursor === '1');
  await world.restart();
  hub.send(world.sign({ idemp_key: 'b', vmid: 102 }));
  await hub.until(() => hub.receipts.length === 2);
  expect(hub.cursors.at(-1)).toBe('1');
  expect(agent.node.sent).toEqual(['start 101', 'start 102']);
});

test('a hub that has lost its place and sends all again changes nothing', async () => {
  await using world = await HubWorld.start();
  const { hub, agent } = world;
  const text = world.sign({ idemp_key: 'a', vmid: 101 });
  for (const id of ['1', '2', '1', '3']) hub.send(text, id);
  hub.send(world.sign({ idemp_key: 'b', vmid: 102 }), '4');
  await hub.until(() => hub.receipts.length === 2);
  expect(agent.node.sent).toEqual(['start 101', 'start 102']);
});

test.each<[string, (world: HubWorld) => void]>([
  [
    'cuts the stream in an event',
    ({ hub }) => (hub.sendRaw('id: 9\ndata: {"pay'), hub.cutStreams()),
  ],
  ['says nothing any more', ({ hub }) => (hub.isSilent = true)],
  ['sends an event without an end', ({ hub }) => hub.sendRaw(`data: ${'x'.repeat(600_000)}`)],
  [
    'sends lines without an end of the event',
    ({ hub }) => hub.sendRaw(`data: ${'x'.repeat(1_000)}\n`.repeat(600)),
  ],
])('a hub that %s is connected to anew, and ops arrive', async (_name, misbehave) => {
  await using world = await HubWorld.start();
  const { hub, agent } = world;
  await hub.until(() => world.service.state().kind === 'open');
  misbehave(world);
  await hub.until(() => hub.cursors.length >= 2);
  hub.isSilent = false;
  hub.send(world.sign({ idemp_key: 'a', vmid: 101 }));
  await hub.until(() => hub.receipts.length === 1);
  expect(agent.node.sent).toEqual(['start 101']);
});

test.each<[string, number, Record<string, string>]>([
  ['an error', 503, {}],
  ['a redirect', 302, { location: 'https://127.0.0.1:1/' }],
  ['a page', 200, { 'content-type': 'text/html' }],
])('%s instead of a stream is tried again, not followed', async (_name, status, headers) => {
  await using world = await HubWorld.start();
  const { hub, agent } = world;
  let left = 3;
  hub.intercept = (request, response) => {
    if (left === 0 || request.method !== 'GET') return false;
    left -= 1;
    response.writeHead(status, headers).end('sorry');
    return true;
  };
  hub.cutStreams();
  await hub.until(() => left === 0);
  hub.send(world.sign({ idemp_key: 'a', vmid: 101 }));
  await hub.until(() => hub.receipts.length === 1);
  expect(agent.node.sent).toEqual(['start 101']);
});

test('receipts wait for a hub that takes none, and all come, in order', async () => {
  await using world = await HubWorld.start();
  const { hub } = world;
  let refusals = 0;
  hub.intercept = (request, response) => {
    if (request.method !== 'POST' || refusals === 3) return false;
    refusals += 1;
    response.writeHead(500).end();
    return true;
  };
  for (const vmid of [101, 102, 103]) hub.send(world.sign({ idemp_key: `${vmid}`, vmid }));
  await hub.until(() => hub.receipts.length === 3);
  const seqs = hub.receipts.map(({ payload }) => Number(payload['seq']));
  expect(seqs).toEqual(seqs.toSorted((a, b) => a - b));
});

test('an op that cannot be taken now is asked for again, and the ones behind it wait', async () => {
  await using world = await HubWorld.start();
  const { hub, agent } = world;
  const [first, second] = [101, 102].map((vmid) => world.sign({ idemp_key: `${vmid}`, vmid }));
  const isDeferred = (): boolean => {
    const state = world.service.state();
    return state.kind === 'waiting' && state.because.kind === 'deferred';
  };
  agent.clock.stepWall(-10 * 3_600_000);
  hub.send(first ?? '');
  hub.send(second ?? '');
  await hub.until(isDeferred);
  expect(agent.journal.hub().cursor).toBeNull();
  expect(hub.receipts).toEqual([]);
  agent.clock.stepWall(10 * 3_600_000);
  await hub.until(() => hub.receipts.length === 2);
  expect(agent.node.sent).toEqual(['start 101', 'start 102']);
});

test('an op for a full lane is refused, and the ones behind it go on', async () => {
  await using world = await HubWorld.start();
  const { hub, agent } = world;
  const { node } = agent;
  await agent.engine.pass({ isFull: true });
  const open = Promise.withResolvers<void>();
  node.gate = open.promise;
  const envelopes = Array.from({ length: 40 }, (_, index) =>
    world.sign({ idemp_key: `full-${index}`, vmid: 101 }),
  );
  for (const envelope of envelopes) hub.send(envelope);
  hub.send(world.sign({ idemp_key: 'behind', vmid: 102 }));
  await hub.until(() => agent.opOf('behind') !== null);
  const refused = hub.receipts.map(({ payload }) => payload);
  expect(refused.length).toBeGreaterThan(0);
  for (const each of refused) expect(each).toMatchObject({ error: { code: 'queue_full' } });
  open.resolve();
  await agent.engine.idle();
  const again = Number(refused[0]?.['event_id']) - 1;
  expect(agent.opOf(`full-${again}`)).toBeNull();
  hub.send(envelopes[again] ?? '');
  await hub.until(() => agent.opOf(`full-${again}`)?.latest.state === 'succeeded');
});

test('a hub that takes no refusals does not hold up what is behind one', async () => {
  await using world = await HubWorld.start();
  const { hub, agent } = world;
  let isFirst = true;
  hub.intercept = (request, response) => {
    if (request.method !== 'POST' || !isFirst) return false;
    isFirst = false;
    response.writeHead(404).end();
    return true;
  };
  hub.send(world.sign({ idemp_key: 'a', vmid: 999 }));
  hub.send(world.sign({ idemp_key: 'b', vmid: 101 }));
  await hub.until(() => hub.receipts.length === 1);
  expect(agent.node.sent).toEqual(['start 101']);
});

test('each request for the stream says whose it is, signed, for this hub and for a minute', async () => {
  await using world = await HubWorld.start();
  const { hub } = world;
  await hub.until(() => world.service.state().kind === 'open');
  hub.cutStreams();
  await hub.until(() => hub.askers.length === 2);
  for (const asker of hub.askers) {
    expect(asker).toEqual({
      agent: 'pve1',
      hub: hub.url,
      issued_at: expect.any(String),
      expires_at: expect.any(String),
    });
    const [from, to] = [asker['issued_at'], asker['expires_at']].map((at) =>
      Date.parse(String(at)),
    );
    expect(Number(to) - Number(from)).toBe(60_000);
    expect(Math.abs(Number(from) - world.agent.clock.now())).toBeLessThan(3_600_000);
  }
  expect(hub.askers[0]).not.toEqual(hub.askers[1]);
});

test('a certificate of another authority is not connected to', async () => {
  await using world = await HubWorld.start();
  await world.service.stop();
  await world.connect(createAuthority().certificatePem);
  await world.hub.until(() => world.service.state().kind === 'waiting');
  expect(world.service.state()).toMatchObject({
    because: { kind: 'unreachable', isUntrusted: true },
  });
});

test('a hub that cannot be reached is a line for each reason, not for each try', async () => {
  await using world = await HubWorld.start();
  const { hub } = world;
  await hub.until(() => hub.cursors.length === 1);
  const answers = [503, 503, 503, 403, 403];
  hub.intercept = (_request, response) => {
    const status = answers.shift();
    if (status !== undefined) response.writeHead(status).end();
    return status !== undefined;
  };
  hub.cutStreams();
  await hub.until(() => hub.cursors.length === 2);
  expect(answers).toEqual([]);
  expect(world.warnings).toEqual([503, 403].map((status) => expect.stringContaining(`${status}`)));
});
