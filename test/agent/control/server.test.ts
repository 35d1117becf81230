/** The listeners: who may reach what, what is refused and how, and how they end. */
import { once } from 'node:events';
import { mkdtemp, rename, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Client, request } from 'undici';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { API } from '../../../src/agent/control/api.ts';
import { connectToAgent } from '../../../src/agent/control/client.ts';
import { listenOnSocket } from '../../../src/agent/control/listening.ts';
import { openApiDocument } from '../../../src/agent/control/openapi.ts';
import { parseOpId } from '../../../src/reconcile/ids.ts';
import { openControlWorld, untilAnswered } from './control-world.ts';

const LOOPBACK = { host: '127.0.0.1', port: 0 };
const GUESTS = { 101: { running: true } } as const;

interface Reply {
  readonly status: number;
  readonly headers: Readonly<Record<string, unknown>>;
  readonly body: unknown;
}

interface Asking {
  readonly method?: 'GET' | 'POST';
  readonly headers?: Record<string, string>;
  readonly body?: string;
}

async function ask(port: number | null, path: string, options: Asking = {}): Promise<Reply> {
  const { statusCode, headers, body } = await request(`http://127.0.0.1:${port}${path}`, options);
  const text = await body.text();
  return { status: statusCode, headers, body: text.startsWith('{') ? JSON.parse(text) : text };
}

/** On the socket, as curl would. */
async function askOnSocket(socket: string, path: string, options: Asking = {}): Promise<Reply> {
  const client = new Client('http://agent', { socketPath: socket });
  try {
    const { statusCode, headers, body } = await client.request({ method: 'GET', path, ...options });
    const text = await body.text();
    return { status: statusCode, headers, body: text.startsWith('{') ? JSON.parse(text) : text };
  } finally {
    await client.destroy();
  }
}

describe('the unix socket', () => {
  let folder = '';
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'socket-'));
  });
  afterEach(() => rm(folder, { recursive: true }));

  test('is 0660 and gone with the agent; the umask of the process is as it was', async () => {
    const usual = process.umask();
    const world = await openControlWorld();
    const { mode } = await stat(world.socket);
    expect((mode & 0o777).toString(8)).toBe('660');
    expect(process.umask()).toBe(usual);
    await world[Symbol.asyncDispose]();
    await expect(stat(world.socket)).rejects.toMatchObject({ code: 'ENOENT' });
  });

  test('left behind by a dead agent is replaced', async () => {
    const path = join(folder, 'agent.sock');
    const dead = createServer().listen(join(folder, 'first.sock'));
    await once(dead, 'listening');
    // Node removes the file it made: under another name it stays, as after kill -9.
    await rename(join(folder, 'first.sock'), path);
    dead.close();
    await once(dead, 'close');
    await using world = await openControlWorld({ addresses: { socket: path } });
    await using client = connectToAgent(path);
    await expect(client.call(API.getHealth)).resolves.toEqual({ status: 'ok' });
    expect(world.errors).toEqual([]);
  });

  test('of a process that answers nobody is replaced, and outlives that one', async () => {
    const path = join(folder, 'agent.sock');
    // As of one that is stopped: the kernel takes connections on its behalf.
    const silent = createServer((connection) => connection.resume());
    await listenOnSocket(silent, path);
    await using world = await openControlWorld({ addresses: { socket: path } });
    silent.close();
    await once(silent, 'close');
    await using client = connectToAgent(path);
    await expect(client.call(API.getHealth)).resolves.toEqual({ status: 'ok' });
    expect(world.errors).toEqual([]);
  });

  test('of a live agent, or what is no socket, is refused and left alone', async () => {
    await using world = await openControlWorld();
    const file = join(folder, 'file');
    await writeFile(file, 'mine');
    const link = join(folder, 'link');
    await symlink(file, link);
    for (const path of [world.socket, file, link, join(folder, 'x'.repeat(120))]) {
      await expect(listenOnSocket(createServer(), path)).rejects.toMatchObject({
        code: 'config_invalid',
        message: expect.stringContaining(path),
      });
    }
    await expect(world.client.call(API.getHealth)).resolves.toEqual({ status: 'ok' });
  });

  test('without an agent behind it is service_unavailable, with how to start one', async () => {
    await using world = await openControlWorld();
    await world.server.close();
    await expect(world.client.call(API.getHealth)).rejects.toMatchObject({
      code: 'service_unavailable',
      hint: expect.stringContaining('systemctl start'),
    });
  });
});

