/**
 * Finds the guest a REF names (CONTRACT 2): the vmid or the exact name first, then a prefix of
 * one of them, if it is one guest's alone. A whole vmid is never taken for a prefix: who says 101
 * does not mean 1010, least of all on the day 101 is gone.
 */
import { ReconcilerError } from '../../reconcile/errors.ts';
import { parseVmid, type Vmid } from '../../reconcile/ids.ts';
import { printable } from '../terminal/terminal.ts';

export interface Nameable {
  readonly vmid: Vmid;
  readonly name: string | null;
}

const CANDIDATES_SHOWN_MAX = 10;

/** Throws `not_found`, or `ambiguous_ref` with the candidates. */
export function resolveRef(ref: string, guests: Iterable<Nameable>): Vmid {
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
    throw new ReconcilerError('not_found', `no guest is called ${JSON.stringify(ref)}`);
  }
  if (matches.length === 1) return only.vmid;
  const shown = matches.slice(0, CANDIDATES_SHOWN_MAX).map(describe).join(', ');
  const more = matches.length - CANDIDATES_SHOWN_MAX;
  const list = more > 0 ? `${shown} and ${more} more` : shown;
  throw new ReconcilerError('ambiguous_ref', `${JSON.stringify(ref)} could be ${list}`);
}

function describe({ vmid, name }: Nameable): string {
  return name === null ? `${vmid}` : `${vmid} (${printable(name)})`;
}
