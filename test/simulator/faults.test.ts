/** Every kind of misbehaviour, seen from the client's side, and whether the request took effect. */
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { type Asking, asking, type Told } from './asking.ts';
import { type FaultInput, type Simulator, startSimulator } from './start.ts';

let pve: Simulator;
let ask: Asking;
let close: () => void;

beforeAll(async () => {
  pve = await startSimulator({ guests: 3, speed: 50 });
  ({ ask, close } = asking(pve));
});

afterEach(async () => {
  await pve.control('DELETE', '/faults');
  await pve.settle();
});

afterAll(async () => {
  close();
  await pve.stop();
});

const description = async (): Promise<unknown> => {
  const guest = (await pve.control('GET', '/guests/100')) as { config: Record<string, unknown> };
  return guest.config['description'];
};

const failed = (why: RegExp) => (outcome: Told | Error) =>
  outcome instanceof Error && why.test(`${outcome.message} ${Reflect.get(outcome, 'code')}`);

const told = (check: (told: Told) => boolean) => (outcome: Told | Error) =>
  !(outcome instanceof Error) && check(outcome);

const NO_EFFECT = { effect: false };
const cases: readonly [string, FaultInput, (outcome: Told | Error) => boolean, boolean][] = [
  ['a cut before the effect', { kind: 'cut', ...NO_EFFECT }, failed(/hang up|ECONNRESET/), false],
  ['a cut after the effect', { kind: 'cut', effect: true }, failed(/hang up|ECONNRESET/), true],
  [
    '595 without effect',
    { kind: 'error', status: 595, reason: 'Connection refused' },
    told(({ status, text }) => status === 595 && text === ''),
    false,
  ],
  [
    '596 with effect',
    { kind: 'error', status: 596, reason: 'Connection timed out', effect: true },
    told(({ status, reason }) => status === 596 && reason === 'Connection timed out'),
    true,
  ],
  ['garbage', { kind: 'garbage' }, failed(/Parse Error|HPE_/), false],
  ['half an answer', { kind: 'half' }, failed(/aborted|ECONNRESET/), true],
  ['a page', { kind: 'html' }, told(({ text }) => text.startsWith('<!DOCTYPE')), true],
  ['JSON that stops', { kind: 'invalid_json' }, told(({ data }) => data === undefined), true],
  ['wrong types', { kind: 'wrong_types' }, told(({ data }) => data === 'null'), true],
  [
    'another content type',
    { kind: 'content_type', value: 'text/plain' },
    told(({ headers }) => headers['content-type'] === 'text/plain'),
    true,
  ],
  [
    '200 with an error inside',
    { kind: 'body', body: '{"data":null,"message":"no"}' },
    told(({ status, text }) => status === 200 && text.includes('"no"')),
    false,
  ],
  [
    'a redirect',
    { kind: 'redirect', location: 'https://192.0.2.1/' },
    told(({ status, headers }) => status === 301 && headers['location'] === 'https://192.0.2.1/'),
    false,
  ],
  [
    'a body that goes on and on',
    { kind: 'oversized', bytes: 3_000_000 },
    told(({ text }) => text.length > 3_000_000),
    false,
  ],
  [
    'drops',
    { kind: 'slow', chunk_bytes: 64, chunk_ms: 1 },
    told(({ data }) => data === null),
    true,
  ],
  ['a delay', { kind: 'delay', ms: 5 }, told(({ status }) => status === 200), true],
];

describe('a fault', () => {
  it.each(cases)('%s is what the client sees', async (name, fault, isExpected, hasEffect) => {
    await pve.addFault({ method: 'PUT', path: '/qemu/100/config$', ...fault });
    const outcome = await ask('PUT', '/nodes/pve1/qemu/100/config', { description: name }).catch(
      (error: unknown) => error as Error,
    );
    expect(isExpected(outcome)).toBe(true);
    expect((await description()) === name).toBe(hasEffect);
  });

  it('hits only what its pattern names, where it begins, as often as it says', async () => {
    const fault = { kind: 'error', status: 500, reason: 'as told', path: '^/version$' } as const;
    await pve.addFault({ ...fault, after: 1, count: 2 });
    const statuses: number[] = [];
    for (const path of ['/nodes', '/version', '/version', '/version', '/version']) {
      statuses.push((await ask('GET', path)).status);
    }
    expect(statuses).toEqual([200, 200, 500, 500, 200]);
    expect(await pve.control('GET', '/faults')).toEqual([]);
  });

  it('of a lost worker leaves a task of unexpected status behind', async () => {
    await pve.addFault({ kind: 'no_worker_upid', method: 'POST', path: '/status/start$' });
    const { status, reason } = await ask('POST', '/nodes/pve1/qemu/101/status/stop', {});
    expect([status, reason]).toEqual([200, 'OK']);
    await pve.settle();
    const lost = await ask('POST', '/nodes/pve1/qemu/101/status/start', {});
    expect([lost.status, lost.reason]).toEqual([500, 'got no worker upid']);
    await pve.settle();
    const tasks = await ask('GET', '/nodes/pve1/tasks?vmid=101&typefilter=qmstart');
    expect(tasks.data).toEqual([expect.objectContaining({ status: 'unexpected status' })]);
  });

  it('that nobody knows is refused', async () => {
    await expect(pve.control('POST', '/faults', { kind: 'gremlin' })).rejects.toThrow(/kind/);
  });
});
