/** The door for signed ops over HTTP: what is refused and how, and who holds nobody up. */
import { createPublicKey } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer, get, type IncomingMessage } from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { boundConnections, type ConnectionBounds } from '../../../src/agent/control/connections.ts';
import { statusOf } from '../../../src/agent/control/problem.ts';
import { ERROR_CODES, type ErrorCode } from '../../../src/reconcile/errors.ts';
import { BAD_ENVELOPES, DESIRED, RING, sealed } from './bad-envelopes.ts';
import { type Door, openDoor } from './door.ts';
import { signerOf, TestRing } from './signing.ts';

const FIXTURES: {
  readonly keys: Readonly<Record<string, { readonly public: string }>>;
  readonly envelopes: Readonly<Record<string, object>>;
} = JSON.parse(
  readFileSync(new URL('../../fixtures/dsse/envelopes.json', import.meta.url), 'utf8'),
);

describe('an envelope that is wrong', () => {
  let door: Door;
  beforeAll(async () => {
    door = await openDoor(new TestRing(RING));
    door.agent.desired.put('desired.yaml', DESIRED);
    await door.agent.engine.pass({ isFull: true });
    await door.agent.engine.idle();
  });
  afterAll(() => door[Symbol.asyncDispose]());

  test.each(BAD_ENVELOPES)('%s: %s, and nothing comes of it', async (_name, code, bytes) => {
    const { agent } = door;
    const [records, sent] = [agent.journal.stats().records, agent.node.sent.length];
    const { status, headers, text: body } = await door.post(bytes);
    expect(headers['content-type']).toMatch(/^application\/problem\+json/);
    expect(JSON.parse(body)).toMatchObject({ code, status, request_id: expect.any(String) });
    expect(status).toBe(bytes.length > 256 * 1024 ? 413 : statusOf(code as ErrorCode));
    expect(body).not.toMatch(/\bat \S+ \(|\.[tj]s\b|node:/);
    expect(agent.journal.stats().records).toBe(records);
    expect(agent.node.sent).toHaveLength(sent);
    expect(door.errors).toEqual([]);
  });

  test('what the intake refused is told of by what its sender was told', async () => {
    const { text: body } = await door.post(sealed({ agent: 'pve9' }));
    const { code, detail, request_id } = JSON.parse(body);
    expect(door.refusals.at(-1)).toEqual({
      code,
      message: detail,
      keyids: ['hub-1'],
      peer: '127.0.0.1',
      ids: { request_id },
    });
  });

  test('10 MB that do not say how much they are', async () => {
    async function* much() {
      for (let count = 0; count < 160; count += 1) yield Buffer.alloc(64 * 1024, 97);
    }
    // The answer comes while it is being sent; who does not read it meanwhile sees a reset.
    const outcome = await door.post(Readable.from(much())).catch((error: unknown) => error);
    if (outcome instanceof Error) expect(outcome.message).toMatch(/closed|EPIPE|ECONNRESET/);
    else expect(outcome).toMatchObject({ status: 413 });
    expect(door.accepted()).toBeLessThan(BAD_ENVELOPES.length + 1);
  });
});

describe('bytes that are no request, or two at once', () => {
  let door: Door;
  beforeAll(async () => {
    door = await openDoor(new TestRing(RING));
  });
  afterAll(() => door[Symbol.asyncDispose]());

  const envelope = sealed({}).toString();
  const head = (...lines: string[]): string =>
    ['POST /v1/ops HTTP/1.1', 'host: agent', ...lines, '', ''].join('\r\n');

  test.each<[string, string, number]>([
    [
      'a length and a transfer coding',
      `${head('content-length: 5', 'transfer-encoding: chunked')}0\r\n\r\n${head()}`,
      400,
    ],
    ['two lengths', `${head('content-length: 5', 'content-length: 6')}12345`, 400],
    ['a length with a sign', `${head('content-length: +5')}12345`, 400],
    ['a coding that only looks like one', `${head('transfer-encoding: xchunked')}0\r\n\r\n`, 400],
    [
      'a chunk size that is none',
      `${head('transfer-encoding: chunked')}5 x\r\n12345\r\n0\r\n\r\n`,
      400,
    ],
    ['a folded header', head('x-a: b', ' c: d'), 400],
    ['a blank before the colon', head('content-length : 5'), 400],
    ['line feeds alone', 'POST /v1/ops HTTP/1.1\nhost: agent\ncontent-length: 0\n\n', 400],
    ['a NUL in a header', head('x-a: \0'), 400],
    ['no host', 'POST /v1/ops HTTP/1.1\r\ncontent-length: 0\r\n\r\n', 400],
    ['HTTP/2', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 400],
    ['TLS', '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03', 400],
    ['headers without an end', head(`x-a: ${'a'.repeat(20_000)}`), 431],
  ])('%s', async (_name, bytes, status) => {
    const before = door.accepted();
    const socket = door.dial();
    socket.write(bytes, 'latin1');
    const answer = await text(socket);
    expect(answer).toMatch(new RegExp(`^HTTP/1.1 ${status} `));
    if (answer.includes('problem+json')) {
      expect(ERROR_CODES).toContain(JSON.parse(answer.split('\r\n\r\n')[1] ?? '').code);
    }
    expect(door.accepted()).toBe(before);
  });

  test('one request after the other on a connection are two', async () => {
    const socket = door.dial();
    const one = `${head(`content-length: ${envelope.length}`)}${envelope}`;
    socket.write(one + one.replace('host: agent', 'host: agent\r\nconnection: close'));
    const answer = await text(socket);
    expect(answer.match(/HTTP\/1.1 20\d/g)).toEqual(['HTTP/1.1 202', 'HTTP/1.1 200']);
    await door.agent.engine.idle();
    expect(door.agent.node.sent).toEqual(['start 101']);
  });
});

test('envelopes of an independent signer are taken in, and one op each', async () => {
  const ring = ['hub-1', 'hub-2'].map((keyid) =>
    signerOf({ keyid, publicKey: createPublicKey(FIXTURES.keys[keyid]?.public ?? '') }),
  );
  await using door = await openDoor(new TestRing(ring));
  const statuses = async (name: string): Promise<number[]> => {
    const body = Buffer.from(JSON.stringify(FIXTURES.envelopes[name]));
    return [(await door.post(body)).status, (await door.post(body)).status];
  };
  expect(await statuses('one_signature')).toEqual([202, 200]);
  expect(await statuses('two_signatures')).toEqual([202, 200]);
  expect(await statuses('stranger')).toEqual([403, 403]);
});

test('a crowd that says nothing, or half of something, keeps nobody out', async () => {
  await using door = await openDoor(new TestRing(RING));
  const crowd: Socket[] = [];
  for (let count = 0; count < 700; count += 1) {
    const socket = door.dial().on('error', () => undefined);
    if (count % 2 === 0)
      socket.write('POST /v1/ops HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\n{');
    crowd.push(socket);
  }
  await once(crowd.at(-1) ?? fail(), 'connect');
  expect((await door.post(sealed({}))).status).toBe(202);
  for (const socket of crowd) socket.destroy();
});

function fail(): never {
  throw new Error('nobody came');
}

test('at the bound who is waited for longest gives way, and whoever is being answered stays', async () => {
  const server = createServer((_request, response) => {
    response.writeHead(200).write('and on');
  });
  boundConnections(server, { max: 3, stillMs: 0 });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const closed: string[] = [];
  const dial = async (name: string): Promise<Socket> => {
    const socket = connect({ host: '127.0.0.1', port });
    socket.on('close', () => closed.push(name)).on('error', () => undefined);
    await once(socket, 'connect');
    return socket;
  };
  const first = await dial('first');
  const [stream] = await once(get({ port, host: '127.0.0.1', agent: false }), 'response');
  const second = await dial('second');
  const third = await dial('third');
  if (!first.destroyed) await once(first, 'close');
  const fourth = await dial('fourth');
  if (!second.destroyed) await once(second, 'close');
  expect(closed).toEqual(['first', 'second']);
  expect((stream as IncomingMessage).destroyed).toBe(false);
  for (const socket of [third, fourth]) socket.destroy();
  (stream as IncomingMessage).destroy();
  await new Promise((resolve) => server.close(resolve));
});

/** More than the kernel keeps between two ends of a connection. */
const LARGE = Buffer.alloc(16 * 1024 * 1024);

/**
 * Answers `/large` at once and `/never` not at all; `/stream` has no end. `ask` sends requests, reads nothing, and says
 * when the server has closed the connection.
 */
async function openUnread(bounds: ConnectionBounds) {
  const server = createServer((request, response) => {
    if (request.url === '/stream') response.write(LARGE);
    else if (request.url !== '/never') response.end(request.url === '/large' ? LARGE : 'ok');
  });
  server.keepAliveTimeout = bounds.stillMs;
  boundConnections(server, bounds);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const sockets: Socket[] = [];
  return {
    async ask(...paths: string[]): Promise<{ farEnd: Socket; gone: Promise<unknown> }> {
      const accepted = once(server, 'connection');
      const socket = connect({ host: '127.0.0.1', port }).on('error', () => undefined);
      sockets.push(socket.pause());
      const [farEnd] = (await accepted) as [Socket];
      const gone = once(farEnd, 'close');
      let asked = 0;
      const all = new Promise<void>((resolve) => {
        server.on('request', ({ socket: from }) => {
          if (from !== farEnd) return;
          asked += 1;
          if (asked === paths.length) resolve();
        });
      });
      socket.write(paths.map((path) => `GET ${path} HTTP/1.1\r\nhost: a\r\n\r\n`).join(''));
      await all;
      return { farEnd, gone };
    },
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

test('answers that nobody reads give way, and those that are worked on do not', async () => {
  await using world = await openUnread({ max: 3, stillMs: 0 });
  const working = await world.ask('/never', '/small');
  const unread = await world.ask('/large');
  const pipelined = await world.ask('/small', '/large', '/small', '/small');
  for (let count = 0; count < 2; count += 1) await world.ask('/never');
  await Promise.all([unread.gone, pipelined.gone]);
  expect(working.farEnd.destroyed).toBe(false);
});

test('an answer on which nothing moves is given up, one that is worked on is waited for', async () => {
  await using world = await openUnread({ max: 512, stillMs: 50 });
  const working = await world.ask('/never');
  const unread = await world.ask('/large', '/small');
  const idle = await world.ask('/small');
  const stream = await world.ask('/stream');
  await Promise.all([unread.gone, idle.gone, stream.gone]);
  expect(working.farEnd.destroyed).toBe(false);
});
