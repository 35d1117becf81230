/** What the whole history must show, once it is over. */
import { isTerminal, type OpRecord } from '../../src/reconcile/op.ts';
import { AGENT_TOKEN } from '../support/model/api.ts';
import type { SimWorld } from './sim-world.ts';

export function auditRecords(world: SimWorld): void {
  const records = world.archive.ops;
  auditKeys(records, world);
  for (const own of Map.groupBy(records, ({ vmid }) => vmid).values()) auditLane(own, world);
  world.asked.checkEnded(records);
}

function auditKeys(records: readonly OpRecord[], { verdicts }: SimWorld): void {
  const fail = (message: string): void => verdicts.fail('key_succeeds_at_most_once', message);
  const keyed = records.filter(({ idemp_key: key }) => key !== undefined);
  for (const [key, own] of Map.groupBy(keyed, ({ idemp_key: key }) => key)) {
    const ops = new Set(own.map(({ op_id: opId }) => opId));
    if (ops.size > 1) fail(`${key} is ${ops.size} ops: ${[...ops].join(', ')}`);
    const ends = own.filter(({ state }) => state === 'succeeded').length;
    if (ends > 1) fail(`${key} succeeded ${ends} times`);
  }
}

/** The records of one guest's ops: one op after another, those received in the order they were. */
function auditLane(records: readonly OpRecord[], { verdicts }: SimWorld): void {
  const fail = (message: string): void => verdicts.fail('order_within_a_lane', message);
  const receivedAt = new Map<string, number>();
  const begun: string[] = [];
  for (const { op_id: opId, parent_op_id: parent, state, seq, vmid, attempt } of records) {
    if (state === 'received') receivedAt.set(opId, seq);
    // What ends before it began is cancelled, and may be so out of turn.
    if (attempt === 0) continue;
    const own = parent ?? opId;
    if (begun.at(-1) === own) continue;
    if (begun.includes(own)) fail(`${own} on ${vmid} goes on after ${begun.at(-1)} began`);
    const before = begun.findLast((other) => receivedAt.has(other));
    const isEarlier =
      before !== undefined && (receivedAt.get(own) ?? Infinity) < (receivedAt.get(before) ?? 0);
    if (isEarlier) fail(`${own} on ${vmid} was received before ${before}, and began after it`);
    begun.push(own);
  }
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
