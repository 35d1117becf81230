/**
 * Who asks, and what they may. A token of root@pam is not root (PVE-FACTS 8): `isRoot` is only true
 * for root@pam itself, which no token reaches over the wire, but "somebody" of the control port may
 * be.
 */
import { permissionError } from './api-error.ts';

/** Privileges by ACL path; each propagates to everything below it. */
type Acl = ReadonlyMap<string, ReadonlySet<string>>;

export interface Principal {
  /** `root@pam` */
  readonly user: string;
  readonly tokenId: string | null;
  readonly isRoot: boolean;
  readonly acl: Acl;
}

/** `root@pam!lab`, or `root@pam` without a token. */
export function fullName(principal: Principal): string {
  return principal.tokenId === null ? principal.user : `${principal.user}!${principal.tokenId}`;
}

function isBelow(path: string, root: string): boolean {
  return root === '/' || path === root || path.startsWith(`${root}/`);
}

/** What holds at one path, after propagation; the most specific entry wins. */
export function privilegesAt(principal: Principal, path: string): ReadonlySet<string> {
  if (principal.isRoot) return ALL_PRIVILEGES;
  let best: string | null = null;
  for (const root of principal.acl.keys()) {
    if (isBelow(path, root) && (best === null || root.length > best.length)) best = root;
  }
  return (best === null ? undefined : principal.acl.get(best)) ?? NONE;
}

export function hasPrivilege(principal: Principal, path: string, privilege: string): boolean {
  return privilegesAt(principal, path).has(privilege);
}

export function requirePrivilege(principal: Principal, path: string, privilege: string): void {
  if (!hasPrivilege(principal, path, privilege)) throw permissionError(path, privilege);
}

const NONE: ReadonlySet<string> = new Set();

/** What the role Administrator holds (transcript access_permissions). */
export const ALL_PRIVILEGES: ReadonlySet<string> = new Set(
  (
    'Datastore.Allocate Datastore.AllocateSpace Datastore.AllocateTemplate Datastore.Audit ' +
    'Group.Allocate Mapping.Audit Mapping.Modify Mapping.Use Permissions.Modify Pool.Allocate ' +
    'Pool.Audit Realm.Allocate Realm.AllocateUser SDN.Allocate SDN.Audit SDN.Use ' +
    'Sys.AccessNetwork Sys.Audit Sys.Console Sys.Incoming Sys.Modify Sys.PowerMgmt Sys.Syslog ' +
    'User.Modify VM.Allocate VM.Audit VM.Backup VM.Clone VM.Config.CDROM VM.Config.CPU ' +
    'VM.Config.Cloudinit VM.Config.Disk VM.Config.HWType VM.Config.Memory VM.Config.Network ' +
    'VM.Config.Options VM.Console VM.GuestAgent.Audit VM.GuestAgent.FileRead ' +
    'VM.GuestAgent.FileSystemMgmt VM.GuestAgent.FileWrite VM.GuestAgent.Unrestricted VM.Migrate ' +
    'VM.PowerMgmt VM.Replicate VM.Snapshot VM.Snapshot.Rollback'
  ).split(' '),
);

/** VM.Audit, VM.PowerMgmt and every VM.Config.*: the recorded restricted token. */
export const AGENT_PRIVILEGES: ReadonlySet<string> = new Set(
  [...ALL_PRIVILEGES].filter(
    (name) => name === 'VM.Audit' || name === 'VM.PowerMgmt' || name.startsWith('VM.Config.'),
  ),
);

/** root@pam itself: what the HA manager, startall and "somebody" act as. */
export const ROOT: Principal = { user: 'root@pam', tokenId: null, isRoot: true, acl: new Map() };
