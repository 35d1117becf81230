/**
 * `npm run package:try`: the package in a clean Debian root without a network: installed, upgraded
 * under a running agent, downgraded, removed and purged. As root; debootstrap makes the root (that
 * takes the network, once), or `--root DIR` names one that is kept.
 */
import assert from 'node:assert/strict';
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  chownSync,
  copyFileSync,
  existsSync,
  mkdtempSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { parseArgs } from 'node:util';
import { type Simulator, startSimulator } from '../test/simulator/start.ts';
import { makePackage, requireTool } from './package.ts';

const SUITE = 'bookworm';
/** Set in the process that has no network any more. */
const APART = 'PVE_RECONCILER_TRY_APART';
const STATE = '/var/lib/pve-reconciler';
const AGENT = ['/usr/bin/pve-reconciler', 'agent'];

function say(text: string): void {
  console.log(`- ${text}`);
}

function makeRoot(dir: string): void {
  requireTool('debootstrap', 'debootstrap');
  const options = ['--variant=minbase', '--include=systemd,libstdc++6'];
  execFileSync('debootstrap', [...options, SUITE, dir], { stdio: ['ignore', 'ignore', 'inherit'] });
}

class Root {
  readonly dir: string;

  constructor(dir: string) {
    this.dir = dir;
  }

  at(path: string): string {
    return join(this.dir, path);
  }

  run(...argv: string[]): string {
    return execFileSync('chroot', [this.dir, ...argv], { encoding: 'utf8', stdio: 'pipe' });
  }

  install(file: string): void {
    copyFileSync(file, this.at('/tmp/package.deb'));
    this.run('dpkg', '-i', '/tmp/package.deb');
  }

  ownerOf(path: string): string {
    const { mode } = statSync(this.at(path));
    const owner = this.run('stat', '-c', '%U:%G', path).trim();
    return `${owner} ${(mode & 0o7777).toString(8)}`;
  }
}

/** As the unit would run it: its own account, nothing else. Resolves once it is up. */
async function startAgent(root: Root): Promise<ChildProcess> {
  const account = '--userspec=pve-reconciler:pve-reconciler';
  const child = spawn('chroot', [account, root.dir, ...AGENT], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  const lines = createInterface({ input: child.stderr });
  for await (const line of lines) {
    if (!line.includes('agent is up')) continue;
    child.stderr.resume();
    return child;
  }
  throw new Error('the agent ended before it was up');
}

async function endAgent(agent: ChildProcess): Promise<void> {
  const ended = once(agent, 'exit');
  agent.kill('SIGTERM');
  assert.deepEqual(await ended, [0, null], 'the agent ends with 0');
}

function configure(root: Root, pve: Simulator): void {
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

async function tryPackage(root: Root): Promise<void> {
  const out = mkdtempSync(join(tmpdir(), 'pve-reconciler-try-'));
  const pve = await startSimulator({ guests: 4 });
  try {
    const [older, newer] = [
      await makePackage({ outDir: out, compression: 'fast', version: '0.0.1' }),
      await makePackage({ outDir: out, compression: 'fast', version: '99.0.0' }),
    ];
    root.install(older);
    assert.equal(root.ownerOf(STATE), 'pve-reconciler:pve-reconciler 700');
    assert.equal(root.ownerOf('/var/log/pve-reconciler'), 'pve-reconciler:pve-reconciler 750');
    assert.doesNotMatch(root.run('id', 'pve-reconciler'), /www-data/);
    root.run('pve-reconciler', 'schema');
    say('installed: account, folders, program');
    configure(root, pve);
    await upgradeUnderAgent(root, newer);
    root.install(older);
    root.run('pve-reconciler', 'journal', 'verify');
    say('downgraded: the journal is still read');
    root.run('dpkg', '--remove', 'pve-reconciler');
    assert(
      existsSync(root.at(`${STATE}/journal`)) && !existsSync(root.at('/usr/bin/pve-reconciler')),
    );
    say('removed: journal and configuration are kept');
    root.run('dpkg', '--purge', 'pve-reconciler');
    for (const path of [STATE, '/etc/pve-reconciler', '/var/log/pve-reconciler']) {
      assert(!existsSync(root.at(path)), `${path} is gone`);
    }
    say('purged: nothing is left');
  } finally {
    await pve.stop();
    rmSync(out, { recursive: true, force: true });
  }
}

async function upgradeUnderAgent(root: Root, newer: string): Promise<void> {
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

if (process.geteuid?.() !== 0) throw new Error('package:try needs root');
const { values } = parseArgs({ options: { root: { type: 'string' } } });
const dir =
  process.env[APART] ?? values.root ?? mkdtempSync(join(tmpdir(), 'pve-reconciler-root-'));
if (process.env[APART] === undefined) {
  if (!existsSync(join(dir, 'etc/debian_version'))) makeRoot(dir);
  // Its own network, with nothing but loopback, and its own mounts, gone with it.
  const again = ['--net', '--mount', '--fork', process.execPath, ...process.argv.slice(1)];
  try {
    execFileSync('unshare', again, { stdio: 'inherit', env: { ...process.env, [APART]: dir } });
  } finally {
    if (values.root === undefined) rmSync(dir, { recursive: true, force: true });
  }
} else {
  execFileSync('ip', ['link', 'set', 'lo', 'up']);
  execFileSync('mount', ['-t', 'proc', 'proc', join(dir, 'proc')]);
  execFileSync('mount', ['--rbind', '/dev', join(dir, 'dev')]);
  await tryPackage(new Root(dir));
}
