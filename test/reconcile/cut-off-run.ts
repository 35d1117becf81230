/**
 * One wish, and an agent that is cut off at a given step: kill -9 or SIGTERM before a call to a port
 * or after it, its answer never seen. Another agent takes over on what the journal kept. What must
 * hold in the end is the same as if nothing had happened.
 */
import { parseVmid } from '../../src/reconcile/ids.ts';
import type { OpRequest } from '../../src/reconcile/intake.ts';
import { isTerminal, type OpRecord } from '../../src/reconcile/op.ts';
import type { SentRequest } from '../support/model/api.ts';
import type { Fault, RequestKind } from '../support/model/faults.ts';
import type { GuestSetup } from '../support/model/node.ts';
import { ModelWorld } from '../support/model-world.ts';

const VMID = 101;
/** Long enough for an unanswered op of a hub, its second try, and a pass after that. */
const RUN_MS = 260_000;
const ASKED_AT_MS = 500;

export interface Wish {
  readonly name: string;
  readonly guest: GuestSetup;
  readonly desired?: object;
  /**
   * An op. A hub asks again with the same key until it has an answer; an operator looks whether
   * the op is there.
   */
  readonly asked?: Omit<OpRequest, 'vmid' | 'signed'>;
  /** How often each thing happens to the guest, whatever the agent goes through. */
  readonly effects: { readonly starts: number; readonly stops: number; readonly writes: number };
}

export interface Cut {
  /** The step of the first life at which it ends; null: it does not. */
  readonly atStep: number | null;
  readonly how: 'kill' | 'sigterm';
  /** Steps are counted, and the cut is made, in this time; it covers the work on the wish. */
  readonly withinMs: number;
  readonly downMs: number;
  readonly fault?: { readonly on: RequestKind; readonly fault: Fault };
}

export interface CutOffRun {
  /** Steps that the first life took. */
  readonly steps: number;
  /** What did not hold. */
  readonly broken: readonly string[];
}

export async function runCutOff(wish: Wish, cut: Cut): Promise<CutOffRun> {
  const world = new ModelWorld();
  const guest = world.node.add(VMID, wish.guest);
  world.desired.put('desired.yaml', wish.desired === undefined ? {} : { [VMID]: wish.desired });
  if (cut.fault !== undefined) world.api.faults.plan(cut.fault.on, cut.fault.fault);
  const broken: string[] = [];
  watchRequests(world, broken);
  world.onEvent = (event) => {
    if (event.kind === 'halted') broken.push(`halted: ${String(event.error)}`);
  };

  let steps = 0;
  const wasCut = new AbortController();
  await world.start({
    intervalMs: 30_000,
    onStep: () => {
      if (world.clock.elapsedMs > cut.withinMs) return;
      steps += 1;
      if (steps !== cut.atStep) return;
      wasCut.abort();
      if (cut.how === 'kill') world.kill();
      else void world.stop();
    },
  });
  await world.clock.advanceTo(ASKED_AT_MS);
  const asker = ask(wish, world);
  while (!wasCut.signal.aborted && world.clock.elapsedMs < cut.withinMs) {
    await world.clock.advanceTo(world.clock.elapsedMs + 1_000);
  }
  if (wasCut.signal.aborted) {
    await world.stop();
    await world.clock.advanceTo(world.clock.elapsedMs + cut.downMs);
    await world.start({ intervalMs: 30_000 });
    await ask(wish, world);
  }
  await world.clock.advanceTo(world.clock.elapsedMs + RUN_MS);
  if (!wasCut.signal.aborted) await asker;
  const { starts, stops, writes } = guest;
  const effects = { starts, stops, writes };
  if (JSON.stringify(effects) !== JSON.stringify(wish.effects)) {
    broken.push(`effects ${JSON.stringify(effects)}, not ${JSON.stringify(wish.effects)}`);
  }
  broken.push(...findBrokenRecords(world.journal.records));
  if (wish.asked !== undefined && !hasSucceeded(world.journal.records)) {
    broken.push('the op did not succeed');
  }
  const plan = await world.clock.until(world.life.engine.plan(), 60_000);
  for (const { status, verdict, vmid } of plan.entries) {
    // What was asked for with a hold stays as it is, against desired state.
    if (status !== 'in_sync' && verdict.kind === 'go') broken.push(`${vmid} is left: ${status}`);
  }
  await world.stop();
  world.node.ha.end();
  if (world.clock.sleepers > 0) broken.push(`${world.clock.sleepers} sleepers are left`);
  return { steps, broken };
}

async function ask(wish: Wish, world: ModelWorld): Promise<void> {
  const vmid = parseVmid(VMID);
  const { asked } = wish;
  if (asked === undefined || vmid === null) return;
  const isThere = world.journal.records.some(({ state }) => state === 'received');
  if (asked.origin === 'operator' && isThere) return;
  const signed = {
    idempKey: 'the-one-key',
    payloadHmac: 'f'.repeat(64),
    expiresAtMs: world.clock.now() + 3_600_000,
    signers: [{ keyid: 'hub-1', key_sha256: '1'.repeat(64) }],
  };
  const request = asked.origin === 'hub' ? { ...asked, vmid, signed } : { ...asked, vmid };
  const answer = world.life.engine.submit(request);
  // A life that was cut off never answers.
  await world.clock.until(answer, 5_000).catch(() => undefined);
}

/** At most one request per attempt, and `started` before it (J2). */
function watchRequests(world: ModelWorld, broken: string[]): void {
  const used = new Set<string>();
  world.api.onSent = ({ kind, vmid }: SentRequest) => {
    const mine = world.journal.records.filter(
      (record) => record.vmid === vmid && record.kind === kind,
    );
    const latest = mine.at(-1);
    if (latest?.state !== 'started') broken.push(`${kind} was sent after ${latest?.state}`);
    const attempt = `${latest?.op_id} attempt ${latest?.attempt}`;
    if (used.has(attempt)) broken.push(`${kind} was sent twice for ${attempt}`);
    used.add(attempt);
  };
}

/** Every op has ended, once per attempt, in order. */
function findBrokenRecords(records: readonly OpRecord[]): string[] {
  const broken: string[] = [];
  for (const [opId, own] of Map.groupBy(records, ({ op_id }) => op_id)) {
    const last = own.at(-1);
    if (last === undefined || !isTerminal(last.state)) broken.push(`${opId} is ${last?.state}`);
    const ends = own.filter(({ state }) => isTerminal(state)).map(({ attempt }) => attempt);
    if (new Set(ends).size !== ends.length) broken.push(`${opId} ended twice in one attempt`);
  }
  return broken;
}

function hasSucceeded(records: readonly OpRecord[]): boolean {
  const asked = records.find(({ state }) => state === 'received');
  return records.some(({ op_id, state }) => asked?.op_id === op_id && state === 'succeeded');
}
