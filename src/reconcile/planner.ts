/**
 * The planner: desired and actual state in, the plan out. Pure and total: every desired guest has
 * an entry, also the unchanged and the skipped ones, with the reason. It never throws.
 *
 * Laws (test/reconcile/planner.test.ts): planning what was applied is empty; an unknown actual
 * state yields no action; no action on a guest that is not desired; independent of key order; no
 * running guest is stopped unless power says `stopped`.
 */
import type { DesiredGuest, DesiredState, Mode } from './desired.ts';
import { type ConfigDiff, type DiffContext, diffConfig } from './diff.ts';
import { classifyAction, judge } from './gate.ts';
import { describeHold, type GuestMemory, guardReconcile } from './guards.ts';
import type { ActualState, BulkTask, Guest, NodeLook, RunningTask } from './guest.ts';
import type { Vmid } from './ids.ts';
import type { Action } from './op.ts';
import type { Condition, Plan, PlanEntry, PlannedAction, PlanStatus, Verdict } from './plan.ts';
import type { EnginePolicy, Pause } from './ports.ts';

export interface PlanContext extends DiffContext {
  readonly policy: Pick<EnginePolicy, 'mode' | 'unsigned' | 'operator' | 'irreversibleSignatures'>;
  readonly pause: Pause | null;
  memoryOf(vmid: Vmid): GuestMemory;
}

/** What stands around one guest when it is planned. */
export interface Surroundings {
  readonly tasks: readonly RunningTask[];
  readonly bulkTasks: readonly BulkTask[];
  readonly node: NodeLook | null;
}

const GO: Verdict = { kind: 'go' };
const NO_TASKS: readonly RunningTask[] = [];

export function planGuests(
  desired: DesiredState,
  actual: ActualState,
  node: NodeLook | null,
  context: PlanContext,
): Plan {
  const tasksOf = Map.groupBy(
    actual.tasks.filter((task) => task.vmid !== null),
    (task) => task.vmid,
  );
  const entries: PlanEntry[] = [];
  for (const wanted of desired.guests.values()) {
    const guest = actual.guests.get(wanted.vmid);
    const tasks = tasksOf.get(wanted.vmid) ?? NO_TASKS;
    const around = { tasks, bulkTasks: actual.bulkTasks, node };
    if (guest === undefined) entries.push(planAbsent(wanted, actual, context));
    else if (guest.config.kind === 'not_read' && wanted.config.size > 0) {
      entries.push(planUnread(wanted, guest, context));
    } else entries.push(planGuest(wanted, guest, around, context));
  }
  for (const [vmid, sources] of desired.claimedTwice) {
    entries.push(planClaimedTwice(vmid, sources, actual.guests.get(vmid), context));
  }
  return { entries: entries.sort((a, b) => a.vmid - b.vmid) };
}

/** Its power may be known, but a start must not come before a config change. */
function planUnread(wanted: DesiredGuest, guest: Guest, context: PlanContext): PlanEntry {
  const mode = wanted.mode ?? context.policy.mode;
  return skipped(wanted, guest, mode, unknownCondition('its config is not read yet'), 'unknown');
}

/** One guest, as a pass or its lane's turn sees it. */
export function planGuest(
  wanted: DesiredGuest,
  guest: Guest,
  around: Surroundings,
  context: PlanContext,
): PlanEntry {
  const mode = wanted.mode ?? context.policy.mode;
  const mismatch = findMismatch(wanted, guest);
  if (mismatch !== null) return skipped(wanted, guest, mode, mismatch);
  if (guest.config.kind === 'unknown' && wanted.config.size > 0) {
    const message = `its config cannot be read: ${guest.config.problem.message}`;
    return skipped(wanted, guest, mode, unknownCondition(message), 'unknown');
  }
  const diff =
    guest.config.kind === 'known' ? diffConfig(wanted, guest, guest.config.config, context) : null;
  const memory = context.memoryOf(wanted.vmid);
  const conditions = diff === null ? [] : diffConditions(diff);
  const actions = planActions(wanted, guest, diff, memory, context, conditions);
  const differs = actions.length > 0 || (diff !== null && diff.changes.length > 0);
  const kinds = actions.map(({ action }) => action.kind);
  const input = { ...around, guest, wanted, memory, mode, pause: context.pause, actions: kinds };
  const verdict = actions.length > 0 ? guardReconcile(input) : GO;
  // A hold is shown also where there is nothing to hold back.
  const hold = actions.length > 0 ? [] : describeHold(input);
  return {
    ...identity(wanted, guest, mode),
    status: differs || conditions.some(({ code }) => code === 'gate_denied') ? 'drift' : 'in_sync',
    changes: diff?.changes ?? [],
    actions,
    verdict,
    conditions: [...(verdict.kind === 'go' ? [] : [verdict.condition]), ...hold, ...conditions],
  };
}

function identity(
  wanted: DesiredGuest,
  guest: Guest | undefined,
  mode: Mode,
): Pick<PlanEntry, 'vmid' | 'kind' | 'name' | 'mode' | 'power'> {
  return {
    vmid: wanted.vmid,
    kind: guest?.kind ?? wanted.kind,
    name: guest?.name ?? wanted.name,
    mode,
    power: { desired: wanted.power, actual: guest?.power ?? null },
  };
}

