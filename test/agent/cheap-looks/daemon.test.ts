import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Simulator, startSimulator } from '../../simulator/start.ts';
import { type Host, makeHost, startDaemon } from '../program.ts';

const SCRIPT = join(import.meta.dirname, '../../../deploy/systemd/mirror-look');
let dir: string;
let pve: Simulator;
let host: Host;
let mirror: ChildProcess;
beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'pve-reconciler-mirror-'));
  pve = await startSimulator({ guests: 6, look: true, speed: 10 });
  mirror = spawn(SCRIPT, [join(pve.lookDir, 'etc-pve'), join(dir, 'mirror')], { stdio: 'ignore' });
  host = makeHost(pve);
  host.write('desired.yaml', {
    version: 1,
    guests: { 100: { power: 'running', config: { onboot: 0 } } },
  });
});
async function endMirror(): Promise<void> {
  if (mirror.signalCode !== null) return;
  const ended = once(mirror, 'exit');
  mirror.kill('SIGTERM');
  await ended;
}

/** As after a restart of pmxcfs. */
function restartCounters(): void {
  const version = JSON.parse(readFileSync(join(pve.lookDir, 'etc-pve/.version'), 'utf8')) as {
    readonly starttime: number;
  };
  const restarted = { ...version, starttime: version.starttime + 1, vmlist: 1 };
  writeFileSync(join(dir, 'mirror/.version'), JSON.stringify(restarted));
}

afterAll(async () => {
  await endMirror();
  host.remove();
  await pve.stop();
  rmSync(dir, { recursive: true, force: true });
});

test('a guest that ends and a config that is changed are noticed long before the next pass, also when the signs were torn, gone and back with other counters', async () => {
  const config = host.configure({
    proxmox: { token_file: pve.tokenFile('root') },
    // Longer than a test may take.
    reconcile: { interval: '60s', config_interval: '60s' },
    look: {
      mirror: join(dir, 'mirror'),
      qemu_run: join(pve.lookDir, 'run/qemu-server'),
      cgroup: join(pve.lookDir, 'cgroup'),
    },
  });
  const daemon = startDaemon(config);
  await daemon.saw(/cheap looks are in use/);
  await daemon.saw(/1 guest is in sync/);
  await pve.control('PATCH', '/guests/100', { running: false });
  await daemon.saw(/start started/);
  await daemon.saw(/start succeeded/);
  await pve.control('PATCH', '/guests/100', { set: { onboot: '1' } });
  await daemon.saw(/set_config started/);
  await daemon.saw(/set_config succeeded/);
  await endMirror();
  writeFileSync(join(dir, 'mirror/.version'), '{"starttime":');
  await daemon.saw(/no cheap looks any more/);
  rmSync(join(dir, 'mirror/.version'));
  await pve.resetRequests();
  await pve.control('PATCH', '/guests/100', { set: { onboot: '1' } });
  restartCounters();
  await pve.received({ method: 'POST', path: '/qemu/100/config$' });
  expect(await daemon.end('SIGTERM')).toBe(0);
});
