/**
 * A Proxmox VE host as far as the package meets one: the simulated node behind port 8006, `/etc/pve`
 * and the pid files it keeps, and stand-ins for `pveum` and `pvesh`.
 */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, copyFileSync } from 'node:fs';
import { join } from 'node:path';
import { CONFIG_PRIVILEGES } from '../../src/proxmox/values/key-privileges.ts';
import { type Simulator, startSimulator } from '../../test/simulator/start.ts';
import type { DebianRoot } from './debian-root.ts';

const SECRET = '5b1f0c5e-3a7d-4c52-9e1b-0123456789ab';
const TOOLS = join(import.meta.dirname, 'pve-tools-process.ts');
const GUESTS = 100;

/** Takes its time to shut down: an op on it is in flight for as long. */
export const SLOW_GUEST = 900;
export const SLOW_SHUTDOWN_MS = 30_000;
/** Made by the simulator among its hundred; these run. */
export const RUNNING_GUEST = 1000;
export const OTHER_RUNNING_GUEST = 1001;

export async function startStandingNode(): Promise<Simulator> {
  const acl = {
    '/vms': ['VM.Audit', 'VM.PowerMgmt', ...CONFIG_PRIVILEGES],
    '/nodes/pve1': ['Sys.Audit'],
    '/sdn/zones': ['SDN.Use'],
    '/': ['Sys.Audit'],
  };
  const pve = await startSimulator({
    port: 8006,
    look: true,
    guests: GUESTS,
    world: {
      auth_delay_ms: 0,
      tokens: { setup: { id: 'pve-reconciler@pve!agent-pve1', secret: SECRET, acl } },
      guests: [{ vmid: SLOW_GUEST, kind: 'qemu', running: true, shutdown_ms: SLOW_SHUTDOWN_MS }],
    },
  });
  const etc = join(pve.lookDir, 'etc-pve');
  copyFileSync(pve.caFile, join(etc, 'pve-root-ca.pem'));
  // As on a real host: nothing in it is the agent's to read.
  chmodSync(etc, 0o750);
  return pve;
}

/** Where a booted root sees what the node shows of itself. */
export function sharedFolders({ lookDir }: Simulator): readonly string[] {
  return [
    `${join(lookDir, 'etc-pve')}:/etc/pve`,
    `${join(lookDir, 'run/qemu-server')}:/run/qemu-server`,
    `${join(lookDir, 'cgroup')}:/run/pve-cgroup`,
  ];
}

/** On the PATH of the root, answered by a process beside it; stop by closing its input. */
export async function putStandIns(root: DebianRoot): Promise<ChildProcess> {
  const args = [TOOLS, root.at('/usr/local/bin'), SECRET];
  const tools = spawn(process.execPath, args, { stdio: ['pipe', 'pipe', 'inherit'] });
  const [said] = await once(tools.stdout, 'data');
  assert.equal(String(said), 'ready\n');
  return tools;
}
