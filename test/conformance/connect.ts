/** The context of the suite for one node: connections with the right secrets and with wrong ones. */
import { PveClient } from '../../src/proxmox/client.ts';
import { createProxmox } from '../../src/proxmox/node.ts';
import { readRequest } from '../../src/proxmox/request.ts';
import { PveToken } from '../../src/proxmox/token.ts';
import type { TlsTrust } from '../../src/proxmox/trust.ts';
import { parseVmid } from '../../src/reconcile/ids.ts';
import { realClock, realRandom } from '../support/pve-client.ts';
import type { Context } from './suite.ts';

export interface Target {
  readonly url: string;
  /** `USER@REALM!TOKENID=SECRET` */
  readonly token: string;
  readonly tls: TlsTrust;
  /** Left out: the only node there is. */
  readonly node?: string | undefined;
  /** Whose power and config may be changed; null: nothing is changed. */
  readonly writeTo: number | null;
}

export interface Connection {
  readonly context: Context;
  close(): Promise<void>;
}

const NOT_THE_PIN = 'AB:'.repeat(31).concat('AB');

export async function connect(target: Target, signal: AbortSignal): Promise<Connection> {
  const { url, tls } = target;
  const common = { url, tls, clock: realClock, random: realRandom };
  const client = new PveClient({ ...common, token: PveToken.parse(target.token) });
  const node = target.node ?? (await findNode(client, signal));
  const proxmox = createProxmox({ ...common, token: PveToken.parse(target.token), node });
  const withWrong = (what: 'secret' | 'fingerprint'): PveClient =>
    what === 'secret'
      ? new PveClient({ ...common, token: PveToken.parse(spoilSecret(target.token)) })
      : new PveClient({
          ...common,
          token: PveToken.parse(target.token),
          tls: { kind: 'fingerprint', fingerprint: NOT_THE_PIN },
        });
  const context: Context = { node, proxmox, client, withWrong, guest: null, signal };
  const close = async (): Promise<void> => {
    await proxmox.close();
    await client.close();
  };
  const guest = target.writeTo === null ? null : await findGuest(context, target.writeTo);
  return { context: { ...context, guest }, close };
}

function spoilSecret(token: string): string {
  return `${token.slice(0, token.indexOf('=') + 1)}00000000-0000-0000-0000-000000000000`;
}

async function findNode(client: PveClient, signal: AbortSignal): Promise<string> {
  const reply = await client.request(readRequest('/nodes'), signal);
  if (reply.kind === 'failure') throw new Error(reply.problem.message);
  const names = Array.isArray(reply.data) ? reply.data.map((row) => String(row.node)) : [];
  const [only, ...others] = names;
  if (only === undefined || others.length > 0) {
    throw new Error(`say --node, one of: ${names.join(', ')}`);
  }
  return only;
}

async function findGuest(context: Context, number: number): Promise<Context['guest']> {
  const { proxmox, signal } = context;
  const vmid = parseVmid(number);
  const state = await proxmox.guests.observe({ configs: new Set(), wanted: new Set() }, signal);
  const guest = vmid === null ? undefined : state.guests.get(vmid);
  if (guest === undefined) throw new Error(`there is no guest ${number} on ${context.node}`);
  return { vmid: guest.vmid, kind: guest.kind };
}