describe('control.listen', () => {
  test.each(['127.0.0.1:9', 'localhost:8080', 'localhost', '[::1]:9', '127.9.9.9'])(
    'answers to the host %s',
    async (host) => {
      await using world = await openControlWorld({ addresses: { listen: LOOPBACK } });
      const reply = await ask(world.server.ports.listen, '/v1/guests', { headers: { host } });
      expect(reply.status).toBe(200);
    },
  );

  test.each(['evil.example', '127.0.0.1.evil.example', '10.0.0.1', 'localhost.evil', '[::2]', ''])(
    'is misdirected to under the host %j',
    async (host) => {
      await using world = await openControlWorld({ addresses: { listen: LOOPBACK } });
      for (const path of ['/v1/guests', '/', '/nothing', '/%zz', '/metrics']) {
        const reply = await ask(world.server.ports.listen, path, { headers: { host } });
        expect(reply.status).toBe(421);
      }
    },
  );

  test.each([
    { 'sec-fetch-site': 'cross-site' },
    { 'sec-fetch-site': 'same-site' },
    { origin: 'https://evil.example' },
    { origin: 'null' },
    { origin: 'http://localhost:1' },
  ])('refuses what another site sends: %j', async (headers) => {
    await using world = await openControlWorld({ addresses: { listen: LOOPBACK } });
    const reply = await ask(world.server.ports.listen, '/v1/guests', { headers });
    expect(reply).toMatchObject({ status: 403, body: { code: 'forbidden' } });
    expect(reply.headers).not.toHaveProperty('access-control-allow-origin');
  });

  test('takes no operator op, and says where they are taken', async () => {
    await using world = await openControlWorld({
      guests: GUESTS,
      addresses: { listen: LOOPBACK },
    });
    for (const { method, path, listeners } of Object.values(API)) {
      if (listeners.includes('listen')) continue;
      const url = path.replace('{ref}', '101').replace('{op_id}', 'a');
      const reply = await ask(world.server.ports.listen, url, { method });
      expect(reply, path).toMatchObject({ status: 403, body: { code: 'forbidden' } });
    }
    expect(world.journal.ledger.opsInFlight()).toEqual([]);
  });

  test('sends a policy under which nothing inline and nothing foreign runs', async () => {
    await using world = await openControlWorld({ addresses: { listen: LOOPBACK } });
    const { headers } = await ask(world.server.ports.listen, '/v1/guests');
    expect(headers['content-security-policy']).toContain("default-src 'none'");
    expect(headers['content-security-policy']).not.toContain('unsafe');
    expect(headers['x-content-type-options']).toBe('nosniff');
  });
});

describe('control.public', () => {
  test('has probes, metrics and signed ops, and nothing else', async () => {
    await using world = await openControlWorld({
      guests: GUESTS,
      addresses: { public: LOOPBACK },
      acceptEnvelope: async () => ({ kind: 'refused', code: 'invalid_request', message: 'no' }),
    });
    const { public: port } = world.server.ports;
    for (const path of ['/healthz', '/readyz', '/metrics']) {
      expect((await ask(port, path)).status, path).toBe(200);
    }
    const signed = await ask(port, '/v1/ops', { method: 'POST', body: '{}' });
    expect(signed).toMatchObject({
      status: 400,
      body: { code: 'invalid_request', hint: expect.stringContaining('envelope') },
    });
    const others = Object.values(API).filter(({ listeners }) => !listeners.includes('public'));
    const paths = [...others.map(({ path }) => path), '/', '/v1/events', '/v1/openapi.json'];
    for (const path of paths) {
      const url = path.replace('{ref}', '101').replace('{op_id}', 'a');
      const { status, body } = await ask(port, url);
      expect({ status, body }, path).toMatchObject({
        status: 404,
        body: { hint: expect.stringContaining('POST /v1/ops') },
      });
    }
  });
});

