/**
 * Does the token hold what the policy takes, and not far more? From what PVE itself says the real
 * token may do (/access/permissions); each finding ends in the one line that mends it. Pure.
 */

import { hasPrivilege, type Permissions, seesGuests } from '../../proxmox/permissions.ts';
import { bridgePath, privilegeOfKey, takesSysModify } from '../../proxmox/values/key-privileges.ts';
import type { DesiredGuest } from '../../reconcile/desired.ts';
import { SETUP_USER } from '../setup/names.ts';
import { type Finding, failure, ok, warning } from './finding.ts';
import {
  type NeedsInput,
  type PrivilegeNeed,
  privilegeNeeds,
  roleOf,
  STARTUP_ORDER,
} from './privilege-needs.ts';

export interface PrivilegeInput {
  readonly config: NeedsInput;
  readonly held: Permissions;
  readonly desired: Iterable<DesiredGuest>;
  /** `user@realm!tokenid` */
  readonly tokenUser: string;
}

/** More than these help nobody. */
const PATHS_SHOWN_MAX = 5;

interface Missing {
  /** Its path is where it is to be granted. */
  readonly need: PrivilegeNeed;
  /** Where it was looked for and not found. */
  readonly at: string;
}

export function privilegeFindings(input: PrivilegeInput): readonly Finding[] {
  const { config, held, tokenUser } = input;
  if (Object.keys(held).length === 0) return [withoutAny(input)];
  const needs = privilegeNeeds(config);
  const missing = new Map<string, Missing>();
  for (const each of [...missingByPolicy(needs, held), ...missingByDesired(needs, input)]) {
    missing.set(`${each.need.privilege} ${each.need.path}`, each);
  }
  const groups = Map.groupBy(missing.values(), ({ need }) => `${need.isEssential} ${need.path}`);
  const findings = [...groups.values()].map((group) => lacking(group, needs, tokenUser));
  if (findings.length > 0) return findings;
  return [ok('privileges', `${tokenUser} holds the ${needs.length} privileges the policy needs`)];
}

function missingByPolicy(needs: readonly PrivilegeNeed[], held: Permissions): readonly Missing[] {
  return needs.flatMap((need) => (isHeld(need, held) ? [] : [{ need, at: need.path }]));
}

function isHeld({ privilege, path, propagates }: PrivilegeNeed, held: Permissions): boolean {
  if (privilege === 'VM.Audit') return seesGuests(held).kind === 'complete';
  if (!propagates) return hasPrivilege(held, path, privilege);
  // A bridge or a zone below will do as well: what a desired net takes is looked at by itself.
  if (path === '/sdn/zones') {
    return Object.entries(held).some(
      ([at, privileges]) => /^\/(?:sdn|$)/.test(at) && privileges[privilege] !== undefined,
    );
  }
  return (held[path] ?? held['/'])?.[privilege] === true;
}

/** What the documents take: on a guest's own path, where an entry hides the one above; on nets. */
function missingByDesired(
  needs: readonly PrivilegeNeed[],
  { desired, held }: PrivilegeInput,
): readonly Missing[] {
  const found: Missing[] = [];
  const look = (privilege: string, path: string, at: string): void => {
    const all = [...needs, STARTUP_ORDER];
    const need = all.find((each) => each.privilege === privilege && at.startsWith(each.path));
    if (need === undefined || hasPrivilege(held, at, privilege)) return;
    found.push({ need: { ...need, path, isEssential: true }, at });
  };
  for (const guest of desired) {
    const at = `/vms/${guest.vmid}`;
    // Without an entry of its own it has what /vms passes on.
    const path = held[at] === undefined ? '/vms' : at;
    if (guest.power !== 'unmanaged') look('VM.PowerMgmt', path, at);
    for (const [key, value] of guest.config) {
      const kind = guest.kind ?? 'qemu';
      look(privilegeOfKey(kind, key), path, at);
      if (takesSysModify(kind, key)) look('Sys.Modify', '/', '/');
      const bridge = bridgePath(key, value ?? '');
      if (bridge !== null) look('SDN.Use', '/sdn/zones', bridge);
    }
  }
  return found;
}

