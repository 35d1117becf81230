/**
 * A vmid outlives its guest: what was destroyed, restored or made anew while an op waited is not
 * the guest that the op is about.
 */
import type { Clearance } from './lane-look.ts';
import { guestOf, type Op } from './op-shape.ts';
import type { Workroom } from './workroom.ts';

/** A guest that was seen so shortly before is the same one: nothing is asked. */
const SURELY_SAME_MS = 5_000;
/** Tasks are dated in whole seconds: what made the guest that was seen must not count. */
const TASK_DATE_MS = 1_000;

/**
 * Why the op's guest, just looked at, is not the one it was at `sinceMs` (wall clock), or is not
 * known to be; null: it is. A guest that was rolled back is still itself.
 */
export async function findReplacement(
  op: Op,
  sinceMs: number,
  room: Workroom,
): Promise<Exclude<Clearance, { kind: 'go' }> | null> {
  const ageMs = room.clock.now() - sinceMs;
  // A negative age: the clock was set back, and nobody knows how long it has been.
  if (ageMs >= 0 && ageMs < SURELY_SAME_MS) return null;
  const search = { guest: guestOf(op), sinceMs, newerThan: null };
  const found = await room.guests.findTasks(search, room.signal);
  if (found.kind === 'unknown') {
    return { kind: 'wait', condition: { code: 'unknown', message: found.problem.message } };
  }
  const replacement = found.tasks.find(({ role, state, startedAtMs }) => {
    return role === 'replaces' && state === 'succeeded' && startedAtMs >= sinceMs + TASK_DATE_MS;
  });
  if (replacement === undefined) return null;
  const message = `the guest was replaced meanwhile (${replacement.upid})`;
  return { kind: 'refused', problem: { code: 'conflict', message } };
}
