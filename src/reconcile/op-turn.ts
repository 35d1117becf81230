/**
 * A lane's turn for a hub's or an operator's op: checked again (expiry, signers, precondition,
 * guards), waited with where it must wait, run, and tried again where that is safe.
 */
import { runAttempt } from './attempt.ts';
import { type Attempt, type AttemptEnd, close, followTask } from './conclusion.ts';
import { ERROR_CODES, type ErrorCode, type Problem } from './errors.ts';
import { guardSafety } from './guards.ts';
import type { Guest } from './guest.ts';
import type { Before } from './op.ts';
import { guestOf, type Op, opFromRecord } from './op-shape.ts';
import type { Condition } from './plan.ts';
import type { Surroundings } from './planner.ts';
import type { LookResult, OpView } from './ports.ts';
import { resumeRestart, runRestart } from './restart.ts';
import { endInterrupted, settle, UNANSWERED_WINDOW_MS } from './settle.ts';
import type { Workroom } from './workroom.ts';

/** A few honest tries; after that a person or the hub decides. */
export const OP_ATTEMPTS_MAX = 3;
/** While an op waits for a guard, how often the guest is looked at again. */
const GUARD_LOOK_INTERVAL_MS = 5_000;

/** Failures that pass by themselves; the request had no effect. */
const RETRYABLE: ReadonlySet<ErrorCode> = new Set([
  'guest_locked',
  'guest_busy',
  'digest_stale',
  'service_unavailable',
]);

const NOTHING_BEFORE: Before = { power: 'stopped', booted_at_ms: null, last_upid: null };

/** What the engine knows around a guest, newest first asked. */
export interface OpTurnPorts {
  readonly room: Workroom;
  readonly surroundings: (look: Extract<LookResult, { kind: 'found' }>) => Promise<Surroundings>;
}

/** Runs the op from where its records left it to its end. */
export async function runOpTurn(view: OpView, ports: OpTurnPorts): Promise<AttemptEnd> {
  const { latest } = view;
  if (latest.state === 'received') return runReceived(view, latest.attempt + 1, ports);
  if (latest.kind === 'restart') return resumeRestart(view, ports.room);
  const attempt: Attempt = {
    op: opFromRecord(view.first),
    number: latest.attempt,
    before: view.started?.before ?? NOTHING_BEFORE,
  };
  if (latest.upid !== undefined) return followTask(attempt, latest.upid, ports.room);
  return settleStarted(view, attempt, ports);
}

/** `started` without a UPID: J5. */
async function settleStarted(
  view: OpView,
  attempt: Attempt,
  ports: OpTurnPorts,
): Promise<AttemptEnd> {
  const { room } = ports;
  const isReconcile = attempt.op.origin === 'reconcile';
  const unanswered = {
    ...attempt,
    startedAtMs: view.startedAtMs ?? room.clock.now(),
    // A reconcile op is not waited with: the next pass plans afresh from what is there.
    windowMs: isReconcile ? 0 : UNANSWERED_WINDOW_MS,
    problem: { code: 'interrupted', message: 'the agent ended before an answer came' } as const,
  };
  const settled = await settle(unanswered, room);
  if (settled.kind === 'ended') return settled.end;
  // The attempt has its own end in any case; only then another may begin (J2).
  const end = await endInterrupted(unanswered, room);
  const isOver = isReconcile || attempt.number >= OP_ATTEMPTS_MAX;
  if (isOver || end.record.state === 'succeeded' || findObjection(view, room) !== null) return end;
  return runReceived(view, attempt.number + 1, ports, end);
}

/** `failed`: how the attempt before ended; an op that may not go on stays so. */
async function runReceived(
  view: OpView,
  firstNumber: number,
  ports: OpTurnPorts,
  failed: AttemptEnd | null = null,
): Promise<AttemptEnd> {
  const { room } = ports;
  const op = opFromRecord(view.first);
  let last = failed;
  let waiting: Condition | null = null;
  let number = firstNumber;
  const refuse = async (error: Problem): Promise<AttemptEnd> =>
    last ??
    close({ op, number: 0, before: NOTHING_BEFORE }, { state: 'failed', error }, null, room);
  for (;;) {
    const objection = findObjection(view, room);
    if (objection !== null) return refuse(explainExpiry(objection, waiting));
    const step: Step = await room.lanes.withSlot(() => takeStep(view, op, number, ports));
    if (step.kind === 'refused') return refuse(step.problem);
    if (step.kind === 'ended') {
      if (number >= OP_ATTEMPTS_MAX || !isRetryable(step.end)) return step.end;
      last = step.end;
      waiting = { code: 'backing_off', message: last.record.error?.message ?? 'it failed' };
      number += 1;
    } else {
      waiting = step.condition;
    }
    await waitForGuard(op, waiting, room);
  }
}

