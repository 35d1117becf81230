/**
 * A lane's turn for what desired state asks of one guest: look again, plan again, and do the
 * guest's actions in order (stop, set_config, start), each an op of its own, each decided again.
 * If the guest has converged meanwhile, nothing is done and nothing is journaled.
 */
import { runAttempt } from './attempt.ts';
import type { AttemptEnd } from './conclusion.ts';
import type { DesiredGuest } from './desired.ts';
import type { GuestRef } from './guest.ts';
import { type CorrelationId, makeOpId } from './ids.ts';
import type { Action, OpKind } from './op.ts';
import type { Op } from './op-shape.ts';
import type { PlanEntry } from './plan.ts';
import { type PlanContext, planGuest, type Surroundings } from './planner.ts';
import type { LookResult } from './ports.ts';
import type { Workroom } from './workroom.ts';

/** stop, set_config, start: a turn never needs more. */
const ACTIONS_PER_TURN_MAX = 3;
/** The pass's own list of running tasks serves the turns right after it. */
const TASKS_MAX_AGE_MS = 5_000;

export interface ReconcileTurn {
  readonly guest: GuestRef;
  readonly passId: CorrelationId;
  /** What the pass planned: it tells what the look must read. */
  readonly planned: PlanEntry;
}

export interface ReconcileTurnPorts {
  readonly room: Workroom;
  /** The newest desired state of the guest; null: nobody wants anything of it any more. */
  readonly wanted: () => DesiredGuest | null;
  readonly context: () => PlanContext;
  readonly surroundings: (look: Found) => Promise<Surroundings>;
  /** HA manages it, or might: its own status must be read. */
  readonly isHaPossible: () => boolean;
  /** May it be started once more? A guest that flaps is left to a person. */
  readonly mayStart: () => Promise<boolean>;
  readonly ended: (op: Op, end: AttemptEnd) => Promise<void>;
}

type Found = Extract<LookResult, { kind: 'found' }>;

export async function runReconcileTurn(
  turn: ReconcileTurn,
  ports: ReconcileTurnPorts,
): Promise<void> {
  const done = new Set<OpKind>();
  let seen: Found | null = null;
  for (let count = 0; count < ACTIONS_PER_TURN_MAX; count++) {
    const found: Found | null = await lookForTurn(turn, seen, done, ports);
    const wanted = ports.wanted();
    if (found === null || wanted === null) return;
    const around = await ports.surroundings(found);
    const entry = planGuest(wanted, found.guest, around, ports.context());
    const next = entry.actions[0];
    if (entry.verdict.kind !== 'go' || next === undefined || done.has(next.action.kind)) return;
    if (next.action.kind === 'start' && !(await ports.mayStart())) return;
    done.add(next.action.kind);
    const op = toOp(turn, next.action, ports);
    const end = await runAttempt(op, 1, found.guest, ports.room);
    await ports.ended(op, end);
    if (end.record.error?.code === 'digest_stale') {
      // Somebody wrote the config between our look and our write: look and plan again.
      done.delete(op.action.kind);
      seen = null;
    } else if (end.record.state === 'failed') {
      return;
    } else {
      seen = end.guest === null ? null : { ...found, guest: end.guest };
    }
  }
}

/** The look that ended one action opens the next, where it read all that is needed. */
async function lookForTurn(
  turn: ReconcileTurn,
  seen: Found | null,
  done: ReadonlySet<OpKind>,
  ports: ReconcileTurnPorts,
): Promise<Found | null> {
  const kinds = turn.planned.actions.map(({ action }) => action.kind);
  const needsConfig = kinds.includes('set_config') && !done.has('set_config');
  if (seen !== null && !(needsConfig && seen.guest.config.kind !== 'known')) return seen;
  const { room } = ports;
  const nowMs = room.clock.monotonicMs();
  const look = await room.guests.look(
    {
      guest: turn.guest,
      sinceMs: nowMs,
      tasksSinceMs: nowMs - TASKS_MAX_AGE_MS,
      config: needsConfig,
      // A paused VM cannot answer a shutdown, and only its own status says that it is paused.
      details: ports.isHaPossible() || (kinds.includes('stop') && turn.guest.kind === 'qemu'),
    },
    room.signal,
  );
  return look.kind === 'found' ? look : null;
}

function toOp(turn: ReconcileTurn, action: Action, ports: ReconcileTurnPorts): Op {
  return {
    opId: makeOpId(ports.room.random),
    vmid: turn.guest.vmid,
    guestKind: turn.guest.kind,
    action,
    origin: 'reconcile',
    correlationId: turn.passId,
  };
}
