/**
 * A lane's turn for what desired state asks of one guest: look again, plan again, and do the
 * guest's actions in order (stop, set_config, start), each an op of its own, each decided again.
 * If the guest has converged meanwhile, nothing is done and nothing is journaled.
 */
import { type LaneLook, runAttempt } from './attempt.ts';
import { type AttemptEnd, LIST_MAX_AGE_MS, recordEnd } from './conclusion.ts';
import type { DesiredGuest } from './desired.ts';
import type { Guest, GuestRef } from './guest.ts';
import { type CorrelationId, makeOpId } from './ids.ts';
import type { OpKind, SentAction } from './op.ts';
import type { Op } from './op-shape.ts';
import type { PlanEntry, PlannedAction } from './plan.ts';
import { planGuest } from './planner.ts';
import type { Found, Workroom } from './workroom.ts';

/** stop, set_config, start; and a set_config once more where somebody wrote in between. */
const ACTIONS_PER_TURN_MAX = 4;
/** The pass's own list of running tasks serves the turns right after it. */
const TASKS_MAX_AGE_MS = 5_000;

export interface ReconcileTurn {
  readonly guest: GuestRef;
  readonly passId: CorrelationId;
  /** What the pass planned, and for which wish: they tell what the look must read. */
  readonly planned: PlanEntry;
  readonly plannedFor: DesiredGuest | null;
  /** When its turn of the lane began (monotonic): what came before is over. */
  readonly heldSinceMs: number;
}

export interface ReconcileTurnPorts {
  readonly room: Workroom;
  /** The newest desired state of the guest; null: nobody wants anything of it any more. */
  readonly wanted: () => DesiredGuest | null;
  /** HA manages it, or might: its own status must be read. */
  readonly isHaPossible: () => boolean;
  /** Stopped at the last pass, or by an op of ours since. */
  readonly isKnownStopped: () => boolean;
  /** May it be started once more? A guest that flaps is left to a person. */
  readonly mayStart: () => Promise<boolean>;
  readonly ended: (end: AttemptEnd) => Promise<void>;
  /** The guest as the turn has found it; monotonic: the look began then. */
  readonly saw: (guest: Guest, sinceMs: number) => void;
}

interface TurnLook extends LaneLook {
  readonly found: Found;
  readonly hasDetails: boolean;
  /** Monotonic: when it was asked for. Its tasks go out of date while an action takes its time. */
  readonly askedMs: number;
}

export async function runReconcileTurn(
  turn: ReconcileTurn,
  ports: ReconcileTurnPorts,
): Promise<void> {
  const done = new Set<OpKind>();
  let look: TurnLook | null = null;
  for (let count = 0; count < ACTIONS_PER_TURN_MAX; count++) {
    const wanted = ports.wanted();
    if (wanted === null) return;
    const needs = needsOf(turn, wanted, done, ports);
    if (look === null || !covers(look, needs)) look = await readLook(turn, needs, ports);
    let next: PlannedAction | null = look && (await planNext(look.found, wanted, ports));
    if (look !== null && next !== null) {
      const more = needsOfAction(next, needs, turn, ports);
      if (!covers(look, more) || isOutOfDate(look, ports)) {
        look = await readLook(turn, more, ports);
        next = look && (await planNext(look.found, wanted, ports));
      }
    }
    // Looking takes as long as PVE does: what is wanted may be another thing by now.
    if (ports.wanted() !== wanted) continue;
    if (look === null || next === null || done.has(next.action.kind)) return;
    done.add(next.action.kind);
    const end = await runAttempt(toOp(turn, next.action, ports), 1, look, ports.room);
    // What the end makes the agent remember is on disk with it.
    const { ledger } = ports.room;
    await Promise.all(ledger.together(() => [recordEnd(end, ports.room), ports.ended(end)]));
    if (end.kind === 'succeeded') look = afterEnd(look, end.seen);
    else if (end.outcome.error.code === 'digest_stale') {
      // Somebody wrote the config between our look and our write: look and plan again.
      done.delete(next.action.kind);
      look = null;
    } else return;
  }
}

/** The look that ended one action opens the next; what it did not read is not known any more. */
function afterEnd(look: TurnLook, guest: Guest): TurnLook {
  const hasDetails = guest.ha.kind !== 'not_read';
  return { ...look, guest, found: { ...look.found, guest }, hasDetails };
}

