/**
 * Which privilege a change of a config key takes (PVE-FACTS 8, 9; transcripts restricted_token_ops,
 * config_option_kinds, lxc_config). Facts only; the same names hold on PVE 8 and 9: neither
 * VM.Monitor, which PVE 9 took away, nor VM.GuestAgent.*, which it brought, is ever needed.
 */
import type { GuestKind } from '../../reconcile/guest.ts';
import { findOption } from './options.ts';

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

/** Startup order of a VM takes Sys.Modify on `/` besides; that of a container does not. */
export function takesSysModify(kind: GuestKind, key: string): boolean {
  return kind === 'qemu' && key === 'startup';
}

/** Where SDN.Use is needed to change this net; null: it is no net, or names no bridge. */
export function bridgePath(key: string, value: string): string | null {
  if (!/^net\d+$/.test(key)) return null;
  const bridge = /(?:^|,)bridge=([^,]+)/.exec(value)?.[1];
  if (bridge === undefined) return null;
  const tag = /(?:^|,)tag=(\d+)/.exec(value)?.[1];
  return `/sdn/zones/localnetwork/${bridge}${tag === undefined ? '' : `/${tag}`}`;
}
