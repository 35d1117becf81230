/**
 * A restart: one op over a stop and a start, with the lane held throughout. PVE's own reboot is
 * not used: its task ends OK while the guest is still down, and somebody else's task starts it
 * (PVE-FACTS 14).
 *
 * It is settled from its children alone: succeeded only if this attempt's stop and start both
 * did. Stopped but not started again is tried again as a start, and reported as what it is.
 */
import { runAttempt } from './attempt.ts';
import { type Attempt, type AttemptEnd, close, followTask, lookUntilKnown } from './conclusion.ts';
import type { Problem } from './errors.ts';
import type { Guest } from './guest.ts';
import { type CorrelationId, makeCorrelationId, makeOpId } from './ids.ts';
import type { Action, OpRecord } from './op.ts';
import { describeBefore, type Op, opFromRecord, recordBase } from './op-shape.ts';
import type { OpView } from './ports.ts';
import { endInterrupted, settle, UNANSWERED_WINDOW_MS } from './settle.ts';
import type { Workroom } from './workroom.ts';

/** A guest that was stopped for a restart is worth a few tries to get it up again. */
export const RESTART_START_ATTEMPTS_MAX = 3;
const RESTART_START_PAUSES_MS = [2_000, 6_000];

/** Runs the whole restart on a guest just looked at under the lane. */
export async function runRestart(
  op: Op,
  number: number,
  guest: Guest,
  room: Workroom,
): Promise<AttemptEnd> {
  room.signal.throwIfAborted();
  const before = describeBefore(op, guest, room.ledger.lastUpid(op.vmid));
  const signers = op.signers === undefined ? {} : { signers: op.signers };
  await room.record({
    ...recordBase(op),
    ...signers,
    state: 'started',
    attempt: number,
    params: op.action.params,
    before,
  });
  const attempt = { op, number, before };
  if (guest.power === 'stopped') {
    const message = 'the guest is not running: there is nothing to restart';
    return close(attempt, { state: 'failed', error: { code: 'conflict', message } }, guest, room);
  }
  return stopThenStart(attempt, guest, room);
}

/** Goes on with a restart that was under way when the agent ended. */
export async function resumeRestart(view: OpView, room: Workroom): Promise<AttemptEnd> {
  const op = opFromRecord(view.first);
  const before = view.started?.before ?? { power: 'running', booted_at_ms: null, last_upid: null };
  const attempt: Attempt = { op, number: view.latest.attempt, before };
  // A child of an earlier attempt has a smaller seq than this attempt's `started`.
  const sinceSeq = view.started?.seq ?? 0;
  const children = room.ledger.childrenOf(op.opId).filter(({ first }) => first.seq > sinceSeq);
  const stop = children.findLast(({ latest }) => latest.kind === 'stop');
  const start = children.findLast(({ latest }) => latest.kind === 'start');
  if (stop === undefined) {
    const look = await lookUntilKnown(op, false, room);
    if (look.kind === 'found') return stopThenStart(attempt, look.guest, room);
    return finish(attempt, { code: 'guest_moved', message: 'the guest is gone' }, null, room);
  }
  const stopped = await endOfChild(stop, room);
  if (stopped.record.state === 'failed') return failStop(attempt, stopped, room);
  if (start === undefined) return startAgain(attempt, stopped.guest, 1, room);
  const started = await endOfChild(start, room);
  return started.record.state === 'succeeded'
    ? finish(attempt, null, started.guest, room)
    : startAgain(attempt, started.guest, started.record.attempt + 1, room, start);
}

async function stopThenStart(attempt: Attempt, guest: Guest, room: Workroom): Promise<AttemptEnd> {
  const { action } = attempt.op;
  if (action.kind !== 'restart') throw new TypeError('a restart op is needed here');
  const stop = childOp(attempt.op, { kind: 'stop', params: action.params }, room);
  const stopped = await runAttempt(stop, 1, guest, room);
  if (stopped.record.state === 'failed') return failStop(attempt, stopped, room);
  return startAgain(attempt, stopped.guest, 1, room);
}

