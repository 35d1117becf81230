/**
 * A vmid outlives its guest: what was destroyed, restored or made anew while an op waited is not
 * the guest that the op is about.
 */
import { type Clearance, findTasksSince } from './lane-look.ts';
import type { Op } from './op-shape.ts';
import { earliest, type Since } from './since.ts';
import type { Workroom } from './workroom.ts';

/** Tasks are dated in whole seconds: what made the guest that was seen must not count. */
const TASK_DATE_MS = 1_000;

/**
 * Why the op's guest, just looked at, is not the one it was then, or is not known to be; null: it
 * is. A guest that was rolled back is still itself.
 */
export async function findReplacement(
  op: Op,
  since: Since,
  room: Workroom,
): Promise<Exclude<Clearance, { kind: 'go' }> | null> {
  const sinceMs = earliest(since, room.clock);
  // No task since then could be told from what made the guest: nothing is asked.
  if (room.clock.now() - sinceMs < TASK_DATE_MS) return null;
  const found = await findTasksSince(op, { sinceMs, newerThan: null }, room);
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
