/**
 * A lane's turn for one op from the journal: taken up where its records left it, checked again
 * (expiry, signers, precondition, gate, guards), waited with where it must wait, run, and tried
 * again where that is safe. Until its last attempt's end is recorded it is in flight.
 */
import { runAttempt } from './attempt.ts';
import { effectiveValue } from './completion.ts';
import { type Attempt, type AttemptEnd, endFailed, recordEnd } from './conclusion.ts';
import { findContradiction } from './contradiction.ts';
import { NOTHING_KNOWN, resumeAttempt } from './cut-off.ts';
import type { Problem } from './errors.ts';
import { refuseByGate } from './gate.ts';
import { waitForGuard } from './guard-wait.ts';
import { configOf, type Guest } from './guest.ts';
import { CLOCK_SKEW_MS } from './intake.ts';
import { lookForClearance, problemOfCondition } from './lane-look.ts';
import { guestOf, type Op, opFromRecord } from './op-shape.ts';
import type { Condition } from './plan.ts';
import type { OpView } from './ports.ts';
import {
  type RestartAttempt,
  type RestartEnd,
  resumeRestart,
  runParts,
  runRestart,
} from './restart.ts';
import { findReplacement } from './same-guest.ts';
import { isUnchanged } from './settle.ts';
import type { Since } from './since.ts';
import { findStartSince } from './started-since.ts';
import { waitShown, withSlot } from './wait.ts';
import type { Workroom } from './workroom.ts';

/** A few honest tries; after that a person or the hub decides. */
export const OP_ATTEMPTS_MAX = 3;
/** Between two tries: what stood in the way of the first may pass by itself. */
const RETRY_PAUSE_MS = 5_000;

export const CANCELLED: Problem = { code: 'cancelled', message: 'cancelled before it began' };

/** Where an op stands between two steps. */
interface Standing {
  /** Its guest was the one it is about then. */
  readonly since: Since;
  /** How its last attempt ended. */
  readonly last: AttemptEnd | null;
  /** A restart that the agent's last life began, and sent nothing for. */
  readonly unsent: RestartAttempt | null;
}

/**
 * How the op ended, recorded; null: it stays in flight for the next run of the agent. `takenMs`:
 * monotonic, when this life has taken it in; null: an earlier one has.
 */
export async function runOpTurn(
  view: OpView,
  takenMs: number | null,
  room: Workroom,
): Promise<AttemptEnd | null> {
  const op = opFromRecord(view.first);
  const resumed = await resume(view, op, room);
  if (resumed?.kind === 'left') return null;
  const since = { atMs: view.startedAtMs ?? view.latestAtMs, monotonicMs: takenMs };
  let standing: Standing =
    resumed?.kind === 'unsent'
      ? { since, last: null, unsent: resumed.attempt }
      : { since, last: resumed, unsent: null };
  let waiting: Condition | null = null;
  for (;;) {
    const { last, unsent } = standing;
    if (waiting === null && last !== null) {
      waiting = describeRetry(last, room);
      if (waiting === null) return recordEnd(last, room);
      await waitShown(op.vmid, waiting, RETRY_PAUSE_MS, room, room.cancelSignal(op.opId));
    } else if (waiting !== null) {
      if (!room.isPatient()) return last === null ? null : recordEnd(last, room);
      const { kind } = op.action;
      const leftMs = (): number => leftOf(view, room);
      waiting = await waitForGuard({ op, kind, condition: waiting, leftMs }, room);
    }
    const step: Step = await takeStep(view, op, standing, room);
    // That is on record already, and it is its end, whatever the step has found.
    if (room.cancelSignal(view.opId).aborted) return null;
    if (step.kind === 'refused') {
      const problem = explainExpiry(step.problem, waiting);
      return recordEnd(last ?? endFailed(unsent ?? unbegun(op), problem), room);
    }
    if (step.kind === 'left') return null;
    if (step.kind === 'ended') {
      standing = { since, last: step.end, unsent: null };
      waiting = null;
    } else waiting = step.condition;
  }
}

/** An op that ends before any attempt. */
function unbegun(op: Op): Attempt {
  const begun = { atMs: 0, monotonicMs: null };
  return { op, number: 0, before: NOTHING_KNOWN, begun, seenSinceMs: 0, isMaybeHa: false };
}

/** What became of the attempt that its records leave open; null: none was begun. */
async function resume(
  view: OpView,
  op: Op,
  room: Workroom,
): Promise<Awaited<ReturnType<typeof resumeRestart>> | null> {
  const { action } = op;
  if (view.latest.state === 'received') return null;
  return action.kind === 'restart'
    ? resumeRestart(view, { ...op, action }, room)
    : resumeAttempt(view, op, room);
}

/** What it waits with before it is tried again; null: this was its last word. */
function describeRetry(end: AttemptEnd, room: Workroom): Condition | null {
  if (end.kind === 'succeeded' || end.retry === 'no') return null;
  const { op, number } = end.attempt;
  if (op.origin === 'reconcile' || number >= OP_ATTEMPTS_MAX || !room.isPatient()) return null;
  return { code: 'backing_off', message: `to be tried again: ${end.outcome.error.message}` };
}

type Step =
  | { readonly kind: 'wait'; readonly condition: Condition }
  | { readonly kind: 'refused'; readonly problem: Problem }
  | { readonly kind: 'ended'; readonly end: AttemptEnd }
  | { readonly kind: 'left' };

