/**
 * Entries of guests that are not looked at further, or could not be: each with its reason and
 * without an action. Pure.
 */
import type { DesiredGuest, Mode } from './desired.ts';
import type { Problem } from './errors.ts';
import type { ActualState, Guest } from './guest.ts';
import type { Vmid } from './ids.ts';
import type { Condition, PlanEntry, PlanStatus } from './plan.ts';

/** What every entry says of its guest. */
export function identify(
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

function skip(
  wanted: DesiredGuest,
  guest: Guest | undefined,
  mode: Mode,
  condition: Condition,
): PlanEntry {
  const isUnknown = condition.code === 'unknown';
  const status: PlanStatus = isUnknown ? 'unknown' : 'skipped';
  return {
    ...identify(wanted, guest, mode),
    status,
    changes: [],
    actions: [],
    verdict: { kind: isUnknown ? 'wait' : 'never', condition },
    conditions: [condition],
  };
}

/** Why this guest is not planned further, or null: it is another one, or cannot be compared. */
export function planSkipped(wanted: DesiredGuest, guest: Guest, mode: Mode): PlanEntry | null {
  const condition = findMismatch(wanted, guest) ?? findUnread(wanted, guest);
  return condition === null ? null : skip(wanted, guest, mode, condition);
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

function findUnread(wanted: DesiredGuest, { config }: Guest): Condition | null {
  if (config.kind !== 'unknown' || wanted.config.size === 0) return null;
  const { code: cause, message } = config.problem;
  return { code: 'unknown', cause, message: `its config cannot be read: ${message}` };
}

/** Its power may be known, but a start must not come before a config change. */
export function planUnread(wanted: DesiredGuest, guest: Guest, mode: Mode): PlanEntry {
  return skip(wanted, guest, mode, { code: 'unknown', message: 'its config is not read yet' });
}

/** Absent only if the lists it could stand in were complete, and would show it (PVE-FACTS 10). */
export function planAbsent(wanted: DesiredGuest, actual: ActualState, mode: Mode): PlanEntry {
  return skip(wanted, undefined, mode, explainAbsence(wanted, actual));
}

function explainAbsence({ vmid, kind }: DesiredGuest, actual: ActualState): Condition {
  for (const list of kind === null ? [actual.qemu, actual.lxc] : [actual[kind]]) {
    if (list.kind === 'unknown') return unknownFor(list.problem);
  }
  const unseen = actual.unseen.get(vmid);
  if (unseen !== undefined) return unknownFor(unseen);
  const node = actual.elsewhere.get(vmid);
  return node === undefined
    ? { code: 'not_found', message: 'PVE lists no such guest on this node' }
    : { code: 'guest_moved', message: `the guest is on node ${node}` };
}

function unknownFor({ code: cause, message }: Problem): Condition {
  return { code: 'unknown', cause, message };
}

export function planClaimedTwice(
  vmid: Vmid,
  sources: readonly string[],
  guest: Guest | undefined,
  mode: Mode,
): PlanEntry {
  const condition: Condition = {
    code: 'claimed_twice',
    message: `claimed by ${sources.join(' and ')}: left alone until one of them lets go`,
  };
  return {
    vmid,
    kind: guest?.kind ?? null,
    name: guest?.name ?? null,
    mode,
    status: 'skipped',
    power: { desired: 'unmanaged', actual: guest?.power ?? null },
    changes: [],
    actions: [],
    verdict: { kind: 'never', condition },
    conditions: [condition],
  };
}
