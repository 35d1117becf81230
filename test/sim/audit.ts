/** What the whole history must show, once it is over. */
import { isTerminal } from '../../src/reconcile/op.ts';
import { AGENT_TOKEN } from '../support/model/api.ts';
import { findKeyFaults, findLaneFaults } from '../support/record-checks.ts';
import type { SimWorld } from './sim-world.ts';

export function auditRecords(world: SimWorld): void {
  const records = world.archive.ops;
  const { verdicts } = world;
  for (const fault of findKeyFaults(records)) verdicts.fail('key_succeeds_at_most_once', fault);
  for (const fault of findLaneFaults(records)) verdicts.fail('order_within_a_lane', fault);
  world.asked.checkEnded(records);
}

/** How far it still is from what is wanted, as PVE has it; empty: all has come right. */
export async function findDistance(world: SimWorld): Promise<readonly string[]> {
  const { agent, node, watched } = world;
  const left: string[] = [];
  const { running } = agent;
  if (running === null) return ['the agent is down'];
  for (const { opId, latest } of running.ledger.opsInFlight()) {
    left.push(`${opId} ${latest.kind} ${latest.vmid} is ${latest.state}`);
  }
  for (const { vmid, power, mode, config } of (await watched.now()).guests.values()) {
    const guest = node.guests.get(vmid);
    if (guest === undefined || (mode ?? 'enforce') !== 'enforce') continue;
    const isPowerManaged = power === 'running' || power === 'stopped';
    if (isPowerManaged && guest.power !== power) left.push(`${vmid} is ${guest.power}`);
    for (const [key, value] of config) {
      const pending = guest.pending.get(key);
      const current = guest.config.get(key) ?? null;
      const actual =
        pending === undefined ? current : pending.kind === 'set' ? pending.value : null;
      if (actual !== value) left.push(`${vmid} has ${key} = ${actual}, not ${value}`);
    }
  }
  for (const { vmid, user, end, type } of node.tasks.all) {
    if (end === null && user === AGENT_TOKEN) left.push(`${type} ${vmid} is running`);
  }
  return left;
}

/** Nothing grows with time: what the newest segment restates is what anybody may still ask for. */
export function auditBounds(world: SimWorld, { isStopped }: { isStopped: boolean }): void {
  const { verdicts, clock, archive } = world;
  const fail = (message: string): void => verdicts.fail('memory_and_lanes_are_bounded', message);
  if (!isStopped) fail('the engine did not stop within 5 s');
  if (clock.sleepers > 0) fail(`${clock.sleepers} sleepers are left`);
  const last = new Map(archive.ops.map((record) => [record.op_id, record]));
  for (const [opId, { state }] of last) if (!isTerminal(state)) fail(`${opId} is left ${state}`);
}
