/**
 * What the token may do, from /access/permissions. Lists are empty for a token without privileges
 * (PVE-FACTS 10), so what is missing from one means something only where the token sees all.
 */
import type * as z from 'zod';
import type { Problem } from '../reconcile/errors.ts';
import type { Completeness } from '../reconcile/guest.ts';
import type { Vmid } from '../reconcile/ids.ts';
import type { permissions } from './answers.ts';

/** Path to privilege; the value says whether it passes on to what is below. */
export type Permissions = z.output<typeof permissions>;

/** Has it `privilege` on `path` itself, by an entry there or one above that passes on? */
export function hasPrivilege(held: Permissions, path: string, privilege: string): boolean {
  const own = held[path];
  if (own !== undefined) return own[privilege] !== undefined;
  for (let above = parentPath(path); above !== null; above = parentPath(above)) {
    const entry = held[above];
    if (entry !== undefined) return entry[privilege] === true;
  }
  return false;
}

function parentPath(path: string): string | null {
  if (path === '/') return null;
  const cut = path.lastIndexOf('/');
  return cut === 0 ? '/' : path.slice(0, cut);
}

/**
 * Does the token see guests wherever nothing else is said? Whether one guest is hidden from it this
 * does not tell: a path on which the token holds nothing is left out (PVE-FACTS 10).
 */
export function seesGuests(held: Permissions): Completeness {
  const above = held['/vms'] ?? held['/'];
  if (above?.['VM.Audit'] === true) return { kind: 'complete' };
  return unknown(
    'the token lacks VM.Audit on /vms (with propagation): what it cannot see may exist',
  );
}

/** Would it see this one? `held`: what was answered of the guest's own path. */
export function seesGuest(held: Permissions, vmid: Vmid): Completeness {
  const path = guestPath(vmid);
  if (held[path]?.['VM.Audit'] !== undefined) return { kind: 'complete' };
  return unknown(`the token lacks VM.Audit on ${path}: what it cannot see may exist`);
}

export function guestPath(vmid: Vmid): string {
  return `/vms/${vmid}`;
}

/** Without it only the token's own tasks are listed. */
export function seesAllTasks(held: Permissions, node: string): Completeness {
  const path = `/nodes/${node}`;
  if (hasPrivilege(held, path, 'Sys.Audit')) return { kind: 'complete' };
  return unknown(`the token lacks Sys.Audit on ${path}: tasks of others cannot be seen`);
}

export function seesHaStatus(held: Permissions): boolean {
  return hasPrivilege(held, '/', 'Sys.Audit');
}

function unknown(message: string): Completeness {
  const problem: Problem = { code: 'forbidden', message };
  return { kind: 'unknown', problem };
}