function isRetryable({ record }: AttemptEnd): boolean {
  return record.error !== undefined && RETRYABLE.has(record.error.code);
}

type Step =
  | { readonly kind: 'wait'; readonly condition: Condition }
  | { readonly kind: 'refused'; readonly problem: Problem }
  | { readonly kind: 'ended'; readonly end: AttemptEnd };

/** Looks under the lane and a slot, decides again, and runs the attempt if nothing objects. */
async function takeStep(view: OpView, op: Op, number: number, ports: OpTurnPorts): Promise<Step> {
  const { room } = ports;
  const nowMs = room.clock.monotonicMs();
  const look = await room.guests.look(
    {
      guest: guestOf(op),
      sinceMs: nowMs,
      tasksSinceMs: nowMs,
      config: op.action.kind === 'set_config' || view.first.precondition?.digest !== undefined,
      details: op.action.kind !== 'set_config',
    },
    room.signal,
  );
  if (look.kind === 'unknown') {
    return { kind: 'wait', condition: { code: 'unknown', message: look.problem.message } };
  }
  if (look.kind === 'gone') return { kind: 'refused', problem: goneProblem(look.node) };
  const { guest } = look;
  const unmet = unmetPrecondition(view, guest);
  if (unmet !== null) return { kind: 'refused', problem: unmet };
  const around = await ports.surroundings(look);
  const verdict = guardSafety({ ...around, guest, actions: [op.action.kind], ownUpid: null });
  if (verdict.kind === 'wait') return { kind: 'wait', condition: verdict.condition };
  if (verdict.kind === 'never') {
    return { kind: 'refused', problem: toProblemCode(verdict.condition) };
  }
  // Last word before the attempt: from here to its `started` record nothing is awaited.
  const objection = findObjection(view, room);
  if (objection !== null) return { kind: 'refused', problem: objection };
  room.showWait(op.vmid, null);
  const run = op.action.kind === 'restart' ? runRestart : runAttempt;
  return { kind: 'ended', end: await run(op, number, guest, room) };
}

function findObjection(view: OpView, room: Workroom): Problem | null {
  if (room.cancelSignal(view.opId).aborted) {
    return { code: 'cancelled', message: 'cancelled before it began' };
  }
  const { expires_at_ms: expiresAtMs } = view.first;
  if (expiresAtMs !== undefined && room.clock.now() > expiresAtMs) {
    return { code: 'expired', message: 'it expired before it could begin' };
  }
  return room.authority.objection(view);
}

/** An op that expired while it waited says what it waited for. */
function explainExpiry(objection: Problem, waiting: Condition | null): Problem {
  if (objection.code !== 'expired' || waiting === null) return objection;
  const { code, message } = toProblemCode(waiting);
  return { code: code === 'conflict' ? 'expired' : code, message: `expired waiting: ${message}` };
}

/** A condition as one of the stable error codes; those without one of their own are conflicts. */
function toProblemCode({ code, message }: Condition): Problem {
  const own = ERROR_CODES.find((known) => known === code);
  return { code: own ?? 'conflict', message };
}

function goneProblem(node: string | null): Problem {
  return node === null
    ? { code: 'not_found', message: 'PVE lists no such guest on this node' }
    : { code: 'guest_moved', message: `the guest is on node ${node}` };
}

function unmetPrecondition({ first }: OpView, guest: Guest): Problem | null {
  const { precondition } = first;
  if (precondition?.power !== undefined && precondition.power !== guest.power) {
    const message = `the op wants the guest ${precondition.power}, it is ${guest.power}`;
    return { code: 'conflict', message };
  }
  if (precondition?.digest === undefined || guest.config.kind !== 'known') return null;
  return guest.config.config.digest === precondition.digest
    ? null
    : { code: 'digest_stale', message: 'the config has changed since the op was signed' };
}

async function waitForGuard(op: Op, condition: Condition, room: Workroom): Promise<void> {
  const untilMs = room.clock.now() + GUARD_LOOK_INTERVAL_MS;
  const { code, message, upid } = condition;
  room.showWait(op.vmid, { code, message, untilMs, ...(upid === undefined ? {} : { upid }) });
  const signal = AbortSignal.any([room.signal, room.cancelSignal(op.opId)]);
  await room.clock.sleep(GUARD_LOOK_INTERVAL_MS, signal);
  room.signal.throwIfAborted();
}
