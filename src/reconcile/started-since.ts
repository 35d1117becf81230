/** A guest that is stopped as it was before may have run meanwhile: its tasks tell. */
import type { Attempt } from './conclusion.ts';
import type { Guest } from './guest.ts';
import type { Upid } from './ids.ts';
import { type Clearance, findTasksSince } from './lane-look.ts';
import { findDone } from './settle.ts';
import { earliest } from './since.ts';
import type { Workroom } from './workroom.ts';

/**
 * Why a guest, just looked at, is not started any more for an attempt: since that was begun it has
 * been started, and somebody has stopped it again. Null: it may be.
 */
export async function findStartSince(
  { op, begun }: Attempt,
  guest: Guest,
  newerThan: Upid | null,
  room: Workroom,
): Promise<Exclude<Clearance, { kind: 'go' }> | null> {
  // Of a guest that HA manages a task proves nothing (PVE-FACTS 32).
  if (guest.power === 'running' || guest.ha.kind === 'managed') return null;
  const sinceMs = earliest(begun, room.clock);
  const found = await findTasksSince(op, { sinceMs, newerThan }, room);
  if (found.kind === 'unknown') {
    return { kind: 'wait', condition: { code: 'unknown', message: found.problem.message } };
  }
  const start = findDone(['start'], found.tasks, sinceMs);
  if (start === undefined) return null;
  const message = `it was started meanwhile (${start.upid}), and has been stopped again`;
  return { kind: 'refused', problem: { code: 'conflict', message } };
}
