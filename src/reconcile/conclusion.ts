/**
 * How an attempt comes to its end: the task is awaited, the guest is looked at, the end is decided.
 * Deciding and recording are two steps: whoever runs the op may still try again, and until that is
 * known the op is in flight. Nothing here sends anything.
 */
import {
  decideOutcome,
  type Evidence,
  type Failed,
  type Fulfilment,
  judgeFulfilment,
  type Seen,
  type Succeeded,
  type Wanted,
} from './completion.ts';
import type { ErrorCode, Problem } from './errors.ts';
import type { Guest } from './guest.ts';
import type { Upid } from './ids.ts';
import type { Before, Observed, OpRecord } from './op.ts';
import { guestOf, type Op, recordBase } from './op-shape.ts';
import type { LookResult } from './ports.ts';
import type { Since } from './since.ts';
import { waitShown } from './wait.ts';
import type { Workroom } from './workroom.ts';

/** Between two looks at a guest whose HA request is under way; the manager works in 10 s rounds. */
const HA_LOOK_INTERVAL_MS = 2_000;
/** HA needs 3 to 10 s for a start, 28 s behind a shutdown (PVE-FACTS 33). */
export const HA_START_BUDGET_MS = 30_000;
/** 17 to 29 s seen for a stop (PVE-FACTS 34). */
export const HA_STOP_BUDGET_MS = 40_000;
/** On top of a shutdown's own timeout (PVE-FACTS 35). */
export const HA_SHUTDOWN_EXTRA_MS = 30_000;
/** Between two tries to see a guest while PVE does not answer. */
const UNSEEN_FIRST_MS = 1_000;
const UNSEEN_MAX_MS = 30_000;

/** Failures that pass by themselves; the request is known to have had no effect. */
const PASSING: ReadonlySet<ErrorCode> = new Set([
  'guest_locked',
  'guest_busy',
  'digest_stale',
  'service_unavailable',
]);

/** What an attempt is about, once `started` is durable. */
export interface Attempt {
  readonly op: Op;
  readonly number: number;
  readonly before: Before;
  /** When its `started` was recorded. */
  readonly begun: Since;
  /** Monotonic: when the lane's look began that the attempt stands on. */
  readonly seenSinceMs: number;
  /** HA manages the guest, or nobody has looked: then power alone tells no end (PVE-FACTS 33). */
  readonly isMaybeHa: boolean;
}

/**
 * May a hub's or an operator's op be tried again?
 * - `if_unchanged`: an answer never came, and by all that can be seen nothing happened: only if
 *   the guest still is what it was before.
 */
export type Retry = 'no' | 'yes' | 'if_unchanged';

interface OwnTask {
  readonly upid?: Upid;
}

/** `seen`: the guest as it was seen last. */
export interface SucceededEnd<As = Guest> {
  readonly kind: 'succeeded';
  readonly attempt: Attempt;
  readonly outcome: Succeeded & OwnTask;
  readonly seen: As;
}

export interface FailedEnd {
  readonly kind: 'failed';
  readonly attempt: Attempt;
  readonly outcome: Failed & OwnTask;
  readonly seen: Guest | 'gone' | 'not_looked';
  readonly retry: Retry;
}

/** The end of an attempt at a `SentAction`, decided and not yet recorded. */
export type SentEnd = SucceededEnd | FailedEnd;
/** Of any attempt: the parts of a restart may have ended before the agent's last start. */
export type AttemptEnd = SucceededEnd<Guest | 'not_looked'> | FailedEnd;

/** The attempt's one terminal record; durable when it resolves. */
export async function recordEnd<End extends AttemptEnd>(end: End, room: Workroom): Promise<End> {
  const { op, number } = end.attempt;
  room.showWait(op.vmid, null);
  await room.record({ ...recordBase(op), attempt: number, ...end.outcome });
  return end;
}

