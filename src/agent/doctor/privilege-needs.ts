/**
 * Which privileges an agent needs, from what its policy allows: setup grants exactly these, doctor
 * looks whether the token holds them. Pure.
 *
 * A role for each path, not one for all: a privilege means different things on different paths
 * (Sys.Modify on a node is far more than on `/` for a startup order), so each path gets its own.
 */
import { CONFIG_PRIVILEGES } from '../../proxmox/values/key-privileges.ts';
import type { OpKind } from '../../reconcile/op.ts';
import type { Config } from '../config/config.ts';

export interface PrivilegeNeed {
  readonly privilege: string;
  readonly path: string;
  /** Does it have to pass on to what is below `path`? */
  readonly propagates: boolean;
  /** What does not work without it. */
  readonly purpose: string;
  /** Without it nothing, or what is allowed, cannot be done; else something is only not seen. */
  readonly isEssential: boolean;
}

export type NeedsInput = Pick<Config, 'node' | 'policy' | 'signers'>;

/** The op kinds somebody may ask for under this configuration. */
export function allowedKinds({ policy, signers }: NeedsInput): ReadonlySet<OpKind> {
  const kinds = new Set<OpKind>();
  if (policy.unsigned !== 'none') for (const kind of DESIRED_KINDS) kinds.add(kind);
  if (policy.operator !== 'none') for (const kind of ['start', 'stop'] as const) kinds.add(kind);
  if (policy.operator === 'disruptive') kinds.add('restart');
  for (const signer of signers) for (const kind of signer.kinds) kinds.add(kind);
  return kinds;
}

const DESIRED_KINDS: readonly OpKind[] = ['start', 'stop', 'set_config'];

export function privilegeNeeds(input: NeedsInput): readonly PrivilegeNeed[] {
  const kinds = allowedKinds(input);
  const power = (['start', 'stop', 'restart'] as const).filter((kind) => kinds.has(kind));
  return [
    essential('VM.Audit', 'guests are not seen, so nothing at all is done'),
    ...(power.length > 0 ? [essential('VM.PowerMgmt', `${power.join(', ')} are refused`)] : []),
    ...(kinds.has('set_config') ? configNeeds() : []),
    seeing('Sys.Audit', `/nodes/${input.node}`, 'tasks of others and the clock are not seen'),
    seeing('Sys.Audit', '/', 'quorum and a disarmed or frozen HA manager are not seen'),
  ];
}

function configNeeds(): readonly PrivilegeNeed[] {
  return [
    ...CONFIG_PRIVILEGES.map((privilege) =>
      essential(privilege, 'set_config of such a key is refused, and of all others with it'),
    ),
    {
      privilege: 'SDN.Use',
      path: '/sdn/zones',
      propagates: true,
      purpose: "a change of a guest's net is refused",
      isEssential: false,
    },
  ];
}

/**
 * For the startup order of VMs alone. On `/` it also lets its holder change options of the whole
 * cluster, so it is needed only where a document has such a key, or setup is told to grant it.
 */
export const STARTUP_ORDER: PrivilegeNeed = {
  privilege: 'Sys.Modify',
  path: '/',
  propagates: false,
  purpose: "a change of a VM's startup order is refused",
  isEssential: true,
};

function essential(privilege: string, purpose: string): PrivilegeNeed {
  return { privilege, path: '/vms', propagates: true, purpose, isEssential: true };
}

function seeing(privilege: string, path: string, purpose: string): PrivilegeNeed {
  return { privilege, path, propagates: false, purpose, isEssential: false };
}

/** PVE keeps names that begin with PVE for its own roles. */
const ROLES: readonly (readonly [prefix: string, role: string])[] = [
  ['/vms', 'ReconcilerGuests'],
  ['/nodes', 'ReconcilerNode'],
  ['/sdn', 'ReconcilerNetwork'],
  ['/', 'ReconcilerCluster'],
];
/** Where doctor's lines grant what only some documents or ops take: setup never does. */
const OWN_GRANTS: typeof ROLES = [
  ['/storage', 'ReconcilerStorage'],
  ['/mapping', 'ReconcilerDevices'],
];
/**
 * A role is the same on every path that has it: what allocates on one storage would on all from
 * which an image was to be read.
 */
const IMAGES_ROLE = 'ReconcilerImages';

/** Every role setup makes. */
export const ROLE_NAMES: readonly string[] = ROLES.map(([, role]) => role);

/** Made by setup, or by a line of doctor's. */
export function isSetupRole(name: string): boolean {
  const known = [...[...ROLES, ...OWN_GRANTS].map(([, role]) => role), IMAGES_ROLE];
  return known.includes(name.replace(/(?<!\d)\d+$/, ''));
}

/**
 * A guest with an ACL entry of its own gets a role of its own too: the other one may be there.
 * `privileges`: what is granted, where that tells the role.
 */
export function roleOf(path: string, privileges: readonly string[] = []): string {
  const isOfImages = path.startsWith('/storage') && privileges.includes('Datastore.Audit');
  if (isOfImages) return IMAGES_ROLE;
  const guest = /^\/vms\/(\d+)$/.exec(path)?.[1] ?? '';
  const [, role] = [...OWN_GRANTS, ...ROLES].find(([prefix]) => path.startsWith(prefix)) ?? [];
  return `${role ?? 'Reconciler'}${guest}`;
}