test.each<[string, 'listen' | 'public', string, Asking, RegExp]>([
  ['a route that public has not', 'public', '/v1/guests', {}, /^here are \/metrics, /],
  ['a route there is not', 'listen', '/v2', {}, /^GET \/v1\/openapi\.json /],
  ['a path that cannot be decoded', 'listen', '/%zz', {}, /^GET \/v1\/openapi\.json /],
  ['no envelope', 'public', '/v1/ops', { method: 'POST', body: '{}' }, /SECURITY\.md/],
])('the next step for %s is one for programs', async (_name, listener, path, asking, hint) => {
  const code = 'invalid_request';
  await using world = await openControlWorld({
    addresses: { [listener]: LOOPBACK },
    acceptEnvelope: async () => ({ kind: 'refused', code, message: 'no envelope' }),
  });
  const { body } = await ask(world.server.ports[listener], path, asking);
  expect(body).toMatchObject({ hint: expect.stringMatching(hint) });
});

describe('a request', () => {
  test.each<[string, string, Asking, number, string]>([
    ['for a route there is not', '/v2/ops', {}, 404, 'not_found'],
    ['for two slashes', '//', {}, 404, 'not_found'],
    ['for what would be another host', '//x:y/?z', {}, 404, 'not_found'],
    ['for a path that cannot be decoded', '/%zz', {}, 400, 'invalid_request'],
    ['for an op that cannot be decoded', '/v1/ops/%', {}, 400, 'invalid_request'],
    ['for a name that is too long', `/v1/guests/${'a'.repeat(300)}`, {}, 414, 'invalid_request'],
    ['with a query that is unknown', '/v1/ops?stat=all', {}, 400, 'invalid_request'],
    ['with a limit beyond all', '/v1/ops?limit=1001', {}, 400, 'invalid_request'],
    ['with a vmid that is none', '/v1/ops?vmid=7', {}, 400, 'invalid_request'],
    ['for an op there is not', '/v1/ops/aaaaaaaaaaaaaaaa', {}, 404, 'not_found'],
    [
      'with a field that is unknown',
      '/v1/guests/101/stop',
      json({ parms: {} }),
      400,
      'invalid_request',
    ],
    [
      'with a parameter that is unknown',
      '/v1/guests/101/stop',
      json({ params: { mode: 'kill' } }),
      400,
      'invalid_request',
    ],
    ['with a duration that is none', '/v1/pause', json({ for: '1 hour' }), 400, 'invalid_request'],
    [
      'with an actor of control characters only',
      '/v1/guests/101/start',
      json({ actor: '' }),
      400,
      'invalid_request',
    ],
    [
      'that is no JSON',
      '/v1/pause',
      { method: 'POST', body: '{', headers: { 'content-type': 'application/json' } },
      400,
      'invalid_request',
    ],
    [
      'that is too large',
      '/v1/pause',
      json({ actor: 'x'.repeat(300_000) }),
      413,
      'invalid_request',
    ],
    [
      'with headers that are too large',
      '/v1/ops',
      { headers: { 'x-large': 'x'.repeat(100_000) } },
      431,
      'invalid_request',
    ],
  ])('%s is a problem document', async (_name, path, options, status, code) => {
    await using world = await openControlWorld({ guests: GUESTS });
    const reply = await askOnSocket(world.socket, path, options);
    expect(reply).toMatchObject({ status, body: { code, status, title: code } });
    expect(reply.body).not.toMatchObject({ hint: expect.stringContaining('--help') });
    expect(reply.headers['content-type']).toContain('application/problem+json');
    const { request_id: requestId } = reply.body as { request_id: string };
    expect(reply.headers['x-request-id']).toBe(requestId);
    expect(world.errors).toEqual([]);
  });

  test('that nobody foresaw is internal_error: its words go to the log alone', async () => {
    await using world = await openControlWorld({
      acceptEnvelope: async () => {
        throw new Error('the password is hunter2');
      },
    });
    const reply = await askOnSocket(world.socket, '/v1/ops', { method: 'POST', body: 'x' });
    expect(reply).toMatchObject({ status: 500, body: { code: 'internal_error' } });
    expect(JSON.stringify(reply.body)).not.toContain('hunter2');
    expect(world.errors).toMatchObject([{ message: 'the password is hunter2' }]);
  });

  test('that never ends is cut off, and one that is slow holds nobody up', async () => {
    await using world = await openControlWorld();
    const slow = connect(world.socket);
    slow.write('POST /v1/pause HTTP/1.1\r\nhost: agent\r\ncontent-length: 100\r\n\r\n{');
    await once(slow, 'connect');
    await expect(world.client.call(API.getHealth)).resolves.toEqual({ status: 'ok' });
    slow.destroy();
  });
});

