/**
 * When an op is done, and how it ended: decided from what was seen of the guest, not from what a
 * task claims. Pure.
 */
import { assertNever, type Problem } from './errors.ts';
import type { Guest, GuestConfig } from './guest.ts';
import type { Upid } from './ids.ts';
import type { Action, Before, Observed, OpRecordDraft, SetConfigParams } from './op.ts';
import type { TaskEnd, ValueSemantics } from './ports.ts';

/** PVE derives boot time from an uptime in whole seconds: two readings differ by a few. */
const BOOT_TIME_SLACK_MS = 5_000;

/** What became of the request, as far as PVE told. */
export type Evidence =
  | { readonly kind: 'task'; readonly upid: Upid; readonly end: TaskEnd }
  | { readonly kind: 'applied' }
  | { readonly kind: 'refused'; readonly problem: Problem }
  /**
   * No task of ours was found and no answer came. `wasSo`: it has been seen to be as asked since, or
   * a task shows it, whoever did it.
   */
  | { readonly kind: 'nothing'; readonly problem: Problem; readonly wasSo: boolean };

type Told = Pick<OpRecordDraft, 'exit_status' | 'observed'>;

export interface Succeeded extends Told {
  readonly state: 'succeeded';
}

export interface Failed extends Told {
  readonly state: 'failed';
  readonly error: Problem;
}

/** The fields of a terminal record that the outcome decides. */
export type Outcome = Succeeded | Failed;

export interface Wanted {
  readonly action: Action;
  readonly before: Before;
}

/**
 * - `unseen`: all that can be seen is as wanted; of a key that PVE never gives back (`cipassword`)
 *   only its own word tells.
 * - `rebooted`: what was to be stopped runs, in another process: stopped and started again since, or
 *   moved to another node live and back, without having been down.
 */
export type Fulfilment =
  | { readonly kind: 'yes' }
  | { readonly kind: 'rebooted'; readonly saw: string }
  | { readonly kind: 'unseen'; readonly saw: string }
  | { readonly kind: 'no'; readonly saw: string };

/** Is the guest as the op wants it? */
export function judgeFulfilment(
  wanted: Wanted,
  guest: Guest,
  semantics: ValueSemantics,
): Fulfilment {
  const { action, before } = wanted;
  switch (action.kind) {
    case 'start':
      return judgePower(guest, 'running', 'started');
    case 'stop':
      if (guest.power === 'running' && compareBoots(guest, before) === 'later') {
        return { kind: 'rebooted', saw: 'the guest runs, in another process than before' };
      }
      return judgePower(guest, 'stopped', 'stopped');
    case 'restart':
      return compareBoots(guest, before) === 'later'
        ? { kind: 'yes' }
        : { kind: 'no', saw: guest.power };
    case 'set_config':
      return judgeConfig(action.params, guest, semantics);
    default:
      return assertNever(action);
  }
}

function judgePower(
  guest: Guest,
  power: 'running' | 'stopped',
  haState: 'started' | 'stopped',
): Fulfilment {
  // HA says `started` before the guest runs, and files requests it may lose (PVE-FACTS 33, 36).
  if (guest.ha.kind === 'managed') {
    const isDone = guest.power === power && guest.ha.state === haState;
    const saw = `the guest is ${guest.power}, HA state ${guest.ha.state ?? 'none'}`;
    return isDone ? { kind: 'yes' } : { kind: 'no', saw };
  }
  if (guest.power !== power) return { kind: 'no', saw: `the guest is ${guest.power}` };
  return { kind: 'yes' };
}

/**
 * Is it the boot that was there before? Its time is an uptime taken from our clock, which may step;
 * its process may get the same pid again after the host's own boot. So `later` takes another
 * process or, where no pid is told, a later time; and `same` takes both. What is neither is
 * `unclear`, and then nothing is claimed and nothing repeated.
 */
export function compareBoots(
  { bootedAtMs, pid }: Pick<Guest, 'bootedAtMs' | 'pid'>,
  before: Before,
): 'same' | 'later' | 'unclear' {
  if (bootedAtMs === null || before.booted_at_ms === null) {
    return bootedAtMs === before.booted_at_ms ? 'same' : 'unclear';
  }
  const laterMs = bootedAtMs - before.booted_at_ms;
  const isKnown = pid !== null && before.pid !== undefined;
  if (isKnown && pid !== before.pid) return 'later';
  if (Math.abs(laterMs) <= BOOT_TIME_SLACK_MS) return 'same';
  return isKnown || laterMs < 0 ? 'unclear' : 'later';
}

function judgeConfig(params: SetConfigParams, guest: Guest, semantics: ValueSemantics): Fulfilment {
  if (guest.config.kind !== 'known') return { kind: 'no', saw: 'its config could not be read' };
  const { config } = guest.config;
  const missing: string[] = [];
  const unseen: string[] = [];
  for (const [key, desired] of Object.entries(params.set)) {
    const actual = effectiveValue(config, key);
    if (semantics.isWriteOnly(guest.kind, key)) unseen.push(key);
    else if (!semantics.isSatisfied({ kind: guest.kind, key, desired, actual })) missing.push(key);
  }
  for (const key of params.delete) if (effectiveValue(config, key) !== null) missing.push(key);
  if (missing.length > 0)
    return { kind: 'no', saw: `not as written: ${missing.sort().join(', ')}` };
  if (unseen.length === 0) return { kind: 'yes' };
  return { kind: 'unseen', saw: `it cannot be seen whether it has ${unseen.sort().join(', ')}` };
}

