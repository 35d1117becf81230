/**
 * A restart: one op over a stop and a start, with the lane held throughout. PVE's own reboot is
 * not used: its task ends OK while the guest is still down, and somebody else's task starts it
 * (PVE-FACTS 14).
 *
 * It is settled from its children alone: succeeded only if this attempt's stop and start both
 * did. Stopped but not started again is tried again as a start, and reported as what it is. What has
 * been started since the stop, by whomever, and is off again is not: that is somebody's will.
 */
import { type LaneLook, runAttempt } from './attempt.ts';
import { hasStarted } from './completion.ts';
import {
  type Attempt,
  type AttemptEnd,
  endFailed,
  endOfRecord,
  type FailedEnd,
  observedOf,
  recordEnd,
} from './conclusion.ts';
import { latestAttempt, resumeAttempt } from './cut-off.ts';
import type { Problem } from './errors.ts';
import { waitForGuard } from './guard-wait.ts';
import type { Guest } from './guest.ts';
import { makeOpId, type OpId } from './ids.ts';
import { type Clearance, lookForClearance, problemOfCondition } from './lane-look.ts';
import { isTerminal, type RestartAction, type SentAction } from './op.ts';
import { describeBefore, guestOf, type Op, opFromRecord, recordBase } from './op-shape.ts';
import type { OpView } from './ports.ts';
import { findReplacement } from './same-guest.ts';
import { findStartSince } from './started-since.ts';
import { waitShown } from './wait.ts';
import type { Workroom } from './workroom.ts';

/** A guest that was stopped for a restart is worth a few tries to get it up again. */
export const RESTART_STARTS_MAX = 3;
const START_PAUSE_MS = 5_000;
/** A backup that took the stopped guest's lock is waited for, not for ever. */
export const RESTART_START_WAIT_MS = 10 * 60_000;

export interface RestartAttempt extends Attempt {
  readonly op: Op<RestartAction>;
  /** It was begun in this life, with one of the node's slots, which it gives up while it waits. */
  readonly hasSlot: boolean;
}

/** `left`: stopped, and its start waits in a run that ends by itself: it stays in flight. */
export type RestartEnd = AttemptEnd | { readonly kind: 'left' };

/** Runs the whole restart on a guest just looked at under the lane. */
export async function runRestart(
  op: Op<RestartAction>,
  number: number,
  look: LaneLook,
  room: Workroom,
): Promise<RestartEnd> {
  room.signal.throwIfAborted();
  const { guest, sinceMs } = look;
  const before = describeBefore(op, guest, room.ledger.lastUpid(op.vmid));
  const attempt: RestartAttempt = {
    op,
    number,
    before,
    begun: { atMs: room.clock.now(), monotonicMs: room.clock.monotonicMs() },
    seenSinceMs: sinceMs,
    isMaybeHa: false,
    hasSlot: true,
  };
  const signers = op.signers === undefined ? {} : { signers: op.signers };
  const { params } = op.action;
  const state = 'started';
  await room.record({ ...recordBase(op), ...signers, state, attempt: number, params, before });
  return runParts(attempt, look, room);
}

/**
 * Goes on with a restart that was under way when the agent ended. `unsent`: nothing of this attempt
 * had begun, and whether it still may is decided as for any op.
 */
export async function resumeRestart(
  view: OpView,
  op: Op<RestartAction>,
  room: Workroom,
): Promise<RestartEnd | { readonly kind: 'unsent'; readonly attempt: RestartAttempt }> {
  const attempt = { ...latestAttempt(view, op, room), hasSlot: false };
  // A part of an earlier attempt has a smaller seq.
  const parts = room.ledger.childrenOf(op.opId).filter(({ first }) => first.seq > view.latest.seq);
  const stop = parts.findLast(({ latest }) => latest.kind === 'stop');
  const start = parts.findLast(({ latest }) => latest.kind === 'start');
  if (stop === undefined) return { kind: 'unsent', attempt };
  const stopped = await endOfPart(stop, room);
  if (stopped.kind === 'failed') return failStop(attempt, stopped);
  if (start === undefined) return startAgain(attempt, null, room);
  return afterStart(attempt, await endOfPart(start, room), room);
}

/** What is not running is not restarted: a start would be somebody's op of its own. */
export async function runParts(
  attempt: RestartAttempt,
  look: LaneLook,
  room: Workroom,
): Promise<RestartEnd> {
  const { guest } = look;
  if (guest.power !== 'running') {
    const message = 'the guest is not running: there is nothing to restart';
    return endFailed(attempt, { code: 'conflict', message }, guest);
  }
  const { op } = attempt;
  const { action } = op;
  const stop = partOf(op, { kind: 'stop', params: action.params }, makeOpId(room.random));
  const stopped = await recordEnd(await runAttempt(stop, 1, look, room), room);
  return stopped.kind === 'failed' ? failStop(attempt, stopped) : startAgain(attempt, null, room);
}

function failStop(attempt: Attempt, { outcome, seen, retry }: FailedEnd): FailedEnd {
  const { code, message } = outcome.error;
  const problem = { code, message: `not stopped, so not restarted: ${message}` };
  // The guest runs as before: whatever passes by itself may be tried again as a whole.
  return { ...endFailed(attempt, problem, seen), retry };
}

