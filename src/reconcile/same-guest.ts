/**
 * A vmid outlives its guest: what was destroyed, restored or made anew while an op waited is not
 * the guest that the op is about.
 */
import type { Clock } from './clock.ts';
import type { Clearance } from './lane-look.ts';
import { guestOf, type Op } from './op-shape.ts';
import type { Workroom } from './workroom.ts';

/** Tasks are dated in whole seconds: what made the guest that was seen must not count. */
const TASK_DATE_MS = 1_000;

/** When an op's guest was the one it is about. */
export interface Since {
  /** Wall clock. */
  readonly atMs: number;
  /** Null: an earlier life has noted it, and the wall clock alone tells. */
  readonly monotonicMs: number | null;
}

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

/**
 * On the clock as it goes now, which tasks are dated by: it may have been set back meanwhile. Rather
 * too early than too late, and from the beginning where nobody knows how long ago it was.
 */
export function earliest({ atMs, monotonicMs }: Since, clock: Clock): number {
  const nowMs = clock.now();
  if (monotonicMs === null) return atMs > nowMs ? 0 : atMs;
  return Math.min(atMs, nowMs - (clock.monotonicMs() - monotonicMs));
}
