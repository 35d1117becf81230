/** What a command says of a running agent's work and view, over its socket and HTTPS. */
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { type Simulator, startSimulator } from '../../simulator/start.ts';
import { type Daemon, type Host, makeHost, startDaemon } from '../program.ts';
import { runHere } from '../run-here.ts';

let node: Simulator;
let host: Host;
let daemon: Daemon | null = null;
beforeAll(async () => {
  node = await startSimulator({ guests: 4, speed: 20 });
});
afterAll(() => node.stop());
beforeEach(() => {
  host = makeHost(node);
});
afterEach(async () => {
  await daemon?.end('SIGKILL');
  daemon = null;
  await node.control('DELETE', '/faults');
  host.remove();
});

test('apply fails on a guest that two documents claim, as it does by itself', async () => {
  const text = { version: 1, guests: { 101: { config: { onboot: false } } } };
  const desired = [host.write('one.yaml', text), host.write('two.yaml', text)];
  const file = host.configure({ desired: desired.map((each) => ({ file: each })) });
  const alone = await runHere('apply', '--yes', '--config', file);
  daemon = startDaemon(file);
  await daemon.saw(/control API is up/);
  const applied = await runHere('apply', '--yes', '--config', file);
  expect(applied.err).toMatch(/^error \[desired_invalid\] guest 101 is claimed by .*two\.yaml/m);
  expect(applied.exit).toBe(1);
  expect({ ...applied, err: '' }).toEqual({ ...alone, err: '' });
});

test('apply says in one line why nothing can be seen, and exits as it does by itself', async () => {
  host.write('desired.yaml', { version: 1, guests: { 101: { power: 'running' } } });
  const token_file = host.write('token', 'agent@pve!agent=00000000-0000-0000-0000-000000000000');
  const file = host.configure({ proxmox: { token_file } });
  daemon = startDaemon(file);
  await daemon.saw(/"code":"unauthorized"/);
  const applied = await runHere('apply', '--yes', '--config', file);
  expect(applied.err.match(/^error .*$/gm)).toEqual([
    expect.stringMatching(/^error \[unauthorized\] https:/),
  ]);
  expect(applied).toMatchObject({ exit: 77, out: '' });
});

test('plan knows the last good version that a running agent has in force', async () => {
  const claim = { version: 1, guests: { 101: { config: { onboot: false } } } };
  host.write('one.yaml', claim);
  const two = host.write('two.yaml', claim);
  const file = host.configure({ desired: [{ file: 'one.yaml' }, { file: 'two.yaml' }] });
  daemon = startDaemon(file);
  await daemon.saw(/guest 101 is claimed by/);
  host.write('two.yaml', 'version: 1\nguests: [');
  await daemon.saw(/"code":"desired_invalid".*two\.yaml:/);
  const plan = await runHere('plan', '101', '--json', '--config', file);
  expect(JSON.parse(plan.out)).toMatchObject({
    guests: [{ vmid: 101, status: 'skipped', conditions: [{ code: 'claimed_twice' }] }],
    rejected_documents: [{ source: two, last_good_in_force: true }],
  });
  expect(plan.err).toMatch(/^note: .*running agent has in force$/m);
  expect(plan.exit).toBe(1);
  await daemon.end('SIGTERM');
  const alone = await runHere('plan', '--json', '--config', file);
  expect(JSON.parse(alone.out)).toMatchObject({
    rejected_documents: [{ source: two, last_good_in_force: false }],
  });
});

test('ops list has of an op in flight what it waits for, from the agent that runs it', async () => {
  host.write('desired.yaml', { version: 1, guests: {} });
  await node.control('PATCH', '/guests/101', { lock: 'backup' });
  daemon = startDaemon(host.configFile);
  await daemon.saw(/control API is up/);
  await runHere('guest', 'stop', '101', '--config', host.configFile);
  await daemon.saw(/"code":"guest_locked"/);
  const args = ['ops', 'list', '--in-flight', '--config', host.configFile];
  const waits = 'guest_locked: the guest is locked (backup); looked at again, or given up, at 2';
  expect((await runHere(...args)).out).toContain(waits);
  const json = await runHere(...args, '--json');
  expect(JSON.parse(json.out)).toMatchObject({
    ops: [{ vmid: 101, waiting_for: { code: 'guest_locked' } }],
  });
  await daemon.end('SIGKILL');
  expect((await runHere(...args)).out).not.toContain('guest_locked');
  await node.control('PATCH', '/guests/101', { lock: null });
});

test('plan fails on a rejected document that the running agent was never given', async () => {
  host.write('desired.yaml', { version: 1, guests: { 101: { config: { onboot: false } } } });
  daemon = startDaemon(host.configure({ reconcile: { mode: 'observe', interval: '1s' } }));
  await daemon.saw(/not in sync/);
  const broken = host.write('broken.yaml', 'version: 1\nguests: [');
  const other = host.configure({ desired: [{ file: 'broken.yaml' }] });
  const plan = await runHere('plan', '--config', other);
  expect(plan.err).toMatch(/^note: .*running agent has in force$/m);
  expect(plan.err).toContain(`error [desired_invalid] ${broken}:`);
  expect(plan.exit).toBe(1);
});