/** The first action of the plan as it is now, if it may run now. */
async function planNext(
  found: Found,
  wanted: DesiredGuest,
  ports: ReconcileTurnPorts,
): Promise<PlannedAction | null> {
  const around = await ports.room.surroundings(found, 'for_an_action');
  const { verdict, actions } = planGuest(wanted, found.guest, around, ports.room.planContext());
  const next = actions[0];
  if (verdict.kind !== 'go' || next === undefined) return null;
  // It has gone down since the last pass, maybe in a stopall that is over already or not in our list
  // of tasks yet: the next pass holds it or plans its start.
  const isStarted = actions.some(({ action }) => action.kind === 'start');
  if (isStarted && !ports.isKnownStopped()) return null;
  return next.action.kind !== 'start' || (await ports.mayStart()) ? next : null;
}

interface LookNeeds {
  readonly config: boolean;
  readonly details: boolean;
  /** Nothing has been done in this turn yet. */
  readonly isFirst: boolean;
}

/**
 * What the pass planned tells what has to be read, as long as the wish is the one it planned for.
 * For a newer one all that a plan may go by is read: nobody has looked for it yet.
 */
function needsOf(
  turn: ReconcileTurn,
  wanted: DesiredGuest,
  done: ReadonlySet<OpKind>,
  ports: ReconcileTurnPorts,
): LookNeeds {
  const { planned, plannedFor } = turn;
  const isFirst = done.size === 0;
  if (wanted !== plannedFor) {
    const isWritten = wanted.config.size === 0 || done.has('set_config');
    // A start is the last there is.
    const isPowered = wanted.power === 'unmanaged' || done.has('start');
    return { config: !isWritten, details: !isPowered, isFirst };
  }
  const left = planned.actions.map(({ action }) => action.kind).filter((kind) => !done.has(kind));
  const config = left.includes('set_config');
  return { config, details: needsDetails(left, turn, ports), isFirst };
}

function needsDetails(
  kinds: readonly OpKind[],
  { guest }: ReconcileTurn,
  ports: ReconcileTurnPorts,
): boolean {
  const touchesPower = kinds.some((kind) => kind !== 'set_config');
  // A paused VM cannot answer a shutdown, and only its own status says that it is paused.
  const mayBePaused = kinds.includes('stop') && guest.kind === 'qemu';
  return (touchesPower && ports.isHaPossible()) || mayBePaused;
}

/** The guest may have changed since the pass, and take an action that nobody has planned. */
function needsOfAction(
  { action: { kind } }: PlannedAction,
  needs: LookNeeds,
  turn: ReconcileTurn,
  ports: ReconcileTurnPorts,
): LookNeeds {
  const config = needs.config || kind === 'set_config';
  return { ...needs, config, details: needs.details || needsDetails([kind], turn, ports) };
}

/** A look that was there already serves where it read all that is needed. */
function covers({ guest, hasDetails }: TurnLook, { config, details }: LookNeeds): boolean {
  return (guest.config.kind === 'known' || !config) && (hasDetails || !details);
}

/** An action took its time, and somebody's task may have begun meanwhile. */
function isOutOfDate({ askedMs }: TurnLook, { room }: ReconcileTurnPorts): boolean {
  return room.clock.monotonicMs() - askedMs > TASKS_MAX_AGE_MS;
}

async function readLook(
  turn: ReconcileTurn,
  { config, details, isFirst }: LookNeeds,
  ports: ReconcileTurnPorts,
): Promise<TurnLook | null> {
  const { room } = ports;
  const nowMs = room.clock.monotonicMs();
  // While a turn waits for a slot it holds its lane, so nothing of ours happens to the guest: a
  // list that was read meanwhile, to end the op before, is its look under the lane.
  const heldSinceMs = Math.max(turn.heldSinceMs, nowMs - LIST_MAX_AGE_MS);
  const sinceMs = isFirst ? heldSinceMs : nowMs;
  const found = await room.guests.look(
    {
      guest: turn.guest,
      sinceMs,
      tasksSinceMs: nowMs - TASKS_MAX_AGE_MS,
      config,
      details,
    },
    room.signal,
  );
  // The vmid may have become another guest's, of the other kind: the next pass plans for that one.
  const isSame = found.kind === 'found' && found.guest.kind === turn.guest.kind;
  if (!isSame) return null;
  ports.saw(found.guest, sinceMs);
  return { guest: found.guest, sinceMs, found, hasDetails: details, askedMs: nowMs };
}

function toOp(turn: ReconcileTurn, action: SentAction, ports: ReconcileTurnPorts): Op<SentAction> {
  return {
    opId: makeOpId(ports.room.random),
    vmid: turn.guest.vmid,
    guestKind: turn.guest.kind,
    action,
    origin: 'reconcile',
    correlationId: turn.passId,
  };
}