/** J2: the UPID is durable as soon as it is known. */
export async function followNewTask(
  attempt: Attempt,
  upid: Upid,
  room: Workroom,
): Promise<SentEnd> {
  const { op, number } = attempt;
  room.showWait(op.vmid, null);
  await room.record({ ...recordBase(op), state: 'task_running', attempt: number, upid });
  return followTask(attempt, upid, room);
}

/** Waits for the task, however long: a deadline that passes would only mean *unknown*. */
export async function followTask(attempt: Attempt, upid: Upid, room: Workroom): Promise<SentEnd> {
  const end = await room.guests.awaitTask(upid, room.signal);
  return conclude(attempt, { kind: 'task', upid, end }, room);
}

/** Looks at the guest and decides the one truthful end of the attempt. */
export async function conclude(
  attempt: Attempt,
  evidence: Evidence,
  room: Workroom,
): Promise<SentEnd> {
  const seen = await seeGuest(attempt, evidence, room);
  const upid = evidence.kind === 'task' ? { upid: evidence.upid } : {};
  if (seen.kind === 'gone') return endGone(attempt, seen.node, upid);
  const outcome = decideOutcome(wantedOf(attempt), evidence, seen);
  const { guest } = seen;
  if (outcome.state === 'succeeded') {
    return { kind: 'succeeded', attempt, outcome: { ...upid, ...outcome }, seen: guest };
  }
  const retry = retryOf(outcome.error);
  return { kind: 'failed', attempt, outcome: { ...upid, ...outcome }, seen: guest, retry };
}

function retryOf({ code }: Problem): Retry {
  return PASSING.has(code) ? 'yes' : 'no';
}

/** An attempt that had ended before the agent's last start, as its record tells. */
export function endOfRecord(attempt: Attempt, { state, error, observed }: OpRecord): AttemptEnd {
  if (state === 'succeeded') {
    return { kind: 'succeeded', attempt, outcome: { state }, seen: 'not_looked' };
  }
  const problem = error ?? { code: 'internal_error', message: 'it failed without a reason' };
  const retry = problem.code === 'interrupted' ? 'if_unchanged' : retryOf(problem);
  const end = endFailed(attempt, problem);
  const saw = observed === undefined ? {} : { observed };
  return { ...end, outcome: { ...end.outcome, ...saw }, retry };
}

export function endFailed(
  attempt: Attempt,
  error: Problem,
  seen: FailedEnd['seen'] = 'not_looked',
): FailedEnd {
  const outcome = { state: 'failed', error, ...observedOf(seen) } as const;
  return { kind: 'failed', attempt, outcome, seen, retry: 'no' };
}

export function observedOf(seen: FailedEnd['seen']): { readonly observed?: Observed } {
  return typeof seen === 'string' ? {} : { observed: { power: seen.power } };
}

export function endGone(attempt: Attempt, node: string | null, upid: OwnTask = {}): FailedEnd {
  const end = endFailed(attempt, goneProblem(node), 'gone');
  return { ...end, outcome: { ...upid, ...end.outcome } };
}

export function goneProblem(node: string | null): Problem {
  return node === null
    ? { code: 'not_found', message: 'PVE lists no such guest on this node' }
    : { code: 'guest_moved', message: `the guest is on node ${node}` };
}

export function wantedOf(attempt: Attempt): Wanted {
  return { action: attempt.op.action, before: attempt.before };
}

/** A list this young still stands for now, where nothing of ours has changed what it shows. */
export const LIST_MAX_AGE_MS = 1_000;

type SeenGuest = (Seen & { readonly kind: 'seen' }) | Extract<LookResult, { kind: 'gone' }>;

/**
 * Sees the guest after the event, waiting while PVE does not answer. An HA guest is given its
 * budget: the task only filed a request with the manager (PVE-FACTS 32).
 */
