/**
 * A Proxmox VE host as far as the package meets one: the simulated node behind port 8006, `/etc/pve`
 * and the pid files it keeps, and stand-ins for `pveum` and `pvesh`.
 */
import { chmodSync, copyFileSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { CONFIG_PRIVILEGES } from '../../src/proxmox/values/key-privileges.ts';
import { type Simulator, startSimulator } from '../../test/simulator/start.ts';
import type { DebianRoot } from './debian-root.ts';

const SECRET = '5b1f0c5e-3a7d-4c52-9e1b-0123456789ab';
const STAND_IN = join(import.meta.dirname, '../../test/agent/setup/fake-pve-tools.ts');
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

/** They run on the runtime that the package brings along. */
export function putStandIns(root: DebianRoot): void {
  const dir = '/opt/pve-stand-ins';
  mkdirSync(root.at(dir), { recursive: true });
  copyFileSync(STAND_IN, root.at(`${dir}/tools.mts`));
  for (const tool of ['pveum', 'pvesh']) {
    const script = [
      '#!/bin/sh',
      `export FAKE_PVE_SECRET=${SECRET} FAKE_PVE_VERSION=9.1.2`,
      `exec /usr/lib/pve-reconciler/node ${dir}/tools.mts ${dir} ${tool} "$@"`,
    ];
    writeFileSync(root.at(`/usr/local/bin/${tool}`), `${script.join('\n')}\n`, { mode: 0o755 });
  }
}
