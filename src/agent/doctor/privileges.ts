/**
 * Does the token hold what the policy takes, and not far more? From what PVE itself says the real
 * token may do (/access/permissions); each finding ends in the one line that mends it. Pure.
 */

import { hasPrivilege, type Permissions, seesGuests } from '../../proxmox/permissions.ts';
import { type DocumentInput, documentNeeds, type Missing } from './document-needs.ts';
import { type Finding, failure, ok, warning } from './finding.ts';
import { type PrivilegeNeed, privilegeNeeds, roleOf } from './privilege-needs.ts';

export interface PrivilegeInput extends DocumentInput {
  /** `user@realm!tokenid` */
  readonly tokenUser: string;
}

/** More than these help nobody. */
const PATHS_SHOWN_MAX = 5;

export function privilegeFindings(input: PrivilegeInput): readonly Finding[] {
  const { config, held, tokenUser } = input;
  if (Object.keys(held).length === 0) return [withoutAny(input)];
  const needs = privilegeNeeds(config);
  const documents = documentNeeds(input);
  const missing = new Map<string, Missing>();
  for (const each of [...missingByPolicy(needs, held), ...documents.missing]) {
    const { privilege, path, isEssential } = each.need;
    const name = `${privilege} ${path}`;
    if (isEssential || !missing.has(name)) missing.set(name, each);
  }
  const groups = Map.groupBy(missing.values(), ({ need }) => need.path);
  const findings = [
    ...[...groups.values()].map((group) => lacking(group, needs, tokenUser)),
    ...hiddenFindings(input),
    ...storageFindings(input),
  ];
  const fine = `${tokenUser} holds the ${needs.length} privileges the policy needs`;
  return [
    ...(findings.length > 0 ? findings : [ok('privileges', fine)]),
    ...documents.notes.map((note) => ok('privileges', note)),
  ];
}

function missingByPolicy(needs: readonly PrivilegeNeed[], held: Permissions): readonly Missing[] {
  return needs.flatMap((need) => (isHeld(need, held) ? [] : [{ need, at: need.path }]));
}

function isHeld({ privilege, path, propagates }: PrivilegeNeed, held: Permissions): boolean {
  if (privilege === 'VM.Audit') return seesGuests(held).kind === 'complete';
  if (!propagates) return hasPrivilege(held, path, privilege);
  // A bridge or a zone below will do as well: what a desired net takes is looked at by itself.
  if (path === '/sdn/zones') return isHeldBelow('/sdn', privilege, held);
  return (held[path] ?? held['/'])?.[privilege] === true;
}

/** On that path, or anywhere below it. */
function isHeldBelow(root: string, privilege: string, held: Permissions): boolean {
  return (
    hasPrivilege(held, root, privilege) ||
    Object.entries(held).some(
      ([path, privileges]) => path.startsWith(`${root}/`) && privileges[privilege] !== undefined,
    )
  );
}

/** An entry of its own hides it, or one of its pool; what else it lacks then does not matter. */
function hiddenFindings({ actual, tokenUser }: PrivilegeInput): readonly Finding[] {
  const hidden = [...actual.unseen].filter(([, { code }]) => code === 'forbidden');
  return hidden.map(([vmid]) =>
    failure('privileges', {
      message: `${tokenUser} lacks VM.Audit on /vms/${vmid}`,
      means: `guest ${vmid} is desired and hidden from the token: nothing is known of it, nothing done`,
      fix:
        `\`pveum acl list\` shows what hides it, \`NoAccess\` on /vms/${vmid} or on a pool: ` +
        'take that away, or the guest out of the document',
    }),
  );
}

/** Only signed ops allocate, and only with signatures enough. */
function storageFindings({ config, held, tokenUser }: PrivilegeInput): readonly Finding[] {
  const privilege = 'Datastore.AllocateSpace';
  const able = config.signers.filter(({ kinds }) => kinds.has('set_config'));
  const isPossible = able.length >= config.policy.irreversibleSignatures;
  if (!isPossible || isHeldBelow('/storage', privilege, held)) return [];
  const grant = grantLine({ path: '/storage/STORAGE', names: [privilege], needs: [], tokenUser });
  return [
    warning('privileges', {
      message: `${tokenUser} lacks ${privilege} on every storage`,
      means: 'a signed op that allocates a volume (`scsi1: STORAGE:8`) is refused by PVE',
      fix: `if such ops are wanted, for each storage they may use: ${grant}`,
    }),
  ];
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
 * To user and token both: with privilege separation the token holds what both hold. The role is
 * given all that the path needs, as a new entry hides what was passed on from above, and may be
 * there already.
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
  const role = roleOf(path, names);
  const onPath = needs.filter((need) => role.startsWith(roleOf(need.path)));
  const all = new Set([...onPath.map(({ privilege }) => privilege), ...names]);
  const privileges = `--privs '${[...all].join(' ')}'`;
  const propagates = path === '/' || path.startsWith('/nodes') ? ' --propagate 0' : '';
  return (
    `(pveum role add ${role} ${privileges} || pveum role modify ${role} --append 1 ${privileges}) && ` +
    `pveum acl modify ${path} --users '${user}' --tokens '${tokenUser}' --roles ${role}${propagates}`
  );
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
