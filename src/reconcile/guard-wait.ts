/**
 * Waiting for a guard. Ops that wait look at the same moments and in the same lists, however many
 * they are, and hold no slot. What they see there only ends the wait: whether the op runs is decided
 * by the look under its lane and slot, right before something is sent.
 */
import type { Clock } from './clock.ts';
import { LIST_MAX_AGE_MS } from './conclusion.ts';
import { guardHalfWay, guardSafety } from './guards.ts';
import { withHa } from './guest.ts';
import type { OpKind } from './op.ts';
import { guestOf, type Op } from './op-shape.ts';
import type { Condition } from './plan.ts';
import { waitShown } from './wait.ts';
import type { Workroom } from './workroom.ts';

/** Each divides the next, so that who waits longer looks when others do. */
const PACES = [
  { waitedMs: 60_000, everyMs: 5_000 },
  { waitedMs: 300_000, everyMs: 15_000 },
];
const SLOWEST_MS = 30_000;

export interface GuardWait {
  readonly op: Op;
  /** What it waits to do: a part of a restart may. */
  readonly kind: OpKind;
  readonly condition: Condition;
  /** How long it may still wait; 0: it is over. */
  readonly leftMs: () => number;
  /** The guest is down by a restart's own hand. */
  readonly isHalfWay?: boolean;
  /** Before what it says. */
  readonly prefix?: string;
}

/** Until nothing that a list shows stands in its way, or it is over; with what it waited for last. */
export async function waitForGuard(wait: GuardWait, room: Workroom): Promise<Condition> {
  const { op, leftMs, prefix = '' } = wait;
  const sinceMs = room.clock.monotonicMs();
  for (let { condition } = wait; ; ) {
    const { code, message, upid, untilMs = 0 } = condition;
    const ms = Math.min(pauseMs(sinceMs, untilMs, room.clock), leftMs());
    if (ms <= 0) return condition;
    const reason = { code, message: prefix + message, ...(upid === undefined ? {} : { upid }) };
    await waitShown(op.vmid, reason, ms, room, room.cancelSignal(op.opId));
    const still = leftMs() > 0 ? await glance(wait, room) : null;
    if (still === null) return condition;
    condition = still;
  }
}

/** To the next of the moments at which all look who have waited as long, or to its known end. */
function pauseMs(sinceMs: number, untilMs: number, clock: Clock): number {
  const nowMs = clock.monotonicMs();
  const pace = PACES.find(({ waitedMs }) => nowMs - sinceMs < waitedMs);
  const everyMs = pace?.everyMs ?? SLOWEST_MS;
  const ms = Math.ceil(everyMs - (nowMs % everyMs));
  const endsMs = untilMs - clock.now();
  return endsMs > 0 ? Math.min(ms, endsMs) : ms;
}

/** What the lists show in its way; null: nothing that would pass by itself. */
async function glance(
  { op, kind, isHalfWay = false }: GuardWait,
  room: Workroom,
): Promise<Condition | null> {
  const sinceMs = room.clock.monotonicMs() - LIST_MAX_AGE_MS;
  const ref = guestOf(op);
  const look = { guest: ref, sinceMs, tasksSinceMs: sinceMs, config: false, details: false };
  const found = await room.guests.look(look, room.signal);
  if (found.kind === 'unknown') return { code: 'unknown', message: found.problem.message };
  if (found.kind === 'gone' || found.guest.kind !== ref.kind) return null;
  const around = await room.surroundings(found, 'for_an_action');
  const guest = withHa(found.guest, around.node);
  const memory = { unsettled: room.unsettled.of(op.vmid) };
  const guard = isHalfWay ? guardHalfWay : guardSafety;
  const verdict = guard({ ...around, memory, guest, actions: [kind] });
  return verdict.kind === 'wait' ? verdict.condition : null;
}
