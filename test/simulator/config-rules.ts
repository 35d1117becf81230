/**
 * Per option: which privilege a change needs, what only root may set, and what takes effect in a
 * running guest. Facts of PVE-FACTS 8, 9, 23 and of the transcripts put_bad_params,
 * restricted_token_ops, put_config_running_pending, lxc_config and config_option_kinds.
 */
import { forbidden, internalError, parameterError } from './api-error.ts';
import type { Guest, GuestKind } from './guest.ts';
import { hasPrivilege, type Principal, requirePrivilege } from './principal.ts';
import { propertyOf } from './property-string.ts';

/** `net0` → `net`, `cores` → `cores`; `rng0`, `audio0` and the like are single options. */
export function optionBase(key: string): string {
  const base =
    /^(net|ide|sata|scsi|virtio|usb|hostpci|serial|parallel|unused|ipconfig|numa|mp|dev)\d+$/;
  return base.exec(key)?.[1] ?? key;
}

const GROUPS: Readonly<Record<string, string>> = {
  'VM.Config.CPU': 'cores cpu cpulimit cpuunits numa smp sockets vcpus',
  'VM.Config.Memory': 'memory balloon shares swap',
  'VM.Config.HWType':
    'acpi hotplug kvm machine scsihw smbios1 tablet vga watchdog audio0 rng0 serial usb freeze',
  'VM.Config.Disk':
    'ide sata scsi virtio boot bootdisk unused efidisk0 tpmstate0 vmstatestorage rootfs mp',
  'VM.Config.CDROM': 'cdrom',
  'VM.Config.Network': 'net hostname',
  'VM.Config.Cloudinit': 'cicustom cipassword citype ciupgrade ciuser sshkeys ipconfig',
};

const PRIVILEGE_OF = new Map(
  Object.entries(GROUPS).flatMap(([privilege, keys]) =>
    keys.split(' ').map((key) => [key, privilege] as const),
  ),
);

const ROOT_ONLY = new Set(
  (
    'args affinity arch vmgenid lock hugepages keephugepages ivshmem parallel spice_enhancements ' +
    'amd-sev intel-tdx'
  ).split(' '),
);

interface Change {
  readonly guest: Guest;
  readonly key: string;
  /** null: the option is deleted. */
  readonly value: string | null;
}

/** Throws what PVE says when this user may not change this option. */
export function authorizeChange(principal: Principal, change: Change): void {
  if (change.guest.kind === 'qemu') authorizeQemu(principal, change);
  else authorizeLxc(principal, change);
}

function authorizeQemu(principal: Principal, change: Change): void {
  const { key, guest } = change;
  const base = optionBase(key);
  const path = `/vms/${guest.vmid}`;
  if (ROOT_ONLY.has(base) && !principal.isRoot) {
    throw internalError(`only root can set '${key}' config`);
  }
  if (!principal.isRoot) refuseRealDevices(change);
  if (base === 'startup') requirePrivilege(principal, '/', 'Sys.Modify');
  if (base === 'nameserver' || base === 'searchdomain') {
    requirePrivilege(principal, path, 'VM.Config.Cloudinit');
  } else if (isCdrom(change)) {
    requirePrivilege(principal, path, 'VM.Config.CDROM');
  } else {
    requirePrivilege(principal, path, PRIVILEGE_OF.get(base) ?? 'VM.Config.Options');
  }
  if (base === 'net') requireBridges(principal, change);
}

function isCdrom(change: Change): boolean {
  const value = change.value ?? change.guest.config.current.get(change.key) ?? '';
  return propertyOf(value, 'media') === 'cdrom';
}

function refuseRealDevices(change: Change): void {
  const { key } = change;
  const base = optionBase(key);
  const value = change.value ?? change.guest.config.current.get(key) ?? '';
  if (base === 'hostpci' && propertyOf(value, 'mapping') === null && value !== '') {
    throw internalError(`only root can set '${key}' config for non-mapped devices`);
  }
  if (base === 'usb' && propertyOf(value, 'mapping') === null && !/(?:^|=)spice/.test(value)) {
    throw internalError(`only root can set '${key}' config for real devices`);
  }
  if (base === 'serial' && value.startsWith('/dev/')) {
    throw internalError(`only root can modify '${key}' config for real devices`);
  }
}

function bridgePath(net: string): string | null {
  const bridge = propertyOf(net, 'bridge');
  if (bridge === null) return null;
  const tag = propertyOf(net, 'tag');
  return `/sdn/zones/localnetwork/${bridge}${tag === null ? '' : `/${tag}`}`;
}

