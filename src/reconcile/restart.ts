/**
 * A restart: one op over a stop and a start, with the lane held throughout. PVE's own reboot is
 * not used: its task ends OK while the guest is still down, and somebody else's task starts it
 * (PVE-FACTS 14).
 *
 * It is settled from its children alone: succeeded only if this attempt's stop and start both
 * did. Stopped but not started again is tried again as a start, and reported as what it is.
 */
import { type LaneLook, runAttempt } from './attempt.ts';
import {
  type Attempt,
  type AttemptEnd,
  endFailed,
  followTask,
  recordEnd,
  retryOfCode,
} from './conclusion.ts';
import type { Problem } from './errors.ts';
import { makeCorrelationId, makeOpId } from './ids.ts';
import { lookForClearance, problemOfCondition, waitForGuard } from './lane-look.ts';
import type { Action, Before, OpRecord } from './op.ts';
import { describeBefore, guestOf, type Op, opFromRecord, recordBase } from './op-shape.ts';
import type { Condition } from './plan.ts';
import type { OpView } from './ports.ts';
import { settle, UNANSWERED_WINDOW_MS } from './settle.ts';
import type { Workroom } from './workroom.ts';

/** A guest that was stopped for a restart is worth a few tries to get it up again. */
export const RESTART_STARTS_MAX = 3;
/** A backup that took the stopped guest's lock is waited for, not for ever. */
export const RESTART_START_WAIT_MS = 10 * 60_000;

const NOTHING_BEFORE: Before = { power: 'running', booted_at_ms: null, last_upid: null };

/** Runs the whole restart on a guest just looked at under the lane. */
export async function runRestart(
  op: Op,
  number: number,
  look: LaneLook,
  room: Workroom,
): Promise<AttemptEnd> {
  room.signal.throwIfAborted();
  const { guest, sinceMs } = look;
  const before = describeBefore(op, guest, room.ledger.lastUpid(op.vmid));
  const attempt: Attempt = { op, number, before, seenSinceMs: sinceMs, isMaybeHa: false };
  const signers = op.signers === undefined ? {} : { signers: op.signers };
  const { params } = op.action;
  const state = 'started';
  await room.record({ ...recordBase(op), ...signers, state, attempt: number, params, before });
  if (guest.power === 'running') return stopThenStart(attempt, look, room);
  const message = 'the guest is not running: there is nothing to restart';
  return endFailed(attempt, { code: 'conflict', message }, guest);
}

/** Goes on with a restart that was under way when the agent ended. */
export async function resumeRestart(view: OpView, room: Workroom): Promise<AttemptEnd> {
  const op = opFromRecord(view.first);
  const attempt: Attempt = {
    op,
    number: view.latest.attempt,
    before: view.started?.before ?? NOTHING_BEFORE,
    seenSinceMs: room.clock.monotonicMs(),
    isMaybeHa: true,
  };
  // A child of an earlier attempt has a smaller seq than this attempt's `started`.
  const sinceSeq = view.started?.seq ?? 0;
  const children = room.ledger.childrenOf(op.opId).filter(({ first }) => first.seq > sinceSeq);
  const stop = children.findLast(({ latest }) => latest.kind === 'stop');
  const start = children.findLast(({ latest }) => latest.kind === 'start');
  if (stop === undefined) return beginAgain(attempt, room);
  const stopped = await endOfChild(stop, room);
  if (stopped.record.state === 'failed') return failStop(attempt, stopped);
  if (start === undefined) return startAgain(attempt, null, room);
  const started = await endOfChild(start, room);
  return started.record.state === 'succeeded'
    ? succeed(attempt, started)
    : startAgain(attempt, { op: opFromRecord(start.first), started }, room);
}

/** Nothing of this attempt had begun: as it would be in its turn. */
async function beginAgain(attempt: Attempt, room: Workroom): Promise<AttemptEnd> {
  const cleared = await awaitClearance(attempt.op, { kind: 'stop', isRetry: false }, room);
  return cleared.kind === 'go'
    ? stopThenStart(attempt, cleared.look, room)
    : endFailed(attempt, cleared.problem);
}

async function stopThenStart(
  attempt: Attempt,
  look: LaneLook,
  room: Workroom,
): Promise<AttemptEnd> {
  const { action } = attempt.op;
  if (action.kind !== 'restart') throw new TypeError('a restart op is needed here');
  const stop = childOp(attempt.op, { kind: 'stop', params: action.params }, room);
  const stopped = await recordChild(await runAttempt(stop, 1, look, room), room);
  if (stopped.record.state === 'failed') return failStop(attempt, stopped);
  return startAgain(attempt, null, room);
}

/** A part, ended and recorded. */
interface Part {
  readonly record: OpRecord;
  /** Null: it had ended before the agent's last start. */
  readonly end: AttemptEnd | null;
}

async function recordChild(end: AttemptEnd, room: Workroom): Promise<Part> {
  return { record: await recordEnd(end, room), end };
}

