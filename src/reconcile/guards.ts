/**
 * Guards: small pure functions that turn what was observed into "go", "wait, because" or "never,
 * because". The first in the list that objects is the one people see; a new guard is a new entry.
 *
 * `Holds` stop reconciling only; the `safety` guards stop what an operator or a signature asks
 * for as well.
 */
import type { DesiredGuest, Mode } from './desired.ts';
import { type BulkTask, type Guest, type NodeLook, type RunningTask, splitTags } from './guest.ts';
import type { Action } from './op.ts';
import type { Condition, ConditionCode, Verdict } from './plan.ts';
import type { Hold, Pause } from './ports.ts';
import { isFlappingHold } from './retry.ts';

/** The PVE tag that puts a guest on hold wherever it runs. */
export const HOLD_TAG = 'reconcile-hold';

/** HA states from which a request is taken up (PVE-FACTS 38). */
const HA_SETTLED = new Set(['started', 'stopped']);
/** The manager is at work on the guest, and it passes: one request at a time (PVE-FACTS 34). */
const HA_TRANSITIONS = new Set([
  'request_start',
  'request_start_balance',
  'request_stop',
  'queued',
  'starting',
  'stopping',
]);
/** It goes to another node, or comes from one. Every other state takes a person. */
const HA_MOVING = new Set(['migrate', 'relocate']);

/** What ends without anybody seeing to the guest itself. */
const HA_PASSES: ReadonlySet<ConditionCode> = new Set(['ha_unavailable', 'ha_transition']);

/** What the agent remembers about a guest. */
export interface GuestMemory {
  readonly hold: Hold | null;
  readonly isInitialDone: boolean;
  readonly backoff: { readonly untilMs: number; readonly reason: string } | null;
  readonly unsettled: Unsettled | null;
}

/** A request that the agent's last life sent, and that may still take effect. */
export interface Unsettled {
  readonly kind: Action['kind'];
  /** Wall clock ms: it comes no more after that. */
  readonly untilMs: number;
}

export interface GuardInput {
  readonly guest: Guest;
  readonly actions: readonly Action['kind'][];
  readonly tasks: readonly RunningTask[];
  readonly bulkTasks: readonly BulkTask[];
  readonly node: NodeLook | null;
  readonly memory: Pick<GuestMemory, 'unsettled'>;
}

export interface HoldInput extends GuardInput {
  readonly wanted: DesiredGuest;
  readonly memory: GuestMemory;
  readonly pause: Pause | null;
  readonly mode: Mode;
}

type Guard<Input> = (input: Input) => Verdict | null;

const SAFETY: readonly Guard<GuardInput>[] = [
  refuseTemplate,
  waitForLock,
  waitForStranger,
  waitForBulkTask,
  waitForUnsettled,
  refuseWithoutQuorum,
  guardHa,
  refusePausedGuest,
];

const HOLDS: readonly Guard<HoldInput>[] = [
  holdByMode,
  holdByPause,
  holdByTag,
  holdByPerson,
  holdByBackoff,
];

const NOT_HELD: readonly Condition[] = [];

/** What keeps anybody's op from the guest right now. */
export function guardSafety(input: GuardInput): Verdict {
  return firstObjection(SAFETY, input);
}

/**
 * The same for a guest that is down half-way through a restart: HA that is disarmed, or moves the
 * guest, is waited for like a lock.
 */
export function guardHalfWay(input: GuardInput): Verdict {
  const verdict = guardSafety(input);
  if (verdict.kind !== 'never' || !HA_PASSES.has(verdict.condition.code)) return verdict;
  return { kind: 'wait', condition: verdict.condition };
}

/** What keeps reconciling from the guest: holds first, then all that is unsafe. */
export function guardReconcile(input: HoldInput): Verdict {
  const held = firstObjection(HOLDS, input);
  return held.kind === 'go' ? guardSafety(input) : held;
}

/** The hold on a guest, by its tag or by a person. */
export function describeHold(guest: Guest, memory: GuestMemory): readonly Condition[] {
  if (guest.tags.length === 0 && memory.hold === null) return NOT_HELD;
  const held = holdByTag({ guest }) ?? holdByPerson({ memory });
  return held === null || held.kind === 'go' ? NOT_HELD : [held.condition];
}

function firstObjection<Input>(guards: readonly Guard<Input>[], input: Input): Verdict {
  for (const guard of guards) {
    const verdict = guard(input);
    if (verdict !== null) return verdict;
  }
  return { kind: 'go' };
}

function wait(
  code: ConditionCode,
  message: string,
  more: { untilMs?: number; upid?: string } = {},
): Verdict {
  return { kind: 'wait', condition: { code, message, ...more } };
}

function never(code: ConditionCode, message: string): Verdict {
  const condition: Condition = { code, message };
  return { kind: 'never', condition };
}

function until(untilMs: number | null): { untilMs?: number } {
  return untilMs === null ? {} : { untilMs };
}

function holdByMode({ mode }: HoldInput): Verdict | null {
  if (mode === 'enforce') return null;
  return mode === 'observe'
    ? never('observe_only', 'mode is observe: drift is shown, nothing is done')
    : never('paused', 'mode is paused');
}