function failStop(attempt: Attempt, stopped: AttemptEnd, room: Workroom): Promise<AttemptEnd> {
  const problem = problemOf(stopped.record);
  const message = `not stopped, so not restarted: ${problem.message}`;
  return finish(attempt, { code: problem.code, message }, stopped.guest, room);
}

async function startAgain(
  attempt: Attempt,
  seen: Guest | null,
  firstNumber: number,
  room: Workroom,
  earlier?: OpView,
): Promise<AttemptEnd> {
  const start =
    earlier === undefined
      ? childOp(attempt.op, { kind: 'start', params: {} }, room)
      : opFromRecord(earlier.first);
  let guest = seen;
  let problem: Problem = { code: 'guest_moved', message: 'the guest is gone' };
  for (let number = firstNumber; number <= RESTART_START_ATTEMPTS_MAX; number++) {
    if (number > 1) await pauseBeforeStart(attempt, number, problem, room);
    if (guest === null || number > 1) {
      const look = await lookUntilKnown(start, false, room);
      if (look.kind === 'gone') break;
      guest = look.guest;
    }
    const end = await runAttempt(start, number, guest, room);
    if (end.record.state === 'succeeded') return finish(attempt, null, end.guest, room);
    problem = problemOf(end.record);
    guest = end.guest;
  }
  const message = `stopped, but not started again: ${problem.message}`;
  return finish(attempt, { code: problem.code, message }, guest, room);
}

async function pauseBeforeStart(
  attempt: Attempt,
  number: number,
  problem: Problem,
  room: Workroom,
): Promise<void> {
  const pauseMs = RESTART_START_PAUSES_MS[number - 2] ?? 0;
  const untilMs = room.clock.now() + pauseMs;
  const message = `stopped, the start failed (${problem.message}); it is tried again`;
  room.showWait(attempt.op.vmid, { code: problem.code, message, untilMs });
  await room.clock.sleep(pauseMs, room.signal);
}

/** The end of a child, waited for and settled where it was cut off. */
async function endOfChild(view: OpView, room: Workroom): Promise<AttemptEnd> {
  const { latest, started } = view;
  if (latest.state === 'succeeded' || latest.state === 'failed') {
    return { record: latest, guest: null };
  }
  const op = opFromRecord(view.first);
  const before = started?.before ?? { power: 'running', booted_at_ms: null, last_upid: null };
  const attempt: Attempt = { op, number: latest.attempt, before };
  if (latest.upid !== undefined) return followTask(attempt, latest.upid, room);
  const startedAtMs = view.startedAtMs ?? room.clock.now();
  const problem: Problem = { code: 'interrupted', message: 'the agent ended meanwhile' };
  const unanswered = { ...attempt, startedAtMs, windowMs: UNANSWERED_WINDOW_MS, problem };
  const settled = await settle(unanswered, room);
  return settled.kind === 'ended' ? settled.end : endInterrupted(unanswered, room);
}

function finish(
  attempt: Attempt,
  problem: Problem | null,
  guest: Guest | null,
  room: Workroom,
): Promise<AttemptEnd> {
  const observed = guest === null ? {} : { observed: { power: guest.power } };
  return problem === null
    ? close(attempt, { state: 'succeeded', ...observed }, guest, room)
    : close(attempt, { state: 'failed', error: problem, ...observed }, guest, room);
}

function childOp(parent: Op, action: Action, room: Workroom): Op {
  return {
    opId: makeOpId(room.random),
    vmid: parent.vmid,
    guestKind: parent.guestKind,
    action,
    origin: parent.origin,
    correlationId: correlationOf(parent, room),
    parentOpId: parent.opId,
  };
}

/** Submitting gives every restart a correlation id; one from an older record may lack it. */
function correlationOf(parent: Op, room: Workroom): CorrelationId {
  return parent.correlationId ?? makeCorrelationId(room.random);
}

function problemOf(record: OpRecord): Problem {
  return record.error ?? { code: 'internal_error', message: 'the part failed without a reason' };
}