/** From here on the restart is never tried again as a whole: that would stop the guest again. */
async function startAgain(
  attempt: RestartAttempt,
  failed: FailedEnd | null,
  room: Workroom,
): Promise<RestartEnd> {
  const { op } = attempt;
  const number = (failed?.attempt.number ?? 0) + 1;
  if (failed !== null) {
    const { error } = failed.outcome;
    if (hasStarted({ kind: 'start', ...failed.outcome })) {
      const { code } = error;
      return endFailed(attempt, { code, message: 'started, and stopped again since' }, failed.seen);
    }
    const isOver = number > RESTART_STARTS_MAX || error.code === 'conflict';
    if (isOver) return failStart(attempt, error, failed.seen);
    const message = `stopped, the start failed (${error.message}); it is tried again`;
    const wait = { code: 'backing_off', message };
    await atRest(attempt, room, () => waitShown(op.vmid, wait, START_PAUSE_MS, room));
  }
  const cleared = await awaitClearance(attempt, failed !== null, room);
  if (cleared.kind === 'wait') return { kind: 'left' };
  if (cleared.kind === 'refused') return failStart(attempt, cleared.problem, failed?.seen);
  const opId = failed?.attempt.op.opId ?? makeOpId(room.random);
  const start = partOf(op, { kind: 'start', params: {} }, opId);
  const end = await recordEnd(await runAttempt(start, number, cleared.look, room), room);
  return afterStart(attempt, end, room);
}

function afterStart(
  attempt: RestartAttempt,
  start: AttemptEnd,
  room: Workroom,
): RestartEnd | Promise<RestartEnd> {
  if (start.kind === 'failed') return startAgain(attempt, start, room);
  const { seen } = start;
  const outcome = { state: 'succeeded', ...observedOf(seen) } as const;
  return { kind: 'succeeded', attempt, outcome, seen };
}

function failStart(
  attempt: Attempt,
  { code, message }: Problem,
  seen: FailedEnd['seen'] | undefined,
): FailedEnd {
  return endFailed(attempt, { code, message: `stopped, but not started again: ${message}` }, seen);
}

/** The start waits for guards like any op, where there is time; the lane is kept meanwhile. */
async function awaitClearance(
  attempt: RestartAttempt,
  isRetry: boolean,
  room: Workroom,
): Promise<Clearance> {
  const sinceMs = room.clock.monotonicMs();
  // Right after our stop nobody has started it and stopped it again.
  for (let isRightAfter = attempt.hasSlot && !isRetry; ; isRightAfter = false) {
    const request = {
      guest: guestOf(attempt.op),
      needsConfig: false,
      kind: 'start',
      isRetry,
      isHalfWay: true,
    } as const;
    const look = await lookForClearance(request, room);
    const mayGo = look.kind === 'go';
    const replaced = mayGo ? await findReplacement(attempt.op, attempt.begun, room) : null;
    const started =
      mayGo && !isRightAfter ? await findOthersStart(attempt, look.look.guest, room) : null;
    const cleared = replaced ?? started ?? look;
    if (cleared.kind !== 'wait' || !room.isPatient()) return cleared;
    const { condition } = cleared;
    const leftMs = (): number => sinceMs + RESTART_START_WAIT_MS - room.clock.monotonicMs();
    if (leftMs() <= 0) return { kind: 'refused', problem: problemOfCondition(condition) };
    const how = { leftMs, isHalfWay: true, prefix: 'stopped; ' };
    const wait = { op: attempt.op, kind: 'start', condition, ...how } as const;
    await atRest(attempt, room, () => waitForGuard(wait, room));
  }
}

/** Why it is not started any more: it has been, since our stop. */
function findOthersStart(
  attempt: RestartAttempt,
  guest: Guest,
  room: Workroom,
): ReturnType<typeof findStartSince> {
  const parts = room.ledger.childrenOf(attempt.op.opId);
  const stop = parts.findLast(({ latest }) => latest.kind === 'stop');
  // Where the stop has no task: what it was started with before the restart is not "since" either.
  const newerThan = stop?.latest.upid ?? attempt.before.last_upid;
  return findStartSince(attempt, guest, newerThan, room);
}

/** Somebody's backup may take minutes: other guests' ops go on meanwhile. */
async function atRest(
  { hasSlot }: RestartAttempt,
  room: Workroom,
  wait: () => Promise<unknown>,
): Promise<void> {
  await (hasSlot ? room.lanes.withoutSlot(wait) : wait());
}

/** The end of a part, waited for and settled where it was cut off. */
async function endOfPart(view: OpView, room: Workroom): Promise<AttemptEnd> {
  const op = opFromRecord(view.first);
  if (isTerminal(view.latest.state)) {
    return endOfRecord(latestAttempt(view, op, room), view.latest);
  }
  return recordEnd(await resumeAttempt(view, op, room), room);
}

/** It carries its restart's correlation id. */
function partOf(whole: Op, action: SentAction, opId: OpId): Op<SentAction> {
  const { vmid, guestKind, origin, correlationId } = whole;
  return {
    opId,
    vmid,
    guestKind,
    action,
    origin,
    ...(correlationId === undefined ? {} : { correlationId }),
    parentOpId: whole.opId,
  };
}