/**
 * A start whose task ended well has happened, also where the guest is off again by the time it is
 * seen. Not where HA manages it: there the task has only filed a request (PVE-FACTS 32).
 */
export function hasStarted(
  end: Pick<OpRecordDraft, 'kind' | 'state' | 'error' | 'observed'>,
): boolean {
  if (end.kind !== 'start') return false;
  const isOffAgain = end.error?.code === 'not_converged' && end.observed?.ha_state === undefined;
  return end.state === 'succeeded' || isOffAgain;
}

/** The value a key has once everything pending has been applied; null: not set. */
export function effectiveValue(config: GuestConfig, key: string): string | null {
  const pending = config.pending.get(key);
  if (pending !== undefined) return pending.kind === 'set' ? pending.value : null;
  return config.current.get(key) ?? null;
}

/** The one truthful end of an attempt, from what PVE told and what was seen. */
export function decideOutcome(wanted: Wanted, evidence: Evidence, seen: Seen): Outcome {
  const exit = exitStatus(evidence);
  const base = exit === undefined ? {} : { exit_status: exit };
  const observed = { ...observe(wanted, seen.guest), ...taskLines(evidence) };
  const { fulfilment } = seen;
  const lack = findLack(fulfilment, evidence);
  if (lack === null) {
    const own =
      fulfilment.kind === 'rebooted'
        ? 'it was stopped, and has been started again since'
        : undefined;
    const note = [own, contradiction(evidence)].filter((text) => text !== undefined);
    return {
      ...base,
      state: 'succeeded',
      observed: { ...observed, ...(note.length === 0 ? {} : { note: note.join('; ') }) },
    };
  }
  return { ...base, state: 'failed', observed, error: failure(evidence, lack) };
}

/** What is not so, or not shown to be; null: it is done. */
function findLack(fulfilment: Fulfilment, evidence: Evidence): string | null {
  switch (fulfilment.kind) {
    case 'yes':
      return null;
    case 'no':
      return fulfilment.saw;
    case 'unseen':
      return isVouchedFor(evidence) ? null : fulfilment.saw;
    case 'rebooted':
      return evidence.kind === 'nothing' && !evidence.wasSo ? fulfilment.saw : null;
    default:
      return assertNever(fulfilment);
  }
}

/** PVE has said that it did what it was asked for. */
function isVouchedFor(evidence: Evidence): boolean {
  if (evidence.kind === 'task')
    return evidence.end.kind === 'ok' || evidence.end.kind === 'warning';
  return evidence.kind === 'applied';
}

export interface Seen {
  readonly guest: Guest;
  readonly fulfilment: Fulfilment;
}

function observe(wanted: Wanted, guest: Guest): Observed {
  const ha = guest.ha.kind === 'managed' ? { ha_state: guest.ha.state } : {};
  if (wanted.action.kind !== 'set_config' || guest.config.kind !== 'known') {
    return { power: guest.power, ...ha };
  }
  const { config } = guest.config;
  const { params } = wanted.action;
  const written = [...Object.keys(params.set), ...params.delete];
  const pending = written.filter((key) => config.pending.has(key)).sort();
  return { power: guest.power, ...ha, digest: config.digest, pending };
}

function exitStatus(evidence: Evidence): string | undefined {
  if (evidence.kind !== 'task' || evidence.end.kind === 'vanished') return undefined;
  return evidence.end.exitStatus;
}

function taskLines(evidence: Evidence): Observed {
  if (evidence.kind !== 'task') return {};
  const { end } = evidence;
  if (end.kind === 'warning') return { warnings: end.log };
  return end.kind === 'error' || end.kind === 'unknown' ? { log: end.log } : {};
}

/** What to say when the guest is as wanted although PVE did not say so. */
function contradiction(evidence: Evidence): string | undefined {
  switch (evidence.kind) {
    case 'applied':
      return undefined;
    case 'refused':
      return `PVE refused (${evidence.problem.message}), and the guest is as wanted`;
    case 'nothing':
      return `no task was found (${evidence.problem.message}), and the guest is as wanted`;
    case 'task':
      return taskContradiction(evidence.end);
    default:
      return assertNever(evidence);
  }
}

function taskContradiction(end: TaskEnd): string | undefined {
  switch (end.kind) {
    case 'ok':
    case 'warning':
      return undefined;
    case 'vanished':
      return 'PVE no longer knows the task, and the guest is as wanted';
    case 'error':
    case 'unknown':
      return `the task ended with "${end.exitStatus}", and the guest is as wanted`;
    default:
      return assertNever(end);
  }
}

function failure(evidence: Evidence, saw: string): Problem {
  switch (evidence.kind) {
    case 'applied':
      return { code: 'not_converged', message: `PVE accepted it, but ${saw}` };
    case 'refused':
    case 'nothing':
      return evidence.problem;
    case 'task':
      return taskFailure(evidence.end, saw);
    default:
      return assertNever(evidence);
  }
}

function taskFailure(end: TaskEnd, saw: string): Problem {
  switch (end.kind) {
    case 'ok':
    case 'warning':
      return { code: 'not_converged', message: `the task ended ${end.exitStatus}, but ${saw}` };
    case 'error':
      return end.problem;
    case 'unknown':
      return { code: 'task_lost', message: `the task's worker died (${end.exitStatus}); ${saw}` };
    case 'vanished':
      return { code: 'task_lost', message: `PVE no longer knows the task; ${saw}` };
    default:
      return assertNever(end);
  }
}
