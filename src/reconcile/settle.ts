/**
 * What became of a request that gave no answer: the agent died after `started`, the connection
 * did, or PVE said 596 (PVE-FACTS 5). Settled by looking at the tasks and the guest, never by
 * blind repetition (J5).
 */
import { compareBoots, judgeFulfilment } from './completion.ts';
import {
  type Attempt,
  conclude,
  endFailed,
  endGone,
  type FailedEnd,
  followNewTask,
  lookUntilKnown,
  type SentEnd,
  wantedOf,
} from './conclusion.ts';
import type { Problem } from './errors.ts';
import { configOf } from './guest.ts';
import type { Before, OpKind } from './op.ts';
import { guestOf } from './op-shape.ts';
import type { FoundTask, TaskRole } from './ports.ts';
import { UNANSWERED_WINDOW_MS } from './unanswered.ts';
import { waitShown } from './wait.ts';
import type { Workroom } from './workroom.ts';

/** Clocks and the task list's whole seconds may disagree by this much. */
const SEARCH_MARGIN_MS = 60_000;
/** What shows up at all mostly shows up soon: each pause is half of what has passed already. */
const SEARCH_PAUSE_MS = { min: 1_000, max: 8_000 };
/** However late the answer failed to come, a task is given this long to show up. */
const AFTER_ANSWER_MS = 10_000;
/** Tasks are dated in whole seconds. */
const TASK_DATE_MS = 1_000;

/**
 * Tasks that show it to have been so, whoever's. A start does not show a stop: where a guest is moved to
 * live, its process is started with such a task, too. And of a write there may be none.
 */
const SHOWN_BY: Readonly<Record<OpKind, readonly TaskRole[]>> = {
  start: ['start'],
  stop: ['stop', 'restart'],
  restart: ['restart'],
  set_config: [],
};

export interface Unanswered extends Attempt {
  /** Wall clock of its `started` record. */
  readonly startedAtMs: number;
  /** How long a late task is waited for, from `startedAtMs`. */
  readonly windowMs: number;
  readonly problem: Problem;
}

/** A request that has just been sent. */
export interface SentAttempt extends Attempt {
  readonly startedAtMs: number;
  /** An earlier life of the agent has sent the same, and that may still begin, too. */
  readonly hasTwin: boolean;
}

const CHANGED_SINCE: Problem = {
  code: 'conflict',
  message: 'no answer and no task; it was as asked meanwhile, and somebody has changed it since',
};

interface Watched extends Unanswered {
  /** Monotonic end of the window. */
  readonly endMs: number;
  /** What was asked for has been seen to be so, or a task shows it, whoever did it. */
  wasSo: boolean;
}

/** Within the process: waits out the window, then ends the attempt as what was seen. */
export async function settleUnanswered(
  attempt: SentAttempt,
  problem: Problem,
  room: Workroom,
): Promise<SentEnd> {
  const { startedAtMs, hasTwin } = attempt;
  const elapsedMs = room.clock.now() - startedAtMs;
  const windowMs = Math.max(UNANSWERED_WINDOW_MS, elapsedMs + AFTER_ANSWER_MS);
  const end = await settle({ ...attempt, windowMs, problem }, room);
  // The task that was found may be its twin's, and its own still begin.
  if (hasTwin) room.unsettled.leave(attempt.op, startedAtMs + windowMs);
  return end;
}

/** Ends the attempt as what was found of it; nothing found in the whole window: `interrupted`. */
export async function settle(unanswered: Unanswered, room: Workroom): Promise<SentEnd> {
  const end = await findEnd(unanswered, room);
  return end.outcome.upid === undefined ? markUnanswered(end) : end;
}

/** What may still begin has to be known to a later life, too: `interrupted` says it by itself. */
function markUnanswered(end: SentEnd): SentEnd {
  if (end.kind === 'failed' && end.outcome.error.code === 'interrupted') return end;
  const observed = { ...end.outcome.observed, unanswered: true } as const;
  return end.kind === 'succeeded'
    ? { ...end, outcome: { ...end.outcome, observed } }
    : { ...end, outcome: { ...end.outcome, observed } };
}

