/**
 * What became of a request that gave no answer: the agent died after `started`, the connection
 * did, or PVE said 596 (PVE-FACTS 5). Settled by looking at the tasks and the guest, never by
 * blind repetition (J5).
 */

import { BOOT_TIME_SLACK_MS, judgeFulfilment } from './completion.ts';
import {
  type Attempt,
  type AttemptEnd,
  close,
  closeGone,
  conclude,
  followNewTask,
  lookUntilKnown,
  wantedOf,
} from './conclusion.ts';
import type { Problem } from './errors.ts';
import type { Guest } from './guest.ts';
import type { Before, OpKind } from './op.ts';
import { guestOf } from './op-shape.ts';
import type { FoundTask, TaskRole } from './ports.ts';
import type { Workroom } from './workroom.ts';

/**
 * pveproxy gives up on pvedaemon after 30 s and the request may take effect then; ten more for
 * the worker to show up in the task list.
 */
export const UNANSWERED_WINDOW_MS = 40_000;
/** Clocks and the task list's whole seconds may disagree by this much. */
const SEARCH_MARGIN_MS = 60_000;
/** Between two searches for a task that may still appear. */
const SEARCH_INTERVAL_MS = 2_000;

const ROLES: Readonly<Record<OpKind, TaskRole>> = {
  start: 'start',
  stop: 'stop',
  restart: 'restart',
  set_config: 'set_config',
};

export interface Unanswered extends Attempt {
  /** Wall clock of its `started` record. */
  readonly startedAtMs: number;
  /** How long a late task is waited for, from `startedAtMs`. */
  readonly windowMs: number;
  readonly problem: Problem;
}

/**
 * - `ended`: the attempt has its terminal record.
 * - `unsent`: nothing happened in the whole window and the guest is exactly as before: the caller
 *   may send again, or end it as `interrupted`.
 */
export type Settled =
  | { readonly kind: 'ended'; readonly end: AttemptEnd }
  | { readonly kind: 'unsent'; readonly guest: Guest };

/** Within the process: waits out the window, then ends the attempt as what was seen. */
export async function settleUnanswered(
  attempt: Attempt,
  problem: Problem,
  room: Workroom,
): Promise<AttemptEnd> {
  const startedAtMs = room.clock.now();
  const unanswered = { ...attempt, startedAtMs, windowMs: UNANSWERED_WINDOW_MS, problem };
  const settled = await settle(unanswered, room);
  return settled.kind === 'ended' ? settled.end : endInterrupted(unanswered, room);
}

/** Ends an attempt of which nothing was found; it may still take effect late, and says so. */
export async function endInterrupted(attempt: Unanswered, room: Workroom): Promise<AttemptEnd> {
  const message = `no answer and no task: ${attempt.problem.message}`;
  return conclude(attempt, { kind: 'nothing', problem: { code: 'interrupted', message } }, room);
}

export async function settle(attempt: Unanswered, room: Workroom): Promise<Settled> {
  for (;;) {
    const tasks = await searchTasks(attempt, room);
    const ended = tasks === null ? null : await settleByTasks(attempt, tasks, room);
    if (ended !== null) return { kind: 'ended', end: ended };
    if (tasks !== null) {
      const settled = await settleByLook(attempt, room);
      if (settled !== null) return settled;
    }
    await waitForTask(attempt, room);
  }
}

/** Null: PVE did not say. */
async function searchTasks(
  attempt: Unanswered,
  room: Workroom,
): Promise<readonly FoundTask[] | null> {
  const result = await room.guests.findTasks(
    {
      guest: guestOf(attempt.op),
      sinceMs: attempt.startedAtMs - SEARCH_MARGIN_MS,
      newerThan: attempt.before.last_upid,
    },
    room.signal,
  );
  return result.kind === 'found' ? result.tasks : null;
}

async function settleByTasks(
  attempt: Unanswered,
  tasks: readonly FoundTask[],
  room: Workroom,
): Promise<AttemptEnd | null> {
  const { op } = attempt;
  const ended = await settleByFate(attempt, tasks, room);
  if (ended !== null) return ended;
  const ours = tasks.filter(({ isOurs, role }) => isOurs && role === ROLES[op.action.kind]);
  const [only, ...others] = ours;
  if (only === undefined) return null;
  if (others.length === 0) return followNewTask(attempt, only.upid, room);
  const list = ours.map(({ upid }) => upid).join(', ');
  const message = `several tasks could be this op's (${list}); none is adopted`;
  return conclude(attempt, { kind: 'nothing', problem: { code: 'interrupted', message } }, room);
}

/** The guest was destroyed, made anew, rolled back or moved meanwhile: it is not the same any more. */
async function settleByFate(
  attempt: Unanswered,
  tasks: readonly FoundTask[],
  room: Workroom,
): Promise<AttemptEnd | null> {
  const fate = tasks.find(
    ({ role, startedAtMs }) =>
      (role === 'replaces' || role === 'moves') && startedAtMs >= attempt.startedAtMs - 1_000,
  );
  if (fate === undefined) return null;
  await room.ledger.note({ kind: 'forget_guest', vmid: attempt.op.vmid });
  const error: Problem =
    fate.role === 'moves'
      ? { code: 'guest_moved', message: `the guest was migrated meanwhile (${fate.upid})` }
      : { code: 'conflict', message: `the guest was replaced meanwhile (${fate.upid})` };
  return close(attempt, { state: 'failed', error }, null, room);
}

async function settleByLook(attempt: Unanswered, room: Workroom): Promise<Settled | null> {
  const look = await lookUntilKnown(attempt.op, false, room);
  if (look.kind === 'gone') {
    return { kind: 'ended', end: await closeGone(attempt, look.node, {}, room) };
  }
  const { guest } = look;
  const fulfilment = judgeFulfilment(wantedOf(attempt), guest, room.semantics);
  if (fulfilment.kind === 'yes') {
    return { kind: 'ended', end: await conclude(attempt, evidenceOf(attempt), room) };
  }
  if (room.clock.now() - attempt.startedAtMs < attempt.windowMs) return null;
  if (isAsBefore(guest, attempt.before)) return { kind: 'unsent', guest };
  return { kind: 'ended', end: await endInterrupted(attempt, room) };
}

function evidenceOf(attempt: Unanswered): { kind: 'nothing'; problem: Problem } {
  return { kind: 'nothing', problem: attempt.problem };
}

/** Power, boot time and digest are what they were when the request was about to go out. */
function isAsBefore(guest: Guest, before: Before): boolean {
  if (guest.power !== before.power) return false;
  const digest = guest.config.kind === 'known' ? guest.config.config.digest : undefined;
  if (before.digest !== undefined && digest !== before.digest) return false;
  if (guest.bootedAtMs === null || before.booted_at_ms === null) {
    return guest.bootedAtMs === before.booted_at_ms;
  }
  return Math.abs(guest.bootedAtMs - before.booted_at_ms) <= BOOT_TIME_SLACK_MS;
}

async function waitForTask(attempt: Unanswered, room: Workroom): Promise<void> {
  const nowMs = room.clock.now();
  const restMs = attempt.startedAtMs + attempt.windowMs - nowMs;
  const pauseMs = restMs > 0 ? Math.min(SEARCH_INTERVAL_MS, restMs) : SEARCH_INTERVAL_MS;
  room.showWait(attempt.op.vmid, {
    code: 'unknown',
    message: `whether PVE took the request is not known yet: ${attempt.problem.message}`,
    untilMs: nowMs + pauseMs,
  });
  await room.clock.sleep(pauseMs, room.signal);
  room.signal.throwIfAborted();
}
