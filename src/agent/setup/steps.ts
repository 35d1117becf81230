/**
 * What setup has to do, as data: from what is wanted and what is there to the commands and files
 * that are missing. Pure, so `--print` shows just what would be run, and a second run does nothing.
 */
import {
  isSetupRole,
  type PrivilegeNeed,
  ROLE_NAMES,
  roleOf,
  STARTUP_ORDER,
} from '../doctor/privilege-needs.ts';
import { SETUP_USER, tokenIdOf } from './names.ts';
import type { AclEntry, Argv, Found } from './pve-tools.ts';

export interface Step {
  /** `token` prints the token's secret, which goes into the token file. */
  readonly kind: 'command' | 'token';
  readonly argv: Argv;
  /** For people: what it takes away that somebody may have granted on purpose. */
  readonly note?: string;
}

const COMMENT = 'pve-reconciler: keeps guests in their desired state';

interface Role {
  readonly path: string;
  readonly name: string;
  readonly privileges: readonly string[];
  readonly propagates: boolean;
}

/** One for each path, with exactly what is needed there. */
function rolesOf(needs: readonly PrivilegeNeed[]): readonly Role[] {
  const byPath = Map.groupBy(needs, ({ path }) => path);
  return [...byPath].map(([path, there]) => ({
    path,
    name: roleOf(path),
    privileges: [...new Set(there.map(({ privilege }) => privilege))].sort(),
    propagates: there.some(({ propagates }) => propagates),
  }));
}

export function setupSteps(
  { node, needs }: { readonly node: string; readonly needs: readonly PrivilegeNeed[] },
  found: Found,
  { hasTokenFile }: { readonly hasTokenFile: boolean },
): readonly Step[] {
  const roles = rolesOf(needs);
  const tokenId = tokenIdOf(node);
  const hasToken = found.tokenIds.has(tokenId);
  return [
    ...roles.flatMap((role) => roleSteps(role, found, isShared(tokenId, found))),
    ...(found.hasUser ? [] : [command('pveum', 'user', 'add', SETUP_USER, '--comment', COMMENT)]),
    // Its secret is shown once: where the file was lost, or never written, there is a new token.
    ...(hasToken && !hasTokenFile
      ? [command('pveum', 'user', 'token', 'remove', SETUP_USER, tokenId)]
      : []),
    ...(hasToken && hasTokenFile ? [] : [tokenStep(tokenId)]),
    ...roles.flatMap((role) => aclSteps(role, tokenId, found, hasToken && hasTokenFile)),
    ...retireSteps(roles, tokenId, found),
  ];
}

/** User and roles are the cluster's: does another node's agent stand on them too? */
function isShared(tokenId: string, { tokenIds }: Found): boolean {
  return [...tokenIds].some((id) => id !== tokenId);
}

function command(...argv: Argv): Step {
  return { kind: 'command', argv };
}

function tokenStep(tokenId: string): Step {
  return {
    kind: 'token',
    argv: ['pveum', 'user', 'token', 'add', SETUP_USER, tokenId, '--privsep', '1'],
  };
}

/** What is shared only grows: the policy of another node may need what this one's does not. */
function roleSteps({ name, privileges }: Role, found: Found, isShared: boolean): readonly Step[] {
  const held = found.roles.get(name);
  if (held === undefined) return [roleCommand('add', name, privileges)];
  const missing = privileges.filter((privilege) => !held.has(privilege));
  if (isShared) {
    return missing.length === 0 ? [] : [roleCommand('modify', name, missing, '--append', '1')];
  }
  const isExact = missing.length === 0 && held.size === privileges.length;
  if (isExact) return [];
  const lost = [...held].filter((privilege) => !privileges.includes(privilege));
  const modify = roleCommand('modify', name, privileges);
  return [lost.length === 0 ? modify : { ...modify, note: lossText(name, lost) }];
}

function lossText(name: string, lost: readonly string[]): string {
  const how = lost.includes(STARTUP_ORDER.privilege) ? '; `--startup-order` keeps Sys.Modify' : '';
  return `${name} loses ${lost.join(', ')}, which the policy does not need${how}`;
}

function roleCommand(
  verb: 'add' | 'modify',
  name: string,
  privileges: readonly string[],
  ...more: string[]
): Step {
  return command('pveum', 'role', verb, name, '--privs', privileges.join(' '), ...more);
}

/** For user and token both: with privilege separation a token holds what both hold. */
function aclSteps(
  { path, name, propagates }: Role,
  tokenId: string,
  { acls }: Found,
  isTokenKept: boolean,
): readonly Step[] {
  const token = `${SETUP_USER}!${tokenId}`;
  const has = (ugid: string): boolean =>
    acls.some(
      (acl) =>
        acl.path === path &&
        acl.ugid === ugid &&
        acl.roleid === name &&
        acl.propagate === Number(propagates),
    );
  if (isTokenKept && has(SETUP_USER) && has(token)) return [];
  const who = ['--users', SETUP_USER, '--tokens', token];
  const how = ['--roles', name, '--propagate', propagates ? '1' : '0'];
  return [command('pveum', 'acl', 'modify', path, ...who, ...how)];
}

/** What an earlier policy needed and this one does not is taken back. */
function retireSteps(wanted: readonly Role[], tokenId: string, found: Found): readonly Step[] {
  const names = ROLE_NAMES.filter(
    (name) => found.roles.has(name) && wanted.every((role) => role.name !== name),
  );
  const token = `${SETUP_USER}!${tokenId}`;
  const isOthers = isShared(tokenId, found);
  return names.flatMap((name) => {
    const entries = found.acls.filter(({ roleid }) => roleid === name);
    const own = entries.filter(({ ugid }) => ugid === token || (!isOthers && ugid === SETUP_USER));
    const withdrawn = own.map(withdraw);
    return isOthers ? withdrawn : [...withdrawn, command('pveum', 'role', 'delete', name)];
  });
}

function withdraw({ path, ugid, roleid }: AclEntry): Step {
  const who = ugid.includes('!') ? '--tokens' : '--users';
  return command('pveum', 'acl', 'delete', path, who, ugid, '--roles', roleid);
}

/** The other way round. User and roles stay while another node's agent has a token of theirs. */
export function removalSteps(node: string, found: Found): readonly Step[] {
  const tokenId = tokenIdOf(node);
  const token = found.tokenIds.has(tokenId)
    ? [command('pveum', 'user', 'token', 'remove', SETUP_USER, tokenId)]
    : [];
  if (isShared(tokenId, found)) {
    const own = found.acls.filter(
      ({ path, ugid }) => path === `/nodes/${node}` && ugid === SETUP_USER,
    );
    return [...token, ...own.map(withdraw)];
  }
  return [
    ...token,
    ...(found.hasUser ? [command('pveum', 'user', 'delete', SETUP_USER)] : []),
    ...[...found.roles.keys()]
      .filter(isSetupRole)
      .map((name) => command('pveum', 'role', 'delete', name)),
  ];
}

/** As it may be pasted into a shell: an interactive one takes a bare `!` for its history. */
export function shellLine(argv: Argv): string {
  return argv.map((word) => (/^[\w@%+=:,./-]+$/.test(word) ? word : quote(word))).join(' ');
}

function quote(word: string): string {
  return `'${word.replaceAll("'", `'\\''`)}'`;
}