/** A net that is changed or deleted needs the bridge it had and the one it gets. */
function requireBridges(principal: Principal, change: Change): void {
  for (const net of [change.value, change.guest.config.current.get(change.key)]) {
    const path = net === undefined || net === null ? null : bridgePath(net);
    if (path !== null) requirePrivilege(principal, path, 'SDN.Use');
  }
}

function authorizeLxc(principal: Principal, change: Change): void {
  const { key, value, guest } = change;
  const base = optionBase(key);
  const path = `/vms/${guest.vmid}`;
  if (!principal.isRoot) refuseLxcRootOptions(change);
  if (base === 'unprivileged' && value !== null) {
    throw internalError("unable to modify read-only option: 'unprivileged'");
  }
  const privilege =
    base === 'nameserver' || base === 'searchdomain'
      ? 'VM.Config.Network'
      : (PRIVILEGE_OF.get(base) ?? 'VM.Config.Options');
  requirePrivilege(principal, path, privilege);
  if (base === 'net') requireBridges(principal, change);
}

function refuseLxcRootOptions(change: Change): void {
  const { value, guest } = change;
  const base = optionBase(change.key);
  if (base === 'features' && guest.config.current.get('unprivileged') !== '1') {
    const what = 'changing feature flags for privileged container';
    throw forbidden(`${what} is only allowed for root@pam`);
  }
  if (base === 'dev') {
    throw forbidden('configuring device passthrough is only allowed for root@pam');
  }
  if (base === 'hookscript') {
    throw forbidden('changing the hookscript is only allowed for root@pam');
  }
  if (base === 'mp' && value?.startsWith('/') === true) {
    throw forbidden('mount point type bind is only allowed for root@pam');
  }
}

/** Scripts and storages that would have to be there: only the storage `local` exists. */
export function requireReferences(principal: Principal, change: Change): void {
  const { key, value } = change;
  if (value === null) return;
  if (key === 'hookscript') {
    throw parameterError({ hookscript: `script '${value}' does not exist\n` });
  }
  if (key === 'boot') requireBootDevices(change.guest, value);
  if (key === 'rootfs') {
    const file = /^local:\d+\/(.*)$/.exec(value.split(',')[0] ?? '')?.[1] ?? '';
    if (!file.includes('.')) throw internalError(`unable to parse volume filename '${file}'`);
  }
  if (!isVolumeOption(key)) return;
  const storage = /^([a-z][\w.-]*):/i.exec(value.replace(/^(?:file|volume)=/, ''))?.[1];
  if (storage === undefined) return;
  if (storage !== 'local') throw internalError(`storage '${storage}' does not exist`);
  if (/^local:\d+(?:\.\d+)?(?:,|$)/.test(value) && !principal.isRoot) {
    const path = '/storage/local';
    if (!hasPrivilege(principal, path, 'Datastore.AllocateSpace')) {
      throw forbidden(`${path}, Datastore.AllocateSpace`);
    }
  }
}

export function isVolumeOption(key: string): boolean {
  return /^(?:ide|sata|scsi|virtio|mp|efidisk|tpmstate)\d+$/.test(key);
}

function requireBootDevices(guest: Guest, value: string): void {
  const order = propertyOf(value, 'order');
  for (const device of order?.split(';') ?? []) {
    if (!guest.config.current.has(device) && !guest.config.pending.has(device)) {
      // The stray quote at the end is PVE's.
      throw internalError(`invalid bootorder: device '${device}' does not exist'`);
    }
  }
}

const LIVE_QEMU = new Set(
  (
    'name onboot shares startup description protection tags vmstatestorage hookscript lock ' +
    'balloon migrate_downtime migrate_speed autostart cpulimit cpuunits net scsi virtio usb ' +
    'unused template cicustom cipassword citype ciupgrade ciuser sshkeys ipconfig nameserver ' +
    'searchdomain'
  ).split(' '),
);

const LIVE_LXC = new Set(
  (
    'description onboot startup protection hostname hookscript cores tags lock memory swap ' +
    'cpulimit cpuunits net nameserver searchdomain mp unused template'
  ).split(' '),
);

/** true: a running guest takes the change at once; else it waits as pending. */
export function isLive(kind: GuestKind, key: string): boolean {
  return (kind === 'qemu' ? LIVE_QEMU : LIVE_LXC).has(optionBase(key));
}
