/**
 * The agent is killed without warning in the middle of its work, again and again, at moments that
 * the node chooses: around each of its requests. What the node received is compared with the
 * journal, read by a reader of its own.
 */
import { afterEach, expect, test } from 'vitest';
import { type Simulator, startSimulator } from '../simulator/start.ts';
import { prepareWorkplace, type Workplace } from './agent-process.ts';
import { readByContract } from './contract-journal.ts';

const GUESTS = [
  { vmid: 100, kind: 'qemu', running: false, config: { name: 'web', memory: '512', cores: 1 } },
  { vmid: 101, kind: 'qemu', running: true, config: { name: 'db', memory: '512', cores: 1 } },
  { vmid: 200, kind: 'lxc', running: false, config: { hostname: 'ct', memory: '256', cores: 1 } },
] as const;

const DESIRED = {
  version: 1,
  guests: {
    100: { power: 'running', config: { cores: 2, tags: ['prod'] } },
    101: { power: 'stopped' },
    200: { power: 'running', config: { cores: 2 } },
  },
};

let pve: Simulator | undefined;
let place: Workplace | undefined;

afterEach(async () => {
  await pve?.stop();
  place?.remove();
  pve = undefined;
  place = undefined;
});

/** The requests that change something, as the node saw them. */
async function writes(node: Simulator): Promise<readonly { path: string; method: string }[]> {
  const requests = await node.requests();
  return requests.filter(({ method }) => method !== 'GET');
}

/** Each kind of moment: before the request's effect, after it, and while its task runs. */
const MOMENTS = [
  { name: 'before the start takes effect', path: '/100/status/start$', effect: false },
  {
    name: 'after the start took effect, before its answer',
    path: '/100/status/start$',
    effect: true,
  },
  { name: 'before a config is written', path: '/config$', effect: false },
  { name: 'after a config is written, before its answer', path: '/config$', effect: true },
  { name: 'before a shutdown takes effect', path: '/101/status/shutdown$', effect: false },
  { name: 'after a shutdown took effect', path: '/101/status/shutdown$', effect: true },
  { name: 'while tasks run', path: '/tasks/.*/status$', effect: true },
] as const;

test.each(MOMENTS)('killed $name, the next start ends in sync', async ({ path, effect }) => {
  pve = await startSimulator({
    world: { guests: GUESTS.map((guest) => ({ ...guest })), speed: 4 },
  });
  place = prepareWorkplace(pve, { desired: DESIRED });
  await pve.addFault({ kind: 'hang', path, effect });
  const agent = place.start('agent');
  await untilHit(pve, path);
  agent.child.kill('SIGKILL');
  await agent.ended;
  await pve.control('DELETE', '/faults');
  await pve.settle();

  const again = await place.run('agent', '--once');
  expect(again.stderr).not.toMatch(/internal_error|journal_/);
  const plan = await place.run('plan');
  expect(plan.code, plan.stdout + plan.stderr).toBe(0);
  const reading = readByContract(place.journal);
  expect(reading.problems).toEqual([]);
  await expectOneRequestPerAttempt(pve, place);
});

test('two agents on one state dir: the second ends with 75 and names the first', async () => {
  pve = await startSimulator({ world: { guests: [] } });
  place = prepareWorkplace(pve, { desired: { version: 1, guests: {} } });
  const first = place.start('agent');
  await untilHit(pve, '/nodes/pve1/qemu$');
  const second = await place.run('agent');
  expect(second.code).toBe(75);
  expect(second.stderr).toContain('error [journal_locked]');
  expect(second.stderr).toContain(`process ${first.child.pid}`);
  first.child.kill('SIGTERM');
  expect((await first.ended).code).toBe(0);
});

/** Every change the node was asked for has its `started` record, and no attempt asked twice. */
async function expectOneRequestPerAttempt(node: Simulator, { journal }: Workplace): Promise<void> {
  const { ops } = readByContract(journal);
  const attempts = ops.filter(({ state }) => state === 'started');
  const seen = await writes(node);
  for (const { vmid } of GUESTS) {
    const sent = seen.filter(({ path }) => path.includes(`/${vmid}/`)).length;
    const begun = attempts.filter((attempt) => attempt.vmid === vmid).length;
    expect(sent, `requests for ${vmid}`).toBeLessThanOrEqual(begun);
  }
}

/** Resolves once the node has received a request that matches. */
async function untilHit(node: Simulator, path: string): Promise<void> {
  const pattern = new RegExp(path);
  const deadline = AbortSignal.timeout(15_000);
  for (;;) {
    const requests = await node.requests();
    if (requests.some((request) => pattern.test(request.path))) return;
    deadline.throwIfAborted();
  }
}
