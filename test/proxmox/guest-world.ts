/** A small simulated node, and the short ways to talk about it, for the tests of the GuestApi. */
import { afterAll, afterEach, beforeAll, beforeEach } from 'vitest';
import type { Proxmox } from '../../src/proxmox/node.ts';
import type { GuestRef } from '../../src/reconcile/guest.ts';
import { parseVmid, type Upid, type Vmid } from '../../src/reconcile/ids.ts';
import type { LookRequest, LookResult, Submission } from '../../src/reconcile/ports.ts';
import { type Simulator, startSimulator } from '../simulator/start.ts';
import { going, nodeFor } from '../support/pve-client.ts';

export const NOTHING: ReadonlySet<Vmid> = new Set();

/** Of the file whose tests run. */
export let pve: Simulator;
export let proxmox: Proxmox;

/** For each test of a file a client of its own, and a node without requests, faults and tasks that run. */
export function useGuestWorld(): void {
  beforeAll(async () => {
    pve = await startGuestWorld();
  });
  afterAll(() => pve.stop());
  beforeEach(async () => {
    proxmox = nodeFor(pve);
    await pve.resetRequests();
  });
  afterEach(async () => {
    await proxmox.close();
    await pve.control('DELETE', '/faults');
    await pve.settle();
  });
}

/**
 * Guests of both kinds; `auditor` is a token with the agent's role and Sys.Audit, `barred` one with
 * the agent's role on all guests but 101 (`NoAccess` there).
 */
function startGuestWorld(): Promise<Simulator> {
  return startSimulator({
    speed: 10,
    world: {
      guests: [
        { vmid: 101, kind: 'qemu', config: { name: 'web', memory: '512', tags: 'a;b' } },
        { vmid: 102, kind: 'qemu', config: { name: 'db', memory: '512' }, start_warnings: ['odd'] },
        { vmid: 103, kind: 'qemu', config: { name: 'bad' }, start_error: 'no such disk' },
        { vmid: 104, kind: 'qemu', running: true, obeys_shutdown: false, config: { name: 'deaf' } },
        { vmid: 201, kind: 'lxc', running: true, config: { hostname: 'ct', memory: '512' } },
        { vmid: 202, kind: 'lxc', config: { hostname: 'ct2', memory: '512' } },
      ],
      tokens: {
        auditor: {
          id: 'agent@pve!auditor',
          secret: 's-1',
          acl: { '/vms': 'agent', '/': ['Sys.Audit'] },
        },
        barred: { id: 'agent@pve!barred', secret: 's-2', acl: { '/vms': 'agent', '/vms/101': [] } },
      },
      auth_delay_ms: 30,
    },
  });
}

export function vmid(number: number): Vmid {
  const parsed = parseVmid(number);
  if (parsed === null) throw new Error(`not a vmid: ${number}`);
  return parsed;
}

export function qemu(number: number): GuestRef {
  return { vmid: vmid(number), kind: 'qemu' };
}

export function lxc(number: number): GuestRef {
  return { vmid: vmid(number), kind: 'lxc' };
}

export function look(
  proxmox: Proxmox,
  guest: GuestRef,
  more: Partial<LookRequest> = {},
): Promise<LookResult> {
  const sinceMs = performance.now();
  const request = { guest, sinceMs, tasksSinceMs: null, config: false, details: false, ...more };
  return proxmox.guests.look(request, going);
}

export function upidOf(submission: Submission): Upid {
  if (submission.kind !== 'task') throw new Error(JSON.stringify(submission));
  return submission.upid;
}

/** Method and path of what the node received. */
export async function askedOf(pve: Simulator): Promise<readonly string[]> {
  return (await pve.requests()).map(({ method, path }) => `${method} ${path}`);
}
