/** The client against the simulator: what a node, or something in its place, can do to it. */
import { inspect } from 'node:util';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { PveClient, Reply, RequestInfo } from '../../src/proxmox/client.ts';
import { readRequest, writeRequest } from '../../src/proxmox/request.ts';
import { type FaultInput, type Simulator, startSimulator } from '../simulator/start.ts';
import { clientFor, going } from '../support/pve-client.ts';

const VERSION = readRequest('/version');
const START = writeRequest('POST', '/nodes/pve1/qemu/{vmid}/status/start', { vmid: 901 }, {});

let pve: Simulator;
let client: PveClient;
let sent: RequestInfo[];

beforeAll(async () => {
  pve = await startSimulator({
    speed: 10,
    world: {
      guests: [{ vmid: 901, kind: 'qemu', config: { name: 'spare', memory: '512' } }],
      auth_delay_ms: 30,
    },
  });
});

afterAll(async () => {
  await pve.stop();
});

beforeEach(() => {
  sent = [];
  client = clientFor(pve, 'root', { onRequest: (info) => sent.push(info) });
});

afterEach(async () => {
  await client.close();
  await pve.control('DELETE', '/faults');
  await pve.control('POST', '/daemon', { down: false });
  await pve.settle();
  await pve.control('PATCH', '/guests/901', { running: false });
  await pve.resetRequests();
});

async function fail(reply: Promise<Reply>): Promise<Extract<Reply, { kind: 'failure' }>> {
  const got = await reply;
  expect(got.kind).toBe('failure');
  if (got.kind !== 'failure') throw new Error('it was answered');
  expect(inspect(got, { depth: 9 })).not.toContain(pve.token('root').split('=')[1]);
  return got;
}

describe('a node that answers badly', () => {
  const faults: readonly (readonly [string, FaultInput, string, RegExp])[] = [
    ['a page of HTML', { kind: 'html' }, 'service_unavailable', /content type text\/html/],
    ['JSON that stops', { kind: 'invalid_json' }, 'service_unavailable', /not a JSON object/],
    [
      'another content type',
      { kind: 'content_type', value: 'text/plain' },
      'service_unavailable',
      /content type text\/plain/,
    ],
    ['JSON without data', { kind: 'body', body: '{"ok":1}' }, 'service_unavailable', /no `data`/],
    ['a list', { kind: 'body', body: '[1,2]' }, 'service_unavailable', /not a JSON object/],
    [
      'an error inside a 200',
      { kind: 'body', body: '{"data":null,"message":"VM 901 not running"}' },
      'service_unavailable',
      /VM 901 not running/,
    ],
    [
      'a redirect',
      { kind: 'redirect', location: 'https://example.invalid/' },
      'service_unavailable',
      /301/,
    ],
    ['bytes that are no HTTP', { kind: 'garbage' }, 'service_unavailable', /HTTP/],
    ['half an answer', { kind: 'half' }, 'service_unavailable', /./],
    [
      'an answer without end',
      { kind: 'oversized', bytes: 64 * 1024 * 1024 },
      'service_unavailable',
      /larger than/,
    ],
    [
      'a status nobody knows',
      { kind: 'error', status: 418, reason: 'teapot' },
      'service_unavailable',
      /teapot/,
    ],
  ];

  it.each(faults)(
    '%s is a typed error of a read, and the next one works',
    async (_, fault, code, said) => {
      await pve.addFault({ method: 'GET', path: '^/version', ...fault, count: 2 });
      const failure = await fail(client.request(VERSION, going));
      expect(failure.problem.code).toBe(code);
      expect(failure.problem.message).toMatch(said);
      await pve.control('DELETE', '/faults');
      expect((await client.request(VERSION, going)).kind).toBe('answer');
    },
  );

  it.each(faults)('%s leaves a write in doubt, sent once', async (_, fault) => {
    await pve.addFault({ method: 'POST', path: 'start$', ...fault });
    const failure = await fail(client.request(START, going));
    expect(failure.effect).toBe(
      fault.kind === 'redirect' || fault.status === 418 ? 'none' : 'maybe',
    );
    const posts = (await pve.requests()).filter((request) => request.method === 'POST');
    expect(posts).toHaveLength(1);
  });
});