function failStop(attempt: Attempt, { record, end }: Part): AttemptEnd {
  const { code, message } = problemOf(record);
  const problem = { code, message: `not stopped, so not restarted: ${message}` };
  // The guest runs as before: whatever passes by itself may be tried again as a whole.
  const retry = end?.retry ?? retryOfCode(code);
  return { ...endFailed(attempt, problem, end?.seen), retry };
}

function succeed(attempt: Attempt, { end }: Part): AttemptEnd {
  const seen = end?.seen ?? 'not_looked';
  const observed = typeof seen === 'string' ? {} : { observed: { power: seen.power } };
  return { attempt, outcome: { state: 'succeeded', ...observed }, seen, retry: 'no' };
}

/** From here on the restart is never tried again as a whole: that would stop the guest again. */
async function startAgain(
  attempt: Attempt,
  earlier: { readonly op: Op; readonly started: Part } | null,
  room: Workroom,
): Promise<AttemptEnd> {
  const start = earlier?.op ?? childOp(attempt.op, { kind: 'start', params: {} }, room);
  let last: Part | null = earlier?.started ?? null;
  for (let number = (last?.record.attempt ?? 0) + 1; number <= RESTART_STARTS_MAX; number++) {
    if (last !== null) {
      const { message } = problemOf(last.record);
      const why = `stopped, the start failed (${message}); it is tried again`;
      await waitForGuard(attempt.op, { code: 'backing_off', message: why }, room);
    }
    const part = { kind: 'start', isRetry: last !== null } as const;
    const cleared = await awaitClearance(attempt.op, part, room);
    if (cleared.kind === 'refused') return failStart(attempt, cleared.problem, last);
    last = await recordChild(await runAttempt(start, number, cleared.look, room), room);
    if (last.record.state === 'succeeded') return succeed(attempt, last);
  }
  const problem = last === null ? ownProblem('no try is left') : problemOf(last.record);
  return failStart(attempt, problem, last);
}

function failStart(attempt: Attempt, { code, message }: Problem, last: Part | null): AttemptEnd {
  const problem = { code, message: `stopped, but not started again: ${message}` };
  return endFailed(attempt, problem, last?.end?.seen);
}

type Cleared = Exclude<Awaited<ReturnType<typeof lookForClearance>>, { kind: 'wait' }>;

/** A part waits for guards like any op; the lane is kept meanwhile. */
async function awaitClearance(
  op: Op,
  part: { readonly kind: 'stop' | 'start'; readonly isRetry: boolean },
  room: Workroom,
): Promise<Cleared> {
  const giveUpMs = room.clock.monotonicMs() + RESTART_START_WAIT_MS;
  for (;;) {
    const request = { guest: guestOf(op), needsConfig: false, ...part };
    const cleared = await lookForClearance(request, room);
    if (cleared.kind !== 'wait') return cleared;
    const isOver = room.clock.monotonicMs() >= giveUpMs;
    if (isOver) return { kind: 'refused', problem: problemOfCondition(cleared.condition) };
    await waitForGuard(op, explain(part.kind, cleared.condition), room);
  }
}

function explain(kind: 'stop' | 'start', condition: Condition): Condition {
  return kind === 'stop' ? condition : { ...condition, message: `stopped; ${condition.message}` };
}

/** The end of a child, waited for and settled where it was cut off. */
async function endOfChild(view: OpView, room: Workroom): Promise<Part> {
  const { latest, started } = view;
  if (latest.state === 'succeeded' || latest.state === 'failed') {
    return { record: latest, end: null };
  }
  const op = opFromRecord(view.first);
  const before = started?.before ?? NOTHING_BEFORE;
  const seenSinceMs = room.clock.monotonicMs();
  const attempt: Attempt = { op, number: latest.attempt, before, seenSinceMs, isMaybeHa: true };
  if (latest.upid !== undefined) {
    return recordChild(await followTask(attempt, latest.upid, room), room);
  }
  const startedAtMs = view.startedAtMs ?? room.clock.now();
  const problem = { code: 'interrupted', message: 'the agent ended meanwhile' } as const;
  const unanswered = { ...attempt, startedAtMs, windowMs: UNANSWERED_WINDOW_MS, problem };
  return recordChild(await settle(unanswered, room), room);
}

/** Every restart is given a correlation id when it is submitted; its parts carry it. */
function childOp(parent: Op, action: Action, room: Workroom): Op {
  return {
    opId: makeOpId(room.random),
    vmid: parent.vmid,
    guestKind: parent.guestKind,
    action,
    origin: parent.origin,
    correlationId: parent.correlationId ?? makeCorrelationId(room.random),
    parentOpId: parent.opId,
  };
}

function problemOf(record: OpRecord): Problem {
  return record.error ?? ownProblem('the part failed without a reason');
}

function ownProblem(message: string): Problem {
  return { code: 'internal_error', message };
}