async function seeGuest(attempt: Attempt, evidence: Evidence, room: Workroom): Promise<SeenGuest> {
  const { op } = attempt;
  const startedMs = room.clock.monotonicMs();
  let isDetailed = attempt.isMaybeHa && op.action.kind !== 'set_config';
  // What a config is does not depend on the list it stands beside; what is done next does.
  const sinceMs = (nowMs: number): number =>
    op.action.kind === 'set_config'
      ? Math.max(attempt.seenSinceMs, nowMs - LIST_MAX_AGE_MS)
      : nowMs;
  for (;;) {
    const look = await lookUntilKnown(op, isDetailed, room, sinceMs);
    if (look.kind === 'gone') return look;
    const { guest } = look;
    const fulfilment = judgeFulfilment(wantedOf(attempt), guest, room.semantics);
    if (fulfilment.kind !== 'no') return seen(guest, fulfilment);
    const isMaybeHa = guest.ha.kind === 'not_read' && isHaRequestUnderWay(op, evidence);
    if (isMaybeHa && !isDetailed) {
      // Only its own status says whether HA has taken the guest over meanwhile.
      isDetailed = true;
      continue;
    }
    const isUnderWay = guest.ha.kind === 'managed' && isHaRequestUnderWay(op, evidence);
    const elapsedMs = room.clock.monotonicMs() - startedMs;
    if (!isUnderWay || elapsedMs >= haBudgetMs(op)) return seen(guest, fulfilment);
    isDetailed = true;
    const message = `HA is working on it (${fulfilment.saw})`;
    const reason = { code: 'ha_transition', message };
    await waitShown(op.vmid, reason, HA_LOOK_INTERVAL_MS, room);
  }
}

function seen(guest: Guest, fulfilment: Fulfilment): SeenGuest {
  return { kind: 'seen', guest, fulfilment };
}

/** A task that did not fail has filed a request with HA, and that is only the beginning. */
function isHaRequestUnderWay(op: Op, evidence: Evidence): boolean {
  if (op.action.kind === 'set_config') return false;
  return evidence.kind === 'task' && evidence.end.kind !== 'error';
}

function haBudgetMs({ action }: Op): number {
  if (action.kind === 'stop' && action.params.mode === 'shutdown') {
    return action.params.timeout_s * 1_000 + HA_SHUTDOWN_EXTRA_MS;
  }
  return action.kind === 'stop' ? HA_STOP_BUDGET_MS : HA_START_BUDGET_MS;
}

/**
 * Looks again and again until PVE answers: nothing is guessed, the op stays in flight. How old a
 * list may be is asked for every look: the first one's may be minutes old when PVE can be seen again.
 */
export async function lookUntilKnown(
  op: Op,
  isDetailed: boolean,
  room: Workroom,
  sinceMs = (nowMs: number): number => nowMs,
): Promise<Exclude<LookResult, { kind: 'unknown' }>> {
  let pauseMs = UNSEEN_FIRST_MS;
  for (;;) {
    const look = await room.guests.look(
      {
        guest: guestOf(op),
        sinceMs: sinceMs(room.clock.monotonicMs()),
        tasksSinceMs: null,
        config: op.action.kind === 'set_config',
        details: isDetailed,
      },
      room.signal,
    );
    // The vmid is another guest's by now: the op's own is no more.
    const isOther = look.kind === 'found' && look.guest.kind !== op.guestKind;
    if (isOther) return { kind: 'gone', node: null };
    const isBlind =
      look.kind === 'found' &&
      op.action.kind === 'set_config' &&
      look.guest.config.kind === 'unknown';
    if (look.kind !== 'unknown' && !isBlind) return look;
    await waitUnseen(op, look, pauseMs, room);
    pauseMs = Math.min(pauseMs * 2, UNSEEN_MAX_MS);
  }
}

function waitUnseen(op: Op, look: LookResult, pauseMs: number, room: Workroom): Promise<void> {
  const problem = look.kind === 'unknown' ? look.problem.message : 'its config could not be read';
  const reason = { code: 'unknown', message: `the guest cannot be seen: ${problem}` };
  return waitShown(op.vmid, reason, pauseMs, room);
}
