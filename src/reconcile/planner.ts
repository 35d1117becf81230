/**
 * The planner: desired and actual state in, the plan out. Pure and total: every desired guest has
 * an entry, also the unchanged and the skipped ones, with the reason. It never throws.
 *
 * Laws (test/reconcile/planner-laws.test.ts): planning what was applied is empty; an unknown actual
 * state yields no action; no action on a guest that is not desired; independent of key order; no
 * running guest is stopped unless power says `stopped`.
 */
import type { DesiredGuest, DesiredState, Mode } from './desired.ts';
import { type ConfigDiff, type DiffContext, diffConfig, NO_DIFFERENCE } from './diff.ts';
import { assertNever } from './errors.ts';
import { classifyAction, judge } from './gate.ts';
import { describeHold, type GuestMemory, guardReconcile } from './guards.ts';
import type { ActualState, BulkTask, Guest, NodeLook, Power, RunningTask } from './guest.ts';
import type { Vmid } from './ids.ts';
import type { SentAction } from './op.ts';
import type { Condition, Plan, PlanEntry, PlannedAction, Verdict } from './plan.ts';
import { identify, planAbsent, planClaimedTwice, planSkipped, planUnread } from './plan-skipped.ts';
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
const NONE: readonly never[] = [];

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
  const quiet = { tasks: NONE, bulkTasks: actual.bulkTasks, node };
  const entries: PlanEntry[] = [];
  for (const wanted of desired.guests.values()) {
    const guest = actual.guests.get(wanted.vmid);
    const tasks = tasksOf.get(wanted.vmid);
    const around = tasks === undefined ? quiet : { ...quiet, tasks };
    const mode = wanted.mode ?? context.policy.mode;
    if (guest === undefined) entries.push(planAbsent(wanted, actual, mode));
    else if (guest.config.kind === 'not_read' && wanted.config.size > 0) {
      entries.push(planUnread(wanted, guest, mode));
    } else entries.push(planGuest(wanted, guest, around, context));
  }
  for (const [vmid, sources] of desired.claimedTwice) {
    const guest = actual.guests.get(vmid);
    entries.push(planClaimedTwice(vmid, sources, guest, context.policy.mode));
  }
  return { entries: isAscending(entries) ? entries : entries.sort((a, b) => a.vmid - b.vmid) };
}

function isAscending(entries: readonly PlanEntry[]): boolean {
  let last = 0;
  for (const { vmid } of entries) {
    if (vmid < last) return false;
    last = vmid;
  }
  return true;
}

/** One guest, as a pass or its lane's turn sees it. */
export function planGuest(
  wanted: DesiredGuest,
  guest: Guest,
  around: Surroundings,
  context: PlanContext,
): PlanEntry {
  const mode = wanted.mode ?? context.policy.mode;
  const skipped = planSkipped(wanted, guest, mode);
  if (skipped !== null) return skipped;
  const { config } = guest;
  const diff = config.kind === 'known' ? diffConfig(wanted, guest, config.config, context) : null;
  const memory = context.memoryOf(wanted.vmid);
  const power = wantedChange(wanted, guest, memory);
  if (power === null && (diff === null || diff === NO_DIFFERENCE)) {
    // A hold is shown also where there is nothing to hold back.
    return inSync(wanted, guest, mode, describeHold(guest, memory));
  }
  const { actions, conditions } = planActions({ wanted, guest, diff, power }, context);
  const kinds = actions.map(({ action }) => action.kind);
  const input = { ...around, guest, wanted, memory, mode, pause: context.pause, actions: kinds };
  const verdict = kinds.length > 0 ? guardReconcile(input) : GO;
  const first = verdict.kind === 'go' ? [] : [verdict.condition];
  const hold = kinds.length > 0 ? [] : describeHold(guest, memory);
  return {
    ...identify(wanted, guest, mode),
    status: 'drift',
    changes: diff?.changes ?? [],
    actions,
    verdict,
    conditions: [...first, ...hold, ...conditions],
  };
}

/** Nine of ten guests, nine of ten times: nothing is made that is not in the entry. */
function inSync(
  wanted: DesiredGuest,
  guest: Guest,
  mode: Mode,
  conditions: readonly Condition[],
): PlanEntry {
  return {
    vmid: wanted.vmid,
    kind: guest.kind,
    name: guest.name ?? wanted.name,
    mode,
    power: { desired: wanted.power, actual: guest.power },
    status: 'in_sync',
    changes: NONE,
    actions: NONE,
    verdict: GO,
    conditions,
  };
}

/** The power that is wanted of a guest that has another one now; null: it is as wanted. */
function wantedChange(wanted: DesiredGuest, guest: Guest, memory: GuestMemory): Power | null {
  switch (wanted.power) {
    case 'unmanaged':
      return null;
    case 'stopped':
      return guest.power === 'running' ? 'stopped' : null;
    case 'initial':
      return guest.power === 'stopped' && !memory.isInitialDone ? 'running' : null;
    case 'running':
      return guest.power === 'stopped' ? 'running' : null;
    default:
      return assertNever(wanted.power);
  }
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

interface Differences {
  readonly wanted: DesiredGuest;
  readonly guest: Guest;
  readonly diff: ConfigDiff | null;
  readonly power: Power | null;
}

/** In the order they run: stop, set_config, start. What the gate denies becomes a condition. */
function planActions(
  { wanted, guest, diff, power }: Differences,
  context: PlanContext,
): { readonly actions: PlannedAction[]; readonly conditions: Condition[] } {
  const actions: PlannedAction[] = [];
  const conditions = diff === null ? [] : diffConditions(diff);
  const add = (action: SentAction, remarks: readonly string[]): void => {
    const reversibility = classifyAction(action, guest.kind, context.semantics, null);
    const verdict = judge({ origin: 'reconcile', reversibility, signatures: 0 }, context.policy);
    if (verdict.kind === 'pass') actions.push({ action, reversibility, remarks });
    else conditions.push({ code: 'gate_denied', message: `${action.kind}: ${verdict.needs}` });
  };
  if (power === 'stopped') {
    add({ kind: 'stop', params: wanted.stop }, haStopRemarks(wanted, guest));
  }
  if (diff !== null && guest.config.kind === 'known') {
    const change = planSetConfig(diff, guest.config.config.digest);
    if (change !== null) actions.push(change);
  }
  if (power === 'running') add({ kind: 'start', params: {} }, []);
  return { actions, conditions };
}

function planSetConfig(diff: ConfigDiff, digest: string): PlannedAction | null {
  if (diff.delete.length === 0 && Object.keys(diff.set).length === 0) return null;
  const params = { set: diff.set, delete: diff.delete };
  return {
    action: { kind: 'set_config', params },
    reversibility: diff.reversibility,
    digest,
    remarks: [],
  };
}

/** PVE-FACTS 35: HA kills a VM at the timeout whatever was asked; a container it never forces. */
function haStopRemarks(wanted: DesiredGuest, guest: Guest): string[] {
  if (guest.ha.kind !== 'managed' || guest.kind !== 'qemu') return [];
  return [`HA cuts the power after ${wanted.stop.timeout_s} s if the guest has not shut down`];
}
