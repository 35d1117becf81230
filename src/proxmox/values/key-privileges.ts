/**
 * Which privilege a change of a config key takes (PVE-FACTS 8, 9; transcripts restricted_token_ops,
 * config_option_kinds, lxc_config). Facts only; the same names hold on PVE 8 and 9: neither
 * VM.Monitor, which PVE 9 took away, nor VM.GuestAgent.*, which it brought, is ever needed.
 */
import type { GuestKind } from '../../reconcile/guest.ts';
import { findOption } from './options.ts';
import { readMeaning } from './value-meaning.ts';

/** Every VM.Config.* there is. */
export const CONFIG_PRIVILEGES = [
  'VM.Config.CDROM',
  'VM.Config.CPU',
  'VM.Config.Cloudinit',
  'VM.Config.Disk',
  'VM.Config.HWType',
  'VM.Config.Memory',
  'VM.Config.Network',
  'VM.Config.Options',
] as const;
export type ConfigPrivilege = (typeof CONFIG_PRIVILEGES)[number];

const FAMILIES: Readonly<Partial<Record<ConfigPrivilege, string>>> = {
  'VM.Config.CPU': 'cores cpu cpulimit cpuunits numa smp sockets vcpus',
  'VM.Config.Memory': 'memory balloon shares swap',
  'VM.Config.HWType':
    'acpi hotplug kvm machine scsihw smbios1 tablet vga watchdog audio0 rng0 serial usb hostpci',
  'VM.Config.Disk':
    'ide sata scsi virtio boot bootdisk unused efidisk0 tpmstate0 vmstatestorage rootfs mp',
  'VM.Config.CDROM': 'cdrom',
  'VM.Config.Network': 'net hostname',
  'VM.Config.Cloudinit': 'cicustom cipassword citype ciupgrade ciuser sshkeys ipconfig',
};

const PRIVILEGE_OF: ReadonlyMap<string, ConfigPrivilege> = new Map(
  CONFIG_PRIVILEGES.flatMap((privilege) =>
    (FAMILIES[privilege] ?? '').split(' ').map((family) => [family, privilege] as const),
  ),
);

/** On the guest itself, `/vms/VMID`. An unknown key takes what most take. */
export function privilegeOfKey(kind: GuestKind, key: string): ConfigPrivilege {
  const family = findOption(kind, key)?.family ?? key;
  if (family === 'nameserver' || family === 'searchdomain') {
    return kind === 'qemu' ? 'VM.Config.Cloudinit' : 'VM.Config.Network';
  }
  return PRIVILEGE_OF.get(family) ?? 'VM.Config.Options';
}

export interface PathPrivilege {
  readonly path: string;
  /** Any of them will do; the first is the least. */
  readonly anyOf: readonly [string, ...string[]];
}

/** What writing this value takes besides, off the guest's own path (PVE-FACTS 9, 51). */
export function privilegeOfValue(
  kind: GuestKind,
  key: string,
  value: string | null,
): PathPrivilege | null {
  if (kind === 'qemu' && key === 'startup') return { path: '/', anyOf: ['Sys.Modify'] };
  const family = findOption(kind, key)?.family;
  const meaning = readMeaning(kind, key, value);
  if (family === undefined || meaning.kind !== 'properties') return null;
  const of = (property: string): string | undefined => meaning.written.get(property);
  if (family === 'net') return bridgePrivilege(of('bridge'), of('tag'));
  if (kind === 'lxc') return null;
  const mapping = MAPPINGS.get(family);
  if (mapping !== undefined) {
    const id = of(mapping.property);
    return id === undefined ? null : { path: `${mapping.path}/${id}`, anyOf: ['Mapping.Use'] };
  }
  const storage = /^([a-z][\w.-]*):iso\//i.exec(of('file') ?? '')?.[1];
  if (storage === undefined) return null;
  return { path: `/storage/${storage}`, anyOf: ['Datastore.Audit', 'Datastore.AllocateSpace'] };
}

const MAPPINGS: ReadonlyMap<string, { readonly path: string; readonly property: string }> = new Map(
  [
    ['usb', { path: '/mapping/usb', property: 'mapping' }],
    ['hostpci', { path: '/mapping/pci', property: 'mapping' }],
    ['virtiofs', { path: '/mapping/dir', property: 'dirid' }],
  ],
);

function bridgePrivilege(
  bridge: string | undefined,
  tag: string | undefined,
): PathPrivilege | null {
  if (bridge === undefined) return null;
  const zone = `/sdn/zones/localnetwork/${bridge}`;
  return { path: tag === undefined ? zone : `${zone}/${tag}`, anyOf: ['SDN.Use'] };
}