async function findEnd(unanswered: Unanswered, room: Workroom): Promise<SentEnd> {
  // From here on by the monotonic clock: a step of the wall clock must not cut the window short.
  const elapsedMs = Math.max(0, room.clock.now() - unanswered.startedAtMs);
  const attempt = {
    ...unanswered,
    endMs: room.clock.monotonicMs() + unanswered.windowMs - elapsedMs,
    wasSo: false,
  };
  for (;;) {
    const tasks = await searchTasks(attempt, room);
    if (tasks !== null) {
      const fate = findFate(attempt, tasks);
      const ended =
        fate === undefined
          ? ((await settleByTasks(attempt, tasks, room)) ??
            (await settleByLook(attempt, tasks, room)))
          : await settleByFate(attempt, { fate, tasks }, room);
      if (ended !== null) return ended;
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

/**
 * The guest was destroyed, made anew or rolled back meanwhile: it is not the same any more. What was
 * only tried is no fate, and what is still under way has not happened yet.
 */
function findFate(
  { startedAtMs: sentAtMs }: Unanswered,
  tasks: readonly FoundTask[],
): FoundTask | undefined {
  return findDone(['replaces', 'reverts'], tasks, sentAtMs);
}

/** The first of them that has done such a thing since then (wall clock), whoever's it is. */
export function findDone(
  roles: readonly TaskRole[],
  tasks: readonly FoundTask[],
  sinceMs: number,
): FoundTask | undefined {
  return tasks.find(({ role, state, startedAtMs }) => {
    return roles.includes(role) && state === 'succeeded' && startedAtMs >= sinceMs - TASK_DATE_MS;
  });
}

async function settleByFate(
  attempt: Watched,
  { fate, tasks }: { readonly fate: FoundTask; readonly tasks: readonly FoundTask[] },
  room: Workroom,
): Promise<SentEnd | null> {
  const wantedRole: TaskRole = attempt.op.action.kind;
  const hasShown = tasks.some(({ isOurs, role }) => isOurs && role === wantedRole);
  // A request goes by the vmid, which another guest may bear by now: there it may still begin.
  if (!hasShown && room.clock.monotonicMs() < attempt.endMs) return null;
  await awaitOwn(attempt, tasks, room);
  const message = `the guest was replaced meanwhile (${fate.upid})`;
  return endFailed(attempt, { code: 'conflict', message });
}

async function settleByTasks(
  attempt: Unanswered,
  tasks: readonly FoundTask[],
  room: Workroom,
): Promise<SentEnd | null> {
  const wantedRole: TaskRole = attempt.op.action.kind;
  const ours = tasks.filter(({ isOurs, role }) => isOurs && role === wantedRole);
  const [only, ...others] = ours;
  if (only === undefined) return null;
  if (others.length === 0) return followNewTask(attempt, only.upid, room);
  await awaitOwn(attempt, ours, room);
  const list = ours.map(({ upid }) => upid).join(', ');
  const message = `several tasks could be this op's (${list}); none is adopted`;
  const problem: Problem = { code: 'interrupted', message };
  return conclude(attempt, { kind: 'nothing', problem, wasSo: true }, room);
}

/** Whatever became of the op: the lane is not given on while a task of ours works on the guest. */
async function awaitOwn(
  { op }: Attempt,
  tasks: readonly FoundTask[],
  room: Workroom,
): Promise<void> {
  const message = 'a task of ours is still at work on the guest';
  for (const { upid } of tasks.filter(({ isOurs, state }) => isOurs && state === 'running')) {
    room.showWait(op.vmid, { code: 'guest_busy', message, untilMs: null, upid });
    await room.guests.awaitTask(upid, room.signal);
  }
}

async function settleByLook(
  attempt: Watched,
  tasks: readonly FoundTask[],
  room: Workroom,
): Promise<SentEnd | null> {
  const { kind } = attempt.op.action;
  const isShown = findDone(SHOWN_BY[kind], tasks, attempt.startedAtMs) !== undefined;
  const look = await lookUntilKnown(attempt.op, isShown, room);
  if (look.kind === 'gone') return endGone(attempt, look.node);
  const { guest } = look;
  const fulfilment = judgeFulfilment(wantedOf(attempt), guest, room.semantics);
  // Of a guest that HA manages a task proves nothing (PVE-FACTS 32).
  if (fulfilment.kind === 'yes' || (isShown && guest.ha.kind !== 'managed')) attempt.wasSo = true;
  // What has not shown up may still begin, also where somebody else has done meanwhile what it was
  // for, or it was so before: it would meet whatever the lane does next. A power action shows as a
  // task; a write goes with the digest it was computed from, and is refused once that has changed.
  const isDone =
    fulfilment.kind === 'yes' &&
    kind === 'set_config' &&
    configOf(guest).digest !== attempt.before.digest;
  if (!isDone && room.clock.monotonicMs() < attempt.endMs) return null;
  const message = `no answer and no task: ${attempt.problem.message}`;
  const problem: Problem = { code: 'interrupted', message };
  const { wasSo } = attempt;
  const end = await conclude(attempt, { kind: 'nothing', problem, wasSo }, room);
  if (end.kind === 'succeeded') return end;
  // Not to be sent again: what is there now is somebody's will, and not what was there before.
  if (wasSo) return endFailed(attempt, CHANGED_SINCE, end.seen);
  return { ...end, retry: isUnchanged(end.seen, attempt.before) ? 'if_unchanged' : 'no' };
}

/** Power, boot and digest are what they were when the request was about to go out. */
export function isUnchanged(guest: FailedEnd['seen'], before: Before): boolean {
  if (typeof guest === 'string' || guest.power !== before.power) return false;
  const digest = guest.config.kind === 'known' ? guest.config.config.digest : undefined;
  if (before.digest !== undefined && digest !== before.digest) return false;
  return compareBoots(guest, before) === 'same';
}

async function waitForTask(attempt: Watched, room: Workroom): Promise<void> {
  const restMs = attempt.endMs - room.clock.monotonicMs();
  const { min, max } = SEARCH_PAUSE_MS;
  const usualMs = Math.min(max, Math.max(min, (attempt.windowMs - restMs) / 2));
  const pauseMs = restMs > 0 ? Math.min(usualMs, restMs) : usualMs;
  const message = `whether PVE took the request is not known yet: ${attempt.problem.message}`;
  await waitShown(attempt.op.vmid, { code: 'unknown', message }, pauseMs, room);
}