/** Looks under the lane and a slot, decides again, and runs the attempt if nothing objects. */
function takeStep(view: OpView, op: Op, standing: Standing, room: Workroom): Promise<Step> {
  const { since, last, unsent } = standing;
  const objection = findObjection(view, room);
  if (objection !== null) return Promise.resolve({ kind: 'refused', problem: objection });
  return withSlot(op.vmid, room, async () => {
    const { action } = op;
    const { kind } = action;
    const needsConfig = kind === 'set_config' || view.first.precondition?.digest !== undefined;
    const request = { guest: guestOf(op), kind, needsConfig, isRetry: last !== null };
    const cleared = await lookForClearance(request, room);
    if (cleared.kind !== 'go') return cleared;
    const { look } = cleared;
    const replaced = await findReplacement(op, since, room);
    if (replaced !== null) return replaced;
    const unsure = unsureOf(standing);
    if (unsure !== null && kind === 'start') {
      const started = await findStartSince(unsure, look.guest, unsure.before.last_upid, room);
      if (started !== null) return started;
    }
    // It may be another thing by now than it was when the op was accepted.
    const wanted = await room.findWanted(op.vmid);
    const asked = { action, holdMs: view.first.hold_ms };
    // Last word before the attempt: from here to its `started` record no op can be cancelled.
    const problem =
      findObjection(view, room) ??
      findGateObjection(view, op, look.guest, room) ??
      findRefusal(op, look.guest, room) ??
      findChange(view, standing, look.guest) ??
      findContradiction(asked, wanted, look.guest, room);
    if (problem !== null) return { kind: 'refused', problem };
    room.signal.throwIfAborted();
    room.showWait(op.vmid, null);
    const number = (last?.attempt.number ?? 0) + 1;
    const run = (): Promise<RestartEnd> =>
      action.kind !== 'restart'
        ? runAttempt({ ...op, action }, number, look, room)
        : unsent === null
          ? runRestart({ ...op, action }, number, look, room)
          : runParts({ ...unsent, hasSlot: true }, look, room);
    // The end of one attempt with `started` of the next: an agent that is killed leaves the op in flight.
    const [end] = await Promise.all(
      room.ledger.together(() => {
        const recorded = last === null ? Promise.resolve() : recordEnd(last, room);
        return [run(), recorded] as const;
      }),
    );
    return end.kind === 'left' ? end : { kind: 'ended', end };
  });
}

/** How long it may wait: cancelled, revoked or expired it is over, and `findObjection` says why. */
function leftOf(view: OpView, room: Workroom): number {
  if (findObjection(view, room) !== null) return 0;
  return (expiryOf(view) ?? Number.POSITIVE_INFINITY) + 1 - room.clock.now();
}

/** Wall clock. */
function expiryOf({ first: { expires_at_ms: atMs, origin } }: OpView): number | null {
  if (atMs === undefined) return null;
  // A signed time is the signer's: what the intake has taken must not be too late at once.
  return origin === 'hub' ? atMs + CLOCK_SKEW_MS : atMs;
}

function findObjection(view: OpView, room: Workroom): Problem | null {
  if (room.cancelSignal(view.opId).aborted) return CANCELLED;
  const expiresAtMs = expiryOf(view);
  if (expiresAtMs !== null && room.clock.now() > expiresAtMs) {
    return { code: 'expired', message: 'it expired before it could begin' };
  }
  return room.authority.objection(view);
}

/** The class may depend on what a key is now, which intake could not know. */
function findGateObjection(view: OpView, op: Op, guest: Guest, room: Workroom): Problem | null {
  if (guest.config.kind !== 'known') return null;
  const { action, origin, guestKind } = op;
  const { config } = guest.config;
  const signatures = room.authority.signaturesLeft(view);
  return refuseByGate(action, { origin, signatures, guestKind, config }, room);
}

/** What PVE would refuse, or write without effect, as intake could not know either. */
function findRefusal(
  { action, guestKind: kind }: Op,
  guest: Guest,
  room: Workroom,
): Problem | null {
  if (action.kind !== 'set_config' || guest.config.kind !== 'known') return null;
  const { config } = guest.config;
  const { set, delete: removed } = action.params;
  const writes = [...Object.entries(set), ...removed.map((key) => [key, null] as const)];
  for (const [key, to] of writes) {
    const from = effectiveValue(config, key);
    const { current } = config;
    const why = room.semantics.refusalOfWrite({ kind, key, from, to, current });
    if (why !== null) return { code: 'invalid_request', message: `${key}: ${why}` };
  }
  return null;
}

/** An attempt of which nobody knows whether it had an effect. */
function unsureOf({ last, unsent }: Standing): Attempt | null {
  return last?.kind === 'failed' && last.retry === 'if_unchanged' ? last.attempt : unsent;
}

/** What the op was promised, or what its attempt was about, is no longer there. */
function findChange({ first }: OpView, standing: Standing, guest: Guest): Problem | null {
  const unsure = unsureOf(standing);
  if (unsure !== null && !isUnchanged(guest, unsure.before)) {
    return { code: 'conflict', message: 'the guest has changed since' };
  }
  // It holds for every try: what is tried again has had no effect.
  const { precondition } = first;
  if (precondition?.power !== undefined && precondition.power !== guest.power) {
    const message = `the op wants the guest ${precondition.power}, it is ${guest.power}`;
    return { code: 'conflict', message };
  }
  if (precondition?.digest === undefined) return null;
  return configOf(guest).digest === precondition.digest
    ? null
    : { code: 'digest_stale', message: 'the config has changed since the op was signed' };
}

/** An op that expired while it waited says what it waited for. */
function explainExpiry(problem: Problem, waiting: Condition | null): Problem {
  if (problem.code !== 'expired' || waiting === null) return problem;
  const { code, message } = problemOfCondition(waiting);
  return { code: code === 'conflict' ? 'expired' : code, message: `expired waiting: ${message}` };
}
