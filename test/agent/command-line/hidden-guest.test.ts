import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Simulator, startSimulator } from '../../simulator/start.ts';
import { type Host, makeHost, startDaemon } from '../program.ts';
import { runHere } from '../run-here.ts';

let node: Simulator;
let host: Host;
beforeAll(async () => {
  const acl = { '/vms': ['VM.Audit'], '/vms/101': [] };
  const tokens = { one_hidden: { id: 'pve-reconciler@pve!one-hidden', acl } };
  node = await startSimulator({ guests: 3, world: { tokens } });
  host = makeHost(node);
});
afterAll(async () => {
  host.remove();
  await node.stop();
});

test('one guest that is hidden from the token is told of with the code and hint of just that', async () => {
  host.write('desired.yaml', { version: 1, guests: { 101: { power: 'running' } } });
  const file = host.configure({ proxmox: { token_file: node.tokenFile('one_hidden') } });
  const expectForbidden = async (...command: string[]): Promise<void> => {
    const { exit, err } = await runHere(...command, '--config', file);
    expect({ command, exit }).toEqual({ command, exit: 1 });
    expect(err).toMatch(/^error \[forbidden\] .*vmid 101.*\nhint: .*privilege to the token/m);
    expect(err).not.toContain('service_unavailable');
  };
  await expectForbidden('plan');
  await expectForbidden('agent', '--once');
  const daemon = startDaemon(file);
  await daemon.saw(/1 of 1 guest/);
  await expectForbidden('plan');
  expect(await daemon.end('SIGTERM')).toBe(0);
});