function skipped(
  wanted: DesiredGuest,
  guest: Guest | undefined,
  mode: Mode,
  condition: Condition,
  status: PlanStatus = 'skipped',
): PlanEntry {
  return {
    ...identity(wanted, guest, mode),
    status,
    changes: [],
    actions: [],
    verdict: { kind: status === 'unknown' ? 'wait' : 'never', condition },
    conditions: [condition],
  };
}

function unknownCondition(message: string): Condition {
  return { code: 'unknown', message };
}

function findMismatch(wanted: DesiredGuest, guest: Guest): Condition | null {
  if (wanted.kind !== null && wanted.kind !== guest.kind) {
    return { code: 'kind_mismatch', message: `it is ${guest.kind}, desired says ${wanted.kind}` };
  }
  if (wanted.name !== null && wanted.name !== guest.name) {
    const name = guest.name ?? 'nothing';
    return { code: 'name_mismatch', message: `it is called ${name}, desired says ${wanted.name}` };
  }
  return null;
}

/** Absent only if the lists it could stand in were complete (PVE-FACTS 10). */
function planAbsent(wanted: DesiredGuest, actual: ActualState, context: PlanContext): PlanEntry {
  const mode = wanted.mode ?? context.policy.mode;
  const lists = wanted.kind === null ? [actual.qemu, actual.lxc] : [actual[wanted.kind]];
  for (const list of lists) {
    if (list.kind === 'unknown') {
      return skipped(wanted, undefined, mode, unknownCondition(list.problem.message), 'unknown');
    }
  }
  const node = actual.elsewhere.get(wanted.vmid);
  const condition: Condition =
    node === undefined
      ? { code: 'not_found', message: 'PVE lists no such guest on this node' }
      : { code: 'guest_moved', message: `the guest is on node ${node}` };
  return skipped(wanted, undefined, mode, condition);
}

function planClaimedTwice(
  vmid: Vmid,
  sources: readonly string[],
  guest: Guest | undefined,
  context: PlanContext,
): PlanEntry {
  const condition: Condition = {
    code: 'claimed_twice',
    message: `claimed by ${sources.join(' and ')}: left alone until one of them lets go`,
  };
  return {
    vmid,
    kind: guest?.kind ?? null,
    name: guest?.name ?? null,
    mode: context.policy.mode,
    status: 'skipped',
    power: { desired: 'unmanaged', actual: guest?.power ?? null },
    changes: [],
    actions: [],
    verdict: { kind: 'never', condition },
    conditions: [condition],
  };
}

function diffConditions(diff: ConfigDiff): Condition[] {
  const conditions: Condition[] = [];
  if (diff.restartRequired.length > 0) {
    const keys = diff.restartRequired;
    const message = `${keys.join(', ')}: written, takes effect when the guest is restarted`;
    conditions.push({ code: 'restart_required', message, keys });
  }
  for (const { key, needs } of diff.denied) {
    conditions.push({ code: 'gate_denied', message: `${key}: ${needs}`, keys: [key] });
  }
  for (const { key, why } of diff.invalid) {
    conditions.push({ code: 'invalid_value', message: `${key}: ${why}`, keys: [key] });
  }
  return conditions;
}

/** In the order they run: stop, set_config, start. Adds a condition for what the gate denies. */
function planActions(
  wanted: DesiredGuest,
  guest: Guest,
  diff: ConfigDiff | null,
  memory: GuestMemory,
  context: PlanContext,
  conditions: Condition[],
): PlannedAction[] {
  const actions: PlannedAction[] = [];
  const add = (action: Action, remarks: readonly string[]): void => {
    const reversibility = classifyAction(action, guest.kind, context.semantics);
    const verdict = judge({ origin: 'reconcile', reversibility, signatures: 0 }, context.policy);
    if (verdict.kind === 'pass') actions.push({ action, reversibility, remarks });
    else conditions.push({ code: 'gate_denied', message: `${action.kind}: ${verdict.needs}` });
  };
  if (wanted.power === 'stopped' && guest.power === 'running') {
    add({ kind: 'stop', params: wanted.stop }, haStopRemarks(wanted, guest));
  }
  if (diff !== null && guest.config.kind === 'known') {
    const change = planSetConfig(diff, guest.config.config.digest);
    if (change !== null) actions.push(change);
  }
  const isStartWanted =
    wanted.power === 'running' || (wanted.power === 'initial' && !memory.isInitialDone);
  if (isStartWanted && guest.power === 'stopped') add({ kind: 'start', params: {} }, []);
  return actions;
}

function planSetConfig(diff: ConfigDiff, digest: string): PlannedAction | null {
  if (diff.delete.length === 0 && Object.keys(diff.set).length === 0) return null;
  const params = { set: diff.set, delete: diff.delete };
  const action: Action = { kind: 'set_config', params };
  return { action, reversibility: diff.reversibility, digest, remarks: [] };
}

/** PVE-FACTS 35: HA kills a VM at the timeout whatever was asked; a container it never forces. */
function haStopRemarks(wanted: DesiredGuest, guest: Guest): string[] {
  if (guest.ha.kind !== 'managed' || guest.kind !== 'qemu') return [];
  return [`HA cuts the power after ${wanted.stop.timeout_s} s if the guest has not shut down`];
}
