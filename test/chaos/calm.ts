/** The end of all faults, and how far the world still is from what is wanted. */
import { setTimeout as delay } from 'node:timers/promises';
import { askAgent } from './agent-client.ts';
import { isOurs } from './end-checks.ts';
import type { Wishes } from './evidence.ts';
import type { ChaosGuest } from './guests.ts';
import type { Stage } from './stage.ts';
import { plainValue } from './timeline.ts';

/**
 * A request without an answer is given 40 s to show an effect, and there may be one in each of two
 * lanes' turns; a shutdown has 20 s.
 */
const CONVERGES_WITHIN_MS = 180_000;
const LOOK_MS = 400;

interface GuestNow {
  readonly vmid: number;
  readonly kind: 'qemu' | 'lxc';
  readonly status: 'running' | 'stopped';
  readonly config: Readonly<Record<string, string>>;
  readonly pending: Readonly<Record<string, string>>;
  readonly pending_delete: readonly string[];
}

/** Whatever is broken is mended; what only a person can end, a person ends. */
export async function endFaults(stage: Stage, guests: readonly ChaosGuest[]): Promise<void> {
  const { node, proxy, disk, clock, agent } = stage;
  proxy.heal();
  disk?.free();
  clock?.move(0);
  await node.control('DELETE', '/faults');
  await node.control('POST', '/daemon', { down: false, stuck: 0 });
  for (const { vmid, setup } of guests) {
    const mended = { lock: null, delete: ['tags'], obeys_shutdown: true };
    await node.control('PATCH', `/guests/${vmid}`, mended);
    if (setup.ha !== undefined) await endHaError(stage, vmid);
  }
  if (!(await agent.isUpWithin(60_000))) agent.faults.push('no agent came up after the faults');
  await askAgent(stage.socket, 'POST', '/v1/resume');
  for (const { vmid, role } of guests) {
    if (role === 'wished') await askAgent(stage.socket, 'POST', `/v1/guests/${vmid}/resume`);
  }
}

async function endHaError({ node }: Stage, vmid: number): Promise<void> {
  const { guests } = await node.history();
  const last = guests.findLast((guest) => guest.vmid === vmid);
  if (last?.ha_state !== 'error') return;
  const state = last.status === 'running' ? 'started' : 'stopped';
  await node.control('POST', `/ha/services/vm:${vmid}`, { state });
}

/** What is left when all has come right, or the time is up; empty: it came right. */
export async function awaitConvergence(
  stage: Stage,
  wishes: Wishes,
  signal: AbortSignal,
): Promise<{ left: readonly string[]; tookMs: number }> {
  const beganMs = Date.now();
  for (;;) {
    const left = await findDistance(stage, wishes);
    const tookMs = Date.now() - beganMs;
    if (left.length === 0 || tookMs > CONVERGES_WITHIN_MS || signal.aborted) {
      return { left, tookMs };
    }
    await delay(LOOK_MS);
  }
}

async function findDistance({ node, socket }: Stage, wishes: Wishes): Promise<string[]> {
  const reply = await askAgent(socket, 'GET', '/v1/ops?state=in_flight');
  if (reply === null) return ['the agent does not answer'];
  const ops = reply.body['ops'] as { op_id: string; kind: string; vmid: number; state: string }[];
  const left = ops.map(
    ({ op_id: opId, kind, vmid, state }) => `${opId} ${kind} ${vmid} is ${state}`,
  );
  const guests = (await node.control('GET', '/guests')) as GuestNow[];
  for (const guest of guests) left.push(...distanceOf(guest, wishes));
  const { tasks } = await node.history();
  for (const { upid, user, ended_at: endedAt } of tasks) {
    if (endedAt === null && isOurs(user)) left.push(`${upid} is running`);
  }
  return left;
}

function distanceOf(guest: GuestNow, wishes: Wishes): string[] {
  const { vmid } = guest;
  const wish = wishes[vmid];
  if (wish === undefined || wish.mode === 'observe') return [];
  const left: string[] = [];
  const isPowerManaged = wish.power === 'running' || wish.power === 'stopped';
  if (isPowerManaged && guest.status !== wish.power) left.push(`${vmid} is ${guest.status}`);
  for (const [key, value] of Object.entries(wish.config)) {
    const actual = plainValue(guest.pending[key] ?? guest.config[key] ?? '');
    if (actual !== value) left.push(`${vmid} has ${key} = ${actual}, not ${value}`);
  }
  return left;
}
