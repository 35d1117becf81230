/**
 * Finds the guest a REF names (CONTRACT 2): the vmid or the exact name first, then a prefix of
 * one of them, if it is one guest's alone. A whole vmid is never taken for a prefix: who says 101
 * does not mean 1010, least of all on the day 101 is gone.
 */
import { type Problem, ReconcilerError } from '../../reconcile/errors.ts';
import { parseVmid, type Vmid } from '../../reconcile/ids.ts';
import type { LastLook } from '../daemon/last-look.ts';
import { printable } from '../terminal/terminal.ts';

export interface Nameable {
  readonly vmid: Vmid;
  readonly name: string | null;
}

const CANDIDATES_SHOWN_MAX = 10;

/** The guests that somebody wants, and those that PVE has shown. */
export function listNameable({ desired, known }: Pick<LastLook, 'desired' | 'known'>): Nameable[] {
  const guests = new Map<Vmid, Nameable>();
  for (const { vmid, name } of desired?.guests.values() ?? []) guests.set(vmid, { vmid, name });
  for (const vmid of desired?.claimedTwice.keys() ?? []) guests.set(vmid, { vmid, name: null });
  for (const { vmid, name } of known.values()) guests.set(vmid, { vmid, name });
  return [...guests.values()];
}

/**
 * Throws `ambiguous_ref` with the candidates, `not_found`, or where others may be there that could
 * not be seen, why not.
 */
export function resolveRef(ref: string, guests: Iterable<Nameable>, unseen: Problem | null): Vmid {
  const known = [...guests].sort((a, b) => a.vmid - b.vmid);
  const byVmid = known.find(({ vmid }) => String(vmid) === ref);
  if (byVmid !== undefined) return byVmid.vmid;
  const named = known.filter(({ name }) => name === ref);
  const isPrefix = named.length === 0 && parseVmid(ref) === null;
  const matches = isPrefix
    ? known.filter(({ vmid, name }) => `${vmid}`.startsWith(ref) || name?.startsWith(ref))
    : named;
  const [only] = matches;
  if (ref === '' || only === undefined) {
    if (unseen !== null) throw unknownGuest(JSON.stringify(ref), unseen);
    throw new ReconcilerError('not_found', `no guest is called ${JSON.stringify(ref)}`);
  }
  if (matches.length === 1) return only.vmid;
  const shown = matches.slice(0, CANDIDATES_SHOWN_MAX).map(describe).join(', ');
  const more = matches.length - CANDIDATES_SHOWN_MAX;
  const list = more > 0 ? `${shown} and ${more} more` : shown;
  throw new ReconcilerError('ambiguous_ref', `${JSON.stringify(ref)} could be ${list}`);
}

/** PVE not finding the node itself says nothing about a guest. */
export function unknownGuest(who: string, { code, message }: Problem): ReconcilerError {
  return new ReconcilerError(
    code === 'not_found' ? 'service_unavailable' : code,
    `guest ${who} is not known: ${message}`,
  );
}

function describe({ vmid, name }: Nameable): string {
  return name === null ? `${vmid}` : `${vmid} (${printable(name)})`;
}