describe('a node that does not answer', () => {
  it('a read whose connection is cut is asked once more', async () => {
    await pve.addFault({ kind: 'cut', method: 'GET', path: '^/version' });
    expect((await client.request(VERSION, going)).kind).toBe('answer');
    expect(sent.map((info) => info.status)).toEqual([null, 200]);
  });

  it.each([true, false])(
    'a write whose connection is cut is in doubt (effect: %s), sent once',
    async (effect) => {
      await pve.addFault({ kind: 'cut', method: 'POST', path: 'start$', effect });
      const failure = await fail(client.request(START, going));
      expect(failure).toMatchObject({ effect: 'maybe', status: null });
      expect((await pve.requests()).filter((request) => request.method === 'POST')).toHaveLength(1);
    },
  );

  it.each([595, 596])('%d leaves a write in doubt', async (status) => {
    await pve.addFault({ kind: 'error', method: 'POST', status, reason: 'Connection timed out' });
    expect(await fail(client.request(START, going))).toMatchObject({ effect: 'maybe', status });
  });

  it.each<[string, FaultInput]>([
    ['never answers', { kind: 'hang' }],
    ['drops its answer in bytes', { kind: 'slow', chunk_bytes: 1, chunk_ms: 40 }],
  ])('a node that %s is given up in time, and not asked again for it', async (_, fault) => {
    const limits = { headersMs: 200, totalMs: 300 };
    const hurried = clientFor(pve, 'root', { limits });
    await pve.addFault({ path: '^/version', count: 0, ...fault });
    const failure = await fail(hurried.request(VERSION, going));
    expect(failure.problem.code).toBe('service_unavailable');
    expect(failure.problem.message).toMatch(/timeout|no answer in/i);
    expect(await pve.requests()).toHaveLength(1);
    await hurried.close();
  });

  it('nobody listens: a write is proven not to have been sent', async () => {
    const alone = clientFor(pve, 'root', { url: 'https://127.0.0.1:1' });
    const failure = await fail(alone.request(START, going));
    await alone.close();
    expect(failure).toMatchObject({ effect: 'none', problem: { code: 'service_unavailable' } });
  });

  it('a request that is aborted ends at once, with the reason', async () => {
    await pve.addFault({ kind: 'hang', path: '^/version' });
    const abort = new AbortController();
    const reply = client.request(VERSION, abort.signal);
    abort.abort(new Error('shutting down'));
    await expect(reply).rejects.toThrow('shutting down');
  });

  it('closing cuts what hangs', async () => {
    await pve.addFault({ kind: 'hang', path: '^/version', count: 2 });
    const reply = client.request(VERSION, going);
    await expect.poll(async () => (await pve.requests()).length).toBe(1);
    await client.close();
    expect((await reply).kind).toBe('failure');
  });

  it('after three failures it is not asked, until it has recovered', async () => {
    await pve.control('POST', '/daemon', { down: true });
    const list = readRequest('/nodes/pve1/qemu');
    for (let n = 0; n < 3; n++) await fail(client.request(list, going));
    const failure = await fail(client.request(list, going));
    expect(failure.problem.message).toMatch(/^not asked again for [12] s: Connection refused/);
    expect(failure.effect).toBe('none');
    await pve.control('POST', '/daemon', { down: false });
    await expect
      .poll(async () => (await client.request(list, going)).kind, { timeout: 5_000 })
      .toBe('answer');
    expect(sent).toHaveLength(4);
  });
});

async function connections(): Promise<number> {
  const { opened } = (await pve.control('GET', '/connections')) as { opened: number };
  return opened;
}

describe('the connection', () => {
  it('is kept where an answer says both that it closes and that it does not', async () => {
    const before = await connections();
    for (let n = 0; n < 50; n++) await client.request(readRequest('/nodes/pve1/qemu'), going);
    expect((await connections()) - before).toBeLessThanOrEqual(2);
  });

  it('is given up after 99 requests, before the node does', async () => {
    const before = await connections();
    for (let n = 0; n < 250; n++)
      expect((await client.request(VERSION, going)).kind).toBe('answer');
    expect((await connections()) - before).toBeLessThanOrEqual(4);
    expect(sent).toHaveLength(250);
  });

  it('there are never more than two, whatever is asked at once', async () => {
    await Promise.all(
      Array.from({ length: 100 }, (_, n) =>
        client.request(
          n % 3 === 0 ? readRequest('/bogus') : readRequest('/nodes/pve1/qemu'),
          going,
        ),
      ),
    );
    const { open } = (await pve.control('GET', '/connections')) as { open: number };
    expect(open).toBeLessThanOrEqual(2);
  });

  it('a node that restarts between two requests is met again', async () => {
    await client.request(VERSION, going);
    await pve.control('DELETE', '/connections');
    expect((await client.request(VERSION, going)).kind).toBe('answer');
  });
});

describe('secrets', () => {
  it('a password in a complaint of PVE does not come out', async () => {
    const body = JSON.stringify({ data: null, errors: { cipassword: 'bad value "hunter22"' } });
    await pve.addFault({ kind: 'body', method: 'POST', status: 400, body });
    const write = writeRequest(
      'POST',
      '/nodes/pve1/qemu/{vmid}/config',
      { vmid: 901 },
      { cipassword: 'hunter22' },
    );
    const failure = await fail(client.request(write, going));
    expect(inspect(failure)).not.toContain('hunter22');
    expect(failure.problem.message).toContain('bad value "***"');
  });

  it('a server that repeats the token does not get it into a message', async () => {
    const body = `{"data":null,"message":"you sent ${'x'.repeat(900)} ${pve.token('root')}"}`;
    await pve.addFault({ kind: 'body', status: 500, body, count: 2 });
    const failure = await fail(client.request(VERSION, going));
    expect(failure.problem.message).not.toContain(pve.token('root').split('=')[1]?.slice(0, 8));
  });

  it('a refused token is unauthorized, and not sent again', async () => {
    const [id] = pve.token('root').split('=');
    const { PveToken } = await import('../../src/proxmox/token.ts');
    const wrong = clientFor(pve, 'root', { token: PveToken.parse(`${id}=wrong-secret`) });
    const before = (await pve.requests()).length;
    for (let n = 0; n < 3; n++) {
      const failure = await fail(wrong.request(VERSION, going));
      expect(failure.problem.code).toBe('unauthorized');
      expect(failure.problem.message).not.toContain('wrong-secret');
    }
    await wrong.close();
    expect((await pve.requests()).length - before).toBe(1);
  });
});
