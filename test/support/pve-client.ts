/** The real client and node against a simulator in a process of its own, for tests and benchmarks. */
import { readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { type ClientOptions, PveClient } from '../../src/proxmox/client.ts';
import { createProxmox, type Proxmox, type ProxmoxOptions } from '../../src/proxmox/node.ts';
import { PveToken } from '../../src/proxmox/token.ts';
import type { Clock, Random } from '../../src/reconcile/clock.ts';
import type { Simulator } from '../simulator/start.ts';

export const realClock: Clock = {
  now: () => Date.now(),
  monotonicMs: () => performance.now(),
  sleep: async (ms, signal) => {
    await delay(Math.max(0, ms), undefined, { signal }).catch(() => undefined);
  },
};

export const realRandom: Random = { next: () => Math.random() };

/** Never aborted. */
export const going: AbortSignal = new AbortController().signal;

function connectionOptions(pve: Simulator, token: string): ClientOptions {
  return {
    url: pve.url,
    token: PveToken.parse(pve.token(token)),
    tls: { kind: 'ca', ca: readFileSync(pve.caFile, 'utf8') },
    clock: realClock,
    random: realRandom,
  };
}

export function clientFor(
  pve: Simulator,
  token = 'root',
  more: Partial<ClientOptions> = {},
): PveClient {
  return new PveClient({ ...connectionOptions(pve, token), ...more });
}

export function nodeFor(
  pve: Simulator,
  token = 'agent',
  more: Partial<ProxmoxOptions> = {},
): Proxmox {
  return createProxmox({ ...connectionOptions(pve, token), node: pve.node, ...more });
}
