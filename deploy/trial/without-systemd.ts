/**
 * The package where no systemd runs (an image that is being built, a container): the agent is begun
 * by hand, and what the scripts of the package cannot do there they leave undone.
 */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, chownSync, copyFileSync, existsSync, writeFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { type Simulator, startSimulator } from '../../test/simulator/start.ts';
import type { DebianRoot } from './debian-root.ts';
import { say } from './first-hour.ts';

const STATE = '/var/lib/pve-reconciler';
const AGENT = ['/usr/bin/pve-reconciler', 'agent'];

/** As the unit would run it: its own account, nothing else. Resolves once it is up. */
async function startAgent(root: DebianRoot): Promise<ChildProcess> {
  const account = '--userspec=pve-reconciler:pve-reconciler';
  const child = spawn('chroot', [account, root.dir, ...AGENT], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  const lines = createInterface({ input: child.stderr });
  const said: string[] = [];
  for await (const line of lines) {
    said.push(line);
    if (!line.includes('agent is up')) continue;
    child.stderr.resume();
    return child;
  }
  throw new Error(`the agent ended before it was up: ${said.join('\n')}`);
}

async function endAgent(agent: ChildProcess): Promise<void> {
  const ended = once(agent, 'exit');
  agent.kill('SIGTERM');
  assert.deepEqual(await ended, [0, null], 'the agent ends with 0');
}

function configure(root: DebianRoot, pve: Simulator): void {
  const [uid, gid] = ['-u', '-g'].map((flag) => Number(root.run('id', flag, 'pve-reconciler')));
  assert(uid !== undefined && gid !== undefined);
  const put = (name: string, text: string, mode: number): void => {
    const file = root.at(`/etc/pve-reconciler/${name}`);
    writeFileSync(file, text);
    chmodSync(file, mode);
    chownSync(file, uid, gid);
  };
  put('token', pve.token('root'), 0o600);
  copyFileSync(pve.caFile, root.at('/etc/pve-reconciler/ca.pem'));
  const lines = [
    `node: ${pve.node}`,
    `proxmox: { url: "${pve.url}", ca_file: ca.pem }`,
    'control: { socket: /var/lib/pve-reconciler/agent.sock }',
    'desired: [{ file: desired.d }]',
    'reconcile: { interval: 1s }',
  ];
  put('config.yaml', `${lines.join('\n')}\n`, 0o644);
  put('desired.d/a.yaml', 'version: 1\nguests: { 102: { power: running } }\n', 0o644);
}

async function upgradeUnderAgent(root: DebianRoot, newer: string): Promise<void> {
  const before = await startAgent(root);
  root.install(newer);
  assert.equal(before.exitCode, null, 'the agent goes on while it is upgraded');
  await endAgent(before);
  const after = await startAgent(root);
  await endAgent(after);
  const ops: unknown = JSON.parse(root.run('pve-reconciler', 'ops', 'list', '--json'));
  assert.match(JSON.stringify(ops), /"kind":"start"/);
  root.run('pve-reconciler', 'journal', 'verify');
  say('upgraded under a running agent: its ops and its journal are whole');
}

export async function tryWithoutSystemd(
  root: DebianRoot,
  { older, newer }: { readonly older: string; readonly newer: string },
): Promise<void> {
  const pve = await startSimulator({ guests: 4 });
  try {
    root.install(older);
    const own = 'pve-reconciler:pve-reconciler';
    assert.equal(root.ownerOf(STATE), `${own} 700`);
    assert.equal(root.ownerOf('/var/log/pve-reconciler'), `${own} 750`);
    root.run('pve-reconciler', 'schema');
    say('installed: account, folders, program');
    configure(root, pve);
    await upgradeUnderAgent(root, newer);
    root.install(older);
    root.run('pve-reconciler', 'journal', 'verify');
    say('downgraded: the journal is still read');
    root.run('dpkg', '--remove', 'pve-reconciler');
    assert(existsSync(root.at(`${STATE}/journal`)));
    assert(!existsSync(root.at('/usr/bin/pve-reconciler')));
    say('removed: journal and configuration are kept');
    root.run('dpkg', '--purge', 'pve-reconciler');
    for (const path of [STATE, '/etc/pve-reconciler', '/var/log/pve-reconciler']) {
      assert(!existsSync(root.at(path)), `${path} is gone`);
    }
    say('purged: nothing is left');
  } finally {
    await pve.stop();
  }
}
