/**
 * The agent is killed without warning in the middle of its work, at moments that the node chooses:
 * around each of its requests. What the node received is compared with the journal, read by a
 * reader of its own.
 */
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { type Host, makeHost, startDaemon } from '../agent/program.ts';
import { runHere } from '../agent/run-here.ts';
import { type Simulator, startSimulator } from '../simulator/start.ts';
import { readByContract } from './contract-journal.ts';

const DESIRED = {
  version: 1,
  guests: {
    100: { power: 'running', config: { cores: 2, tags: ['prod'] } },
    101: { power: 'stopped' },
    200: { power: 'running', config: { cores: 2 } },
  },
};

/** Before the request takes effect, after it, and while its task runs. */
const MOMENTS = [
  { name: 'before the start takes effect', path: '/100/status/start$', effect: false },
  { name: 'after the start, before its answer', path: '/100/status/start$', effect: true },
  { name: 'before a config is written', path: '/config$', effect: false },
  { name: 'after a config was written, before its answer', path: '/config$', effect: true },
  { name: 'before a shutdown takes effect', path: '/101/status/shutdown$', effect: false },
  { name: 'after a shutdown, before its answer', path: '/101/status/shutdown$', effect: true },
  { name: 'while tasks run', path: '/tasks/.*/status$', effect: true },
] as const;

describe('the agent is killed', () => {
  let pve: Simulator;
  let host: Host;
  beforeAll(async () => {
    pve = await startSimulator({ world: { speed: 4 } });
  });
  afterAll(() => pve.stop());

  beforeEach(async () => {
    const memory = '512';
    await pve.control('POST', '/guests', {
      vmid: 100,
      kind: 'qemu',
      config: { name: 'a', memory },
    });
    await pve.control('POST', '/guests', {
      vmid: 101,
      kind: 'qemu',
      running: true,
      config: { memory },
    });
    await pve.control('POST', '/guests', { vmid: 200, kind: 'lxc', config: { hostname: 'c' } });
    await pve.resetRequests();
    host = makeHost(pve);
    host.write('desired.yaml', DESIRED);
  });
  afterEach(async () => {
    host.remove();
    await pve.control('DELETE', '/faults');
    await pve.control('POST', '/tasks/forget');
    for (const vmid of [100, 101, 200]) await pve.control('DELETE', `/guests/${vmid}`);
  });

  test.each(MOMENTS)('$name: the next start ends in sync', async ({ path, effect }) => {
    await pve.addFault({ kind: 'hang', path, effect });
    const agent = startDaemon(host.configFile);
    await pve.received({ path });
    await agent.end('SIGKILL');
    await pve.control('DELETE', '/faults');
    await pve.settle();

    const again = await runHere('agent', '--once', '--config', host.configFile);
    expect(again.exit, again.err).toBe(0);
    const plan = await runHere('plan', '--config', host.configFile);
    expect(plan.exit, plan.out).toBe(0);
    const { ops, problems } = readByContract(join(host.dir, 'state', 'journal'));
    expect(problems).toEqual([]);
    const sent = (await pve.requests()).filter(({ method }) => method !== 'GET');
    for (const vmid of [100, 101, 200]) {
      const asked = sent.filter((request) => request.path.includes(`/${vmid}/`)).length;
      const begun = ops.filter((op) => op.vmid === vmid && op.state === 'started').length;
      expect(asked, `requests for ${vmid}`).toBeLessThanOrEqual(begun);
    }
  });
});