function lacking(
  group: readonly Missing[],
  needs: readonly PrivilegeNeed[],
  tokenUser: string,
): Finding {
  const names = [...new Set(group.map(({ need }) => need.privilege))];
  const [first] = group;
  const path = first?.need.path ?? '/';
  const where = [...new Set(group.map(({ at }) => at))].slice(0, PATHS_SHOWN_MAX).join(', ');
  const purposes = [...new Set(group.map(({ need }) => need.purpose))].join('; ');
  const trouble = {
    message: `${tokenUser} lacks ${names.join(', ')} on ${where}`,
    means: purposes,
    fix: grantLine({ path, names, needs, tokenUser }),
  };
  const isError = group.some(({ need }) => need.isEssential);
  return isError ? failure('privileges', trouble) : warning('privileges', trouble);
}

function withoutAny({ config, tokenUser }: PrivilegeInput): Finding {
  const needs = privilegeNeeds(config);
  const names = needs.filter(({ path }) => path === '/vms').map(({ privilege }) => privilege);
  return failure('privileges', {
    message: `${tokenUser} holds no privilege at all: it lacks ${names.join(', ')} on /vms`,
    means:
      'a token with privilege separation holds only what both it and its user were given, and ' +
      'PVE shows it empty lists, not errors',
    fix: grantLine({ path: '/vms', names, needs, tokenUser }),
  });
}

/**
 * To user and token both: with privilege separation the token holds what both hold. A role of its
 * own is given all that the path needs, as a new entry hides what was passed on from above.
 */
function grantLine({
  path,
  names,
  needs,
  tokenUser,
}: {
  readonly path: string;
  readonly names: readonly string[];
  readonly needs: readonly PrivilegeNeed[];
  readonly tokenUser: string;
}): string {
  const [user = tokenUser] = tokenUser.split('!');
  const role = roleOf(path);
  const propagates = path === '/' || path.startsWith('/nodes') ? ' --propagate 0' : '';
  const acl = `pveum acl modify ${path} --users '${user}' --tokens '${tokenUser}' --roles ${role}${propagates}`;
  if (user === SETUP_USER) {
    return `pveum role modify ${role} --append 1 --privs '${names.join(' ')}' && ${acl}`;
  }
  const wanted = needs.filter((need) => roleOf(need.path) === role);
  const all = new Set([...wanted.map(({ privilege }) => privilege), ...names]);
  return `pveum role add ${role} --privs '${[...all].join(' ')}' && ${acl}`;
}

/** What no agent ever uses and what would hurt in the wrong hands. */
const NEVER_USED = [
  'Permissions.Modify',
  'User.Modify',
  'Realm.Allocate',
  'Sys.Console',
  'Sys.PowerMgmt',
  'VM.Allocate',
  'VM.Migrate',
  'VM.Snapshot.Rollback',
  'VM.Console',
  'Datastore.Allocate',
];

/** A token that may do far more than it needs: often one without privilege separation. */
export function scopeFindings({
  held,
  tokenUser,
}: Pick<PrivilegeInput, 'held' | 'tokenUser'>): readonly Finding[] {
  const [user = ''] = tokenUser.split('!');
  const everywhere = new Set(Object.values(held).flatMap((privileges) => Object.keys(privileges)));
  const excess = NEVER_USED.filter((privilege) => everywhere.has(privilege));
  const isRoot = user === 'root@pam';
  if (excess.length === 0 && !isRoot)
    return [ok('token_scope', 'the token is no wider than needed')];
  const what = excess.length === 0 ? "is root's own" : `may also ${excess.join(', ')}`;
  return [
    warning('token_scope', {
      message: `${tokenUser} ${what}`,
      means: isRoot
        ? "a token of root@pam can do nearly all that root can, and still not set root's own options"
        : 'who reads the token file can do far more than this agent needs',
      fix: '`pve-reconciler setup` makes a user and a token with privilege separation for it',
    }),
  ];
}