test('an envelope comes as the bytes it was sent as, whatever type it claims to be', async () => {
  const seen: string[] = [];
  await using world = await openControlWorld({
    guests: GUESTS,
    acceptEnvelope: async (bytes) => {
      seen.push(bytes.toString('latin1'));
      const opId = parseOpId('aaaaaaaaaaaaaaaa');
      return opId === null
        ? { kind: 'refused', code: 'expired', message: '' }
        : { kind: 'repeat', opId };
    },
  });
  for (const type of ['application/json', 'text/plain', 'application/octet-stream']) {
    await askOnSocket(world.socket, '/v1/ops', {
      method: 'POST',
      body: '{ "a" : 1 }',
      headers: { 'content-type': type },
    });
  }
  expect(seen).toEqual(Array(3).fill('{ "a" : 1 }'));
});

test('readiness is 503 while there are reasons; public gives codes and places', async () => {
  await using world = await openControlWorld({ addresses: { public: LOOPBACK } });
  expect(await world.client.call(API.getReadiness)).toEqual({ ready: true, reasons: [] });
  const reason = { code: 'desired_invalid', message: 'a secret?' } as const;
  world.reasons.push({ ...reason, place: 'web.yaml:5' });
  expect((await world.client.call(API.getReadiness)).reasons).toEqual([reason]);
  const { status, body } = await ask(world.server.ports.public, '/readyz');
  const reasons = [{ ...reason, message: 'web.yaml:5' }];
  expect({ status, body }).toEqual({ status: 503, body: { ready: false, reasons } });
});

test('a pause is shown with its end, and a resume ends it', async () => {
  await using world = await openControlWorld();
  const paused = await world.client.call(API.pause, { body: { for: '1h', actor: 'anna' } });
  expect(paused).toMatchObject({ paused: true, reason: 'paused by anna' });
  const { pause } = await world.client.call(API.getAgent);
  expect(pause).toEqual(paused);
  expect(await world.client.call(API.resume)).toMatchObject({ paused: false });
});

test('ops come page by page, newest first, each once', async () => {
  await using world = await openControlWorld({ guests: GUESTS });
  for (let i = 0; i < 3; i++) {
    await world.client.call(API.stopGuest, { params: { ref: '101' } });
    await world.client.call(API.startGuest, { params: { ref: '101' } });
    await world.clock.until(world.engine.idle(), 60_000);
  }
  const seen: string[] = [];
  let after: string | undefined;
  do {
    const query = { limit: 4, ...(after === undefined ? {} : { after }) };
    const page = await world.client.call(API.listOps, { query });
    seen.push(...page.ops.map(({ op_id }) => op_id));
    after = page.next ?? undefined;
  } while (after !== undefined);
  expect(seen).toHaveLength(6);
  expect(new Set(seen).size).toBe(6);
  const failed = await world.client.call(API.listOps, { query: { state: 'failed' } });
  expect(failed.ops).toEqual([]);
});

test('the plan is the one of plan --json', async () => {
  await using world = await openControlWorld({
    guests: { 101: {} },
    desired: { 101: { power: 'running', mode: 'observe' } },
  });
  const asked = world.client.call(API.getPlan, { query: { ref: ['101'] } });
  expect(await untilAnswered(world, asked)).toMatchObject({
    summary: { guests: 1 },
    guests: [{ vmid: 101 }],
  });
});

test('the OpenAPI document has every route, with what it takes and answers', () => {
  const { paths } = openApiDocument('1.0.0') as {
    paths: Record<string, Record<string, Record<string, unknown>>>;
  };
  for (const [name, route] of Object.entries(API)) {
    const operation = paths[route.path]?.[route.method.toLowerCase()];
    expect(operation, name).toMatchObject({ operationId: name, summary: route.summary });
    expect(JSON.stringify(operation?.['responses'])).toContain('"type":"object"');
  }
  expect(Object.keys(paths['/v1/ops'] ?? {})).toEqual(['get', 'post']);
});

function json(body: object): Asking {
  return {
    method: 'POST',
    body: JSON.stringify(body),
    headers: { 'content-type': 'application/json' },
  };
}
