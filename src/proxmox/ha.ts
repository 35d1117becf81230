/** What the HA manager says: of one guest, and of the cluster. Parsing only (PVE-FACTS 32-42). */
import type * as z from 'zod';
import type { HaLook, NodeLook } from '../reconcile/guest.ts';
import { parseVmid, type Vmid } from '../reconcile/ids.ts';
import type { ClusterGuest, GuestRow, haStatus } from './answers.ts';

export type HaStatusRow = z.output<typeof haStatus>[number];

/** From a guest's own status/current; a list has no `ha`. */
export function readGuestHa(row: GuestRow): HaLook {
  if (row.ha === undefined) return { kind: 'not_read' };
  return row.ha.managed ? { kind: 'managed', state: row.ha.state ?? null } : { kind: 'unmanaged' };
}

/** From /cluster/ha/status/current. */
export function readNodeLook(rows: readonly HaStatusRow[], node: string): NodeLook {
  const quorum = rows.find((row) => row.type === 'quorum');
  const services = rows.filter((row) => row.type === 'service' && row.state !== 'ignored');
  return {
    quorate: quorum?.quorate ?? null,
    ha: readCondition(rows, services, node),
    managed: readManaged(rows, services),
  };
}

function readCondition(
  rows: readonly HaStatusRow[],
  services: readonly HaStatusRow[],
  node: string,
): NodeLook['ha'] {
  const armed = rows.find((row) => row.type === 'fencing')?.['armed-state'];
  if (armed === 'disarming' || armed === 'disarmed') return 'disarmed';
  const isFrozen = services.some((row) => row.node === node && row.crm_state === 'freeze');
  if (isFrozen) return 'frozen';
  return services.length === 0 ? 'absent' : 'armed';
}

/** Disarmed with mode `ignore`, guests are not managed at all (PVE-FACTS 38). */
function readManaged(
  rows: readonly HaStatusRow[],
  services: readonly HaStatusRow[],
): ReadonlyMap<Vmid, string | null> {
  const managed = new Map<Vmid, string | null>();
  if (rows.some((row) => row.type === 'fencing' && row.resource_mode === 'ignore')) return managed;
  for (const { sid, crm_state: state } of services) {
    const vmid = parseVmid(sid?.replace(/^(?:vm|ct):/, ''));
    // The state before the CRM took it up is the wish, not the state (`queued`).
    if (vmid !== null) managed.set(vmid, state ?? null);
  }
  return managed;
}

/**
 * From /cluster/resources, which a token without Sys.Audit may read: late by seconds, and it may
 * still name a guest that was just released (PVE-FACTS 33, 38, 42).
 */
export function readNodeLookFromResources(guests: readonly ClusterGuest[]): NodeLook {
  const managed = new Map<Vmid, string | null>();
  for (const { vmid, hastate } of guests) {
    if (hastate !== '' && hastate !== 'ignored') managed.set(vmid, hastate);
  }
  return { quorate: null, ha: 'unknown', managed };
}