function holdByPause({ pause }: HoldInput): Verdict | null {
  return pause && wait('paused', `reconciling is paused: ${pause.reason}`, until(pause.untilMs));
}

/** The list may be a second older than the config, and what is written goes by the config. */
function holdByTag({ guest: { tags, config } }: Pick<HoldInput, 'guest'>): Verdict | null {
  const inConfig = config.kind === 'known' ? config.config.current.get('tags') : undefined;
  return tags.includes(HOLD_TAG) || splitTags(inConfig ?? '').includes(HOLD_TAG)
    ? wait('on_hold', `the guest carries the tag ${HOLD_TAG}`)
    : null;
}

function holdByPerson({ memory: { hold } }: Pick<HoldInput, 'memory'>): Verdict | null {
  return hold && { kind: 'wait', condition: conditionOfHold(hold) };
}

/** Its code says that it is a hold: the message has the reason alone. */
export function conditionOfHold(hold: Hold): Condition {
  const { reason, untilMs } = hold;
  const code = isFlappingHold(hold) ? 'flapping' : 'on_hold';
  return { code, message: reason.replace(/^flapping: /, ''), ...until(untilMs) };
}

function holdByBackoff({ memory: { backoff } }: HoldInput): Verdict | null {
  return backoff && wait('backing_off', backoff.reason, { untilMs: backoff.untilMs });
}

function refuseTemplate({ guest }: GuardInput): Verdict | null {
  return guest.template ? never('is_template', 'the guest is a template') : null;
}

function waitForLock({ guest, tasks }: GuardInput): Verdict | null {
  if (guest.lock === null) return null;
  if (guest.lock === 'suspended') {
    return never('suspended', 'the guest is suspended to disk; a start would resume it');
  }
  const holder = tasks.find((task) => task.vmid === guest.vmid);
  const by = holder === undefined ? '' : ` by ${holder.type} of ${holder.user}`;
  const upid = holder === undefined ? {} : { upid: holder.upid };
  return wait('guest_locked', `the guest is locked (${guest.lock})${by}`, upid);
}

function waitForStranger({ guest, tasks }: GuardInput): Verdict | null {
  const task = tasks.find(({ vmid }) => vmid === guest.vmid);
  if (task === undefined) return null;
  const whose = task.isOurs ? 'a late task of ours' : `a task of ${task.user}`;
  return wait('guest_busy', `${whose} is under way (${task.type})`, { upid: task.upid });
}

function waitForBulkTask({ bulkTasks }: GuardInput): Verdict | null {
  const task = bulkTasks.find(({ endedAtMs }) => endedAtMs === null);
  return task === undefined
    ? null
    : wait('node_bulk_task', `the node is busy with ${task.type}`, { upid: task.upid });
}

/** What undoes it would be undone by it. The same again is refused by PVE, or does no harm. */
function waitForUnsettled({ memory: { unsettled }, actions }: GuardInput): Verdict | null {
  if (unsettled === null) return null;
  const { kind, untilMs } = unsettled;
  const isOther = actions.some((action) => action !== 'set_config' && action !== kind);
  const message = `a ${kind} sent before the agent ended may still begin`;
  return isOther ? wait('unknown', message, { untilMs }) : null;
}

function refuseWithoutQuorum({ node }: GuardInput): Verdict | null {
  return node?.quorate === false
    ? wait('no_quorum', 'the cluster has no quorum: nothing can be written')
    : null;
}

function guardHa({ guest, node, actions }: GuardInput): Verdict | null {
  const { ha } = guest;
  if (actions.every((kind) => kind === 'set_config')) return null;
  if (ha.kind === 'unknown')
    return wait('unknown', `its HA state is unknown: ${ha.problem.message}`);
  if (ha.kind !== 'managed') return null;
  const { state } = ha;
  if (node?.ha === 'disarmed' || node?.ha === 'frozen' || state === 'freeze') {
    const how = state === 'freeze' ? 'frozen' : node?.ha;
    return never('ha_unavailable', `HA is ${how}: it would drop the request`);
  }
  if (state === null || HA_TRANSITIONS.has(state)) {
    return wait('ha_transition', `HA is at work on the guest (state ${state ?? 'new'})`);
  }
  if (HA_MOVING.has(state)) {
    return never('ha_transition', `HA is moving the guest (state ${state})`);
  }
  return HA_SETTLED.has(state)
    ? null
    : never('ha_error', `HA has the guest in state ${state}: clear it in the HA manager first`);
}

function refusePausedGuest({ guest, actions }: GuardInput): Verdict | null {
  if (guest.power !== 'running' || guest.qmpStatus === null) return null;
  if (guest.qmpStatus === 'io-error') {
    return never('io_error', 'the guest stands still on an I/O error of its storage');
  }
  const isPaused = guest.qmpStatus === 'paused' || guest.qmpStatus === 'suspended';
  // A paused guest cannot answer a shutdown; a config change does it no harm.
  return isPaused && actions.some((kind) => kind !== 'set_config')
    ? never('guest_paused', 'the guest is paused; resume it first')
    : null;
}
