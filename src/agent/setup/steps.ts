/**
 * What setup has to do, as data: from what is wanted and what is there to the commands and files
 * that are missing. Pure, so `--print` shows just what would be run, and a second run does nothing.
 */
import { type PrivilegeNeed, ROLE_NAMES, roleOf } from '../privilege-needs.ts';
import { SETUP_USER, tokenIdOf } from './names.ts';
import type { Argv, Found } from './pve-tools.ts';

export type Step =
  | { readonly kind: 'command'; readonly argv: Argv }
  /** Prints the token's secret, which goes into the token file. */
  | { readonly kind: 'token'; readonly argv: Argv };

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
    ...roles.flatMap((role) => roleSteps(role, found)),
    ...(found.hasUser ? [] : [command('pveum', 'user', 'add', SETUP_USER, '--comment', COMMENT)]),
    // Its secret is shown once: where the file was lost, or never written, there is a new token.
    ...(hasToken && !hasTokenFile
      ? [command('pveum', 'user', 'token', 'remove', SETUP_USER, tokenId)]
      : []),
    ...(hasToken && hasTokenFile ? [] : [tokenStep(tokenId)]),
    ...roles.flatMap((role) => aclSteps(role, tokenId, found, hasToken && hasTokenFile)),
  ];
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

function roleSteps({ name, privileges }: Role, found: Found): readonly Step[] {
  const held = found.roles.get(name);
  const isExact =
    held !== undefined &&
    privileges.every((privilege) => held.has(privilege)) &&
    held.size === privileges.length;
  if (isExact) return [];
  const verb = held === undefined ? 'add' : 'modify';
  return [command('pveum', 'role', verb, name, '--privs', privileges.join(' '))];
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

/** The other way round. User and roles stay while another node's agent has a token of theirs. */
export function removalSteps(node: string, found: Found): readonly Step[] {
  const tokenId = tokenIdOf(node);
  const others = [...found.tokenIds].filter((id) => id !== tokenId);
  const token = found.tokenIds.has(tokenId)
    ? [command('pveum', 'user', 'token', 'remove', SETUP_USER, tokenId)]
    : [];
  if (others.length > 0) return token;
  return [
    ...token,
    ...(found.hasUser ? [command('pveum', 'user', 'delete', SETUP_USER)] : []),
    ...ROLE_NAMES.filter((name) => found.roles.has(name)).map((name) =>
      command('pveum', 'role', 'delete', name),
    ),
  ];
}

/** As it may be pasted into a shell. */
export function shellLine(argv: Argv): string {
  return argv.map((word) => (/^[\w@!%+=:,./-]+$/.test(word) ? word : quote(word))).join(' ');
}

function quote(word: string): string {
  return `'${word.replaceAll("'", `'\\''`)}'`;
}
