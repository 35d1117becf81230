/**
 * One attempt of an op: `started` is durable, then the request, then the task, then the look. Crash
 * points: after `started` the request may or may not have been sent (settled by settle.ts); after
 * `task_running` the task tells.
 */
import { judgeFulfilment } from './completion.ts';
import { type Attempt, conclude, followNewTask, type SentEnd, wantedOf } from './conclusion.ts';
import { assertNever } from './errors.ts';
import { configOf, type Guest } from './guest.ts';
import type { SentAction } from './op.ts';
import { describeBefore, guestOf, maskedParams, type Op, recordBase } from './op-shape.ts';
import type { Submission } from './ports.ts';
import { type SentAttempt, settleUnanswered } from './settle.ts';
import type { Workroom } from './workroom.ts';

/** The guest an attempt stands on, as its lane has just looked at it. */
export interface LaneLook {
  readonly guest: Guest;
  /** Monotonic: the look began then. */
  readonly sinceMs: number;
}

/** Runs an attempt up to its end, which the caller records. */
export async function runAttempt(
  op: Op<SentAction>,
  number: number,
  look: LaneLook,
  room: Workroom,
): Promise<SentEnd> {
  room.signal.throwIfAborted();
  const { guest } = look;
  const before = describeBefore(op, guest, room.ledger.lastUpid(op.vmid));
  const isMaybeHa = guest.ha.kind === 'managed' || guest.ha.kind === 'unknown';
  const begun = { atMs: room.clock.now(), monotonicMs: room.clock.monotonicMs() };
  const attempt: Attempt = { op, number, before, begun, seenSinceMs: look.sinceMs, isMaybeHa };
  const params = maskedParams(op, room.semantics);
  const signers = op.signers === undefined ? {} : { signers: op.signers };
  room.showWait(op.vmid, null);
  await room.record({
    ...recordBase(op),
    ...signers,
    state: 'started',
    attempt: number,
    params,
    before,
  });
  const already = judgeFulfilment(wantedOf(attempt), guest, room.semantics);
  if (already.kind === 'yes' && op.action.kind !== 'set_config') {
    const note = 'it was so already; nothing was sent';
    const outcome = { state: 'succeeded', observed: { power: guest.power, note } } as const;
    return { kind: 'succeeded', attempt, outcome, seen: guest };
  }
  const startedAtMs = room.clock.now();
  const hasTwin = room.unsettled.hasTwin(op);
  const submission = await submit(op, guest, room);
  return followSubmission({ ...attempt, startedAtMs, hasTwin }, submission, room);
}

async function submit(op: Op<SentAction>, guest: Guest, room: Workroom): Promise<Submission> {
  const { action } = op;
  switch (action.kind) {
    case 'start':
      return room.guests.start(guestOf(op), room.signal);
    case 'stop':
      return room.guests.stop(guestOf(op), action.params, room.signal);
    case 'set_config': {
      const { digest } = configOf(guest);
      return room.guests.setConfig(guestOf(op), { ...action.params, digest }, room.signal);
    }
    default:
      return assertNever(action);
  }
}

async function followSubmission(
  attempt: SentAttempt,
  submission: Submission,
  room: Workroom,
): Promise<SentEnd> {
  switch (submission.kind) {
    case 'task':
      return followNewTask(attempt, submission.upid, room);
    case 'done':
      return conclude(attempt, { kind: 'applied' }, room);
    case 'refused':
      return conclude(attempt, { kind: 'refused', problem: submission.problem }, room);
    case 'unsure':
      return settleUnanswered(attempt, submission.problem, room);
    default:
      return assertNever(submission);
  }
}
