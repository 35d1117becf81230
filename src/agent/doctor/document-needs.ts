/**
 * What the documents take of the token beyond what the policy does: on a guest's own path, where an
 * entry hides the one above, and elsewhere for what some values name. Needed is what would be
 * written now; what a change would take some day is only noted. Pure.
 */
import { hasPrivilege, type Permissions } from '../../proxmox/permissions.ts';
import { privilegeOfKey, privilegeOfValue } from '../../proxmox/values/key-privileges.ts';
import { createValueSemantics } from '../../proxmox/values/same-value.ts';
import type { DesiredGuest, DesiredState } from '../../reconcile/desired.ts';
import { diffConfig } from '../../reconcile/diff.ts';
import type { ActualState, Guest } from '../../reconcile/guest.ts';
import { planSkipped } from '../../reconcile/plan-skipped.ts';
import type { Config } from '../config/config.ts';
import { type PrivilegeNeed, privilegeNeeds, STARTUP_ORDER } from './privilege-needs.ts';

export interface DocumentInput {
  readonly config: Pick<Config, 'node' | 'policy' | 'signers'>;
  readonly held: Permissions;
  readonly desired: DesiredState;
  /** With the configs of the desired guests. */
  readonly actual: ActualState;
}

export interface Missing {
  /** Its path is where it is to be granted. */
  readonly need: PrivilegeNeed;
  /** Where it was looked for and not found. */
  readonly at: string;
}

/** A key of a document, and the privilege that a write of it takes. */
interface Taken {
  readonly missing: Missing;
  readonly what: string;
  readonly isDue: boolean;
}

const PURPOSES: Readonly<Record<string, string>> = {
  'Sys.Modify': STARTUP_ORDER.purpose,
  'SDN.Use': "a change of a guest's net is refused",
  'Mapping.Use': 'a mapped device is refused, and all that is written with it',
  'Datastore.Audit': 'an image from there is refused, and all that is written with it',
};

export function documentNeeds(input: DocumentInput): {
  readonly missing: readonly Missing[];
  /** Of keys that are as they should be. */
  readonly notes: readonly string[];
} {
  const { desired, actual, config } = input;
  const mode = config.policy.mode;
  if (config.policy.unsigned === 'none') return { missing: [], notes: [] };
  const taken: Taken[] = [];
  for (const wanted of desired.guests.values()) {
    const guest = actual.guests.get(wanted.vmid);
    if ((wanted.mode ?? mode) !== 'enforce' || guest === undefined) continue;
    if (planSkipped(wanted, guest, mode) === null) taken.push(...takenBy(wanted, guest, input));
  }
  const notes = taken.filter(({ isDue }) => !isDue).map(describe);
  return {
    missing: taken.filter(({ isDue }) => isDue).map(({ missing }) => missing),
    notes: [...new Set(notes)],
  };
}

function describe({ what, missing: { need, at } }: Taken): string {
  return `${what} is as wanted; a change of it would take ${need.privilege} on ${at}, which the token lacks`;
}

function takenBy(wanted: DesiredGuest, guest: Guest, input: DocumentInput): readonly Taken[] {
  const { held, config } = input;
  const at = `/vms/${wanted.vmid}`;
  // Without an entry of its own it has what /vms passes on.
  const path = held[at] === undefined ? '/vms' : at;
  const needs = privilegeNeeds(config);
  const onGuest = (privilege: string, what: string, isDue: boolean): Taken[] => {
    const need = needs.find((each) => each.privilege === privilege && each.path === '/vms');
    if (need === undefined || hasPrivilege(held, at, privilege)) return [];
    return [{ missing: { need: { ...need, path }, at }, what, isDue }];
  };
  const due = writtenKeys(wanted, guest, input);
  const taken = wanted.power === 'unmanaged' ? [] : onGuest('VM.PowerMgmt', 'power', true);
  for (const [key, value] of wanted.config) {
    if (wanted.ignore.has(key)) continue;
    const what = `${key} of guest ${wanted.vmid}`;
    taken.push(...onGuest(privilegeOfKey(guest.kind, key), what, due.has(key)));
    const besides = privilegeOfValue(guest.kind, key, value);
    if (besides === null || besides.anyOf.some((each) => hasPrivilege(held, besides.path, each))) {
      continue;
    }
    const missing = { need: needOf(besides.anyOf[0], besides.path), at: besides.path };
    taken.push({ missing, what, isDue: due.has(key) });
  }
  return taken;
}

/** Nets are granted as a whole, as setup does. */
function needOf(privilege: string, path: string): PrivilegeNeed {
  const isNet = privilege === 'SDN.Use';
  return {
    privilege,
    path: isNet ? '/sdn/zones' : path,
    propagates: path !== '/',
    purpose: PURPOSES[privilege] ?? 'what takes it is refused',
    isEssential: true,
  };
}

/** Whether a secret was set already the journal knows; here it counts as one that is to be set. */
function writtenKeys(
  wanted: DesiredGuest,
  guest: Guest,
  { config: { policy } }: DocumentInput,
): ReadonlySet<string> {
  if (guest.config.kind !== 'known') return new Set();
  const context = { semantics: createValueSemantics(), policy, isSecretApplied: () => false };
  const diff = diffConfig(wanted, guest, guest.config.config, context);
  return new Set([...Object.keys(diff.set), ...diff.delete]);
}
