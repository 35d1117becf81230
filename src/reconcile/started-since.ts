/** A guest that is stopped as it was before may have run meanwhile: its tasks tell. */
import type { Guest } from './guest.ts';
import type { Upid } from './ids.ts';
import type { Clearance } from './lane-look.ts';
import { guestOf, type Op } from './op-shape.ts';
import { findDone } from './settle.ts';
import type { Workroom } from './workroom.ts';

/**
 * Why a guest, just looked at, is not started any more for an op that had begun at `sinceMs` (wall
 * clock): it has been started by now, and somebody has stopped it again. Null: it may be.
 */
export async function findStartSince(
  op: Op,
  guest: Guest,
  { sinceMs, newerThan }: { readonly sinceMs: number; readonly newerThan: Upid | null },
  room: Workroom,
): Promise<Exclude<Clearance, { kind: 'go' }> | null> {
  // Of a guest that HA manages a task proves nothing (PVE-FACTS 32).
  if (guest.power === 'running' || guest.ha.kind === 'managed') return null;
  const search = { guest: guestOf(op), sinceMs, newerThan };
  const found = await room.guests.findTasks(search, room.signal);
  if (found.kind === 'unknown') {
    return { kind: 'wait', condition: { code: 'unknown', message: found.problem.message } };
  }
  const start = findDone(['start'], found.tasks, sinceMs);
  if (start === undefined) return null;
  const message = `it was started meanwhile (${start.upid}), and has been stopped again`;
  return { kind: 'refused', problem: { code: 'conflict', message } };
}
