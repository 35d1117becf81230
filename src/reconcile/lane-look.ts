/**
 * The look under the lane, before something is sent: what is there, and whether anything that
 * concerns everybody's ops (a lock, a stranger's task, HA) stands in the way.
 */
import type { LaneLook } from './attempt.ts';
import { goneProblem, LIST_MAX_AGE_MS } from './conclusion.ts';
import { ERROR_CODES, type Problem } from './errors.ts';
import { guardHalfWay, guardSafety } from './guards.ts';
import type { GuestRef } from './guest.ts';
import type { OpKind } from './op.ts';
import { guestOf, type Op } from './op-shape.ts';
import type { Condition } from './plan.ts';
import type { TaskSearch, TaskSearchResult } from './ports.ts';
import type { Workroom } from './workroom.ts';

export type Clearance =
  | { readonly kind: 'go'; readonly look: LaneLook }
  /** Looked at again in a while. */
  | { readonly kind: 'wait'; readonly condition: Condition }
  /** Not as long as nobody does something. */
  | { readonly kind: 'refused'; readonly problem: Problem };

export async function lookForClearance(
  request: {
    readonly guest: GuestRef;
    readonly kind: OpKind;
    readonly needsConfig: boolean;
    /** A try before has failed: what was seen then explains nothing. */
    readonly isRetry: boolean;
    /** The guest is down by a restart's own hand. */
    readonly isHalfWay?: boolean;
  },
  room: Workroom,
): Promise<Clearance> {
  const { guest: ref, kind, needsConfig: config, isRetry, isHalfWay = false } = request;
  const sinceMs = room.clock.monotonicMs();
  const found = await room.guests.look(
    { guest: ref, sinceMs, tasksSinceMs: sinceMs, config, details: kind !== 'set_config' },
    room.signal,
  );
  if (found.kind === 'unknown') {
    return { kind: 'wait', condition: { code: 'unknown', message: found.problem.message } };
  }
  if (found.kind === 'gone') return { kind: 'refused', problem: goneProblem(found.node) };
  const { guest } = found;
  if (guest.kind !== ref.kind) {
    const message = `the guest was ${ref.kind} and is ${guest.kind}: it is another one`;
    return { kind: 'refused', problem: { code: 'conflict', message } };
  }
  if (config && guest.config.kind === 'unknown') {
    const { message } = guest.config.problem;
    return { kind: 'wait', condition: { code: 'unknown', message } };
  }
  const around = await room.surroundings(found, isRetry ? 'now' : 'for_an_action');
  const memory = { unsettled: room.unsettled.of(guest.vmid) };
  const guard = isHalfWay ? guardHalfWay : guardSafety;
  const verdict = guard({ ...around, memory, guest, actions: [kind] });
  switch (verdict.kind) {
    case 'go':
      return { kind: 'go', look: { guest, sinceMs } };
    case 'wait':
      return { kind: 'wait', condition: verdict.condition };
    case 'never':
      return { kind: 'refused', problem: problemOfCondition(verdict.condition) };
    default:
      return verdict satisfies never;
  }
}

/** What was done to a guest just looked at; as a rule the list of tasks that was read with it tells. */
export function findTasksSince(
  op: Op,
  bounds: Pick<TaskSearch, 'sinceMs' | 'newerThan'>,
  room: Workroom,
): Promise<TaskSearchResult> {
  const listSinceMs = room.clock.monotonicMs() - LIST_MAX_AGE_MS;
  return room.guests.findTasks({ guest: guestOf(op), ...bounds, listSinceMs }, room.signal);
}

/** A condition as one of the stable error codes; those without one of their own are conflicts. */
export function problemOfCondition({ code, message }: Condition): Problem {
  const own = ERROR_CODES.find((known) => known === code);
  return { code: own ?? 'conflict', message };
}
