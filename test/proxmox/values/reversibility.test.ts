/** What takes a signature: the class of every option and form. */
import { expect, test } from 'vitest';
import { findOption, optionNames } from '../../../src/proxmox/values/options.ts';
import { classifyChange } from '../../../src/proxmox/values/reversibility.ts';
import type { GuestKind } from '../../../src/reconcile/guest.ts';
import type { Reversibility } from '../../../src/reconcile/op.ts';

type Case = readonly [kind: GuestKind, key: string, from: string | null, to: string | null];

const DISK = 'local-lvm:vm-101-disk-0,size=32G';

const irreversible: readonly (readonly [string, ...Case])[] = [
  ['allocates a disk', 'qemu', 'scsi1', null, 'local-lvm:32'],
  ['allocates a disk in place of one', 'qemu', 'scsi0', DISK, 'local-lvm:32'],
  ['allocates a mount point', 'lxc', 'mp0', null, 'local-lvm:8,mp=/data'],
  ['allocates a cloud-init drive', 'qemu', 'ide2', null, 'local-lvm:cloudinit'],
  ['imports an image', 'qemu', 'scsi1', null, 'local-lvm:0,import-from=local:import/a.qcow2'],
  ['allocates an EFI disk', 'qemu', 'efidisk0', null, 'local-lvm:1,efitype=4m'],
  ['allocates a TPM state', 'qemu', 'tpmstate0', null, 'local-lvm:1,version=v2.0'],
  ['detaches a disk', 'qemu', 'scsi0', DISK, null],
  ['detaches a mount point', 'lxc', 'mp0', 'l:subvol-1-disk-1,mp=/data,size=8G', null],
  ['puts another disk in its place', 'qemu', 'scsi0', DISK, 'local-lvm:vm-101-disk-1'],
  ['attaches a disk, which can only be detached again', 'qemu', 'scsi1', null, DISK],
  ['another root file system', 'lxc', 'rootfs', 'l:subvol-1-disk-0', 'l:subvol-1-disk-1'],
  ['destroys a volume', 'qemu', 'unused0', 'local-lvm:vm-101-disk-9', null],
  ['names a volume as unused', 'lxc', 'unused0', null, 'local-lvm:vm-101-disk-9'],
  ['destroys the cloud-init drive', 'qemu', 'ide2', 'l:vm-101-cloudinit,media=cdrom', null],
  ['throws away what the guest writes', 'qemu', 'scsi0', DISK, `${DISK},snapshot=1`],
  ['reads other bytes as the disk', 'qemu', 'scsi0', DISK, `${DISK},format=raw`],
  ['makes a disc of a disk', 'qemu', 'scsi0', DISK, `${DISK},media=cdrom`],
  ['a drive that cannot be parsed', 'qemu', 'scsi0', 'a,b', 'a,c'],
  ['a device of the host as a disk', 'qemu', 'scsi1', null, '/dev/sdb'],
  ['the same in a container', 'lxc', 'mp1', null, '/dev/sdb,mp=/data'],
  ['generates an id anew', 'qemu', 'vmgenid', '46ea62c2-2a63-42b0-837c-f80d2064d6f1', '1'],
  ['makes a template of it', 'qemu', 'template', null, '1'],
  ['locks it', 'lxc', 'lock', null, 'backup'],
  ['writes ide2, whatever is in it', 'qemu', 'cdrom', null, 'none,media=cdrom'],
  ['an option of another PVE', 'qemu', 'fancy', null, '1'],
  ['a parameter that is no option', 'qemu', 'skiplock', null, '1'],
  ['an option of the other kind', 'lxc', 'scsi0', null, 'none,media=cdrom'],
];

test.each(irreversible)('irreversible: %s', (_, kind, key, from, to) => {
  expect(classifyChange({ kind, key, from, to })).toBe('irreversible');
});

const benign: readonly (readonly [string, ...Case])[] = [
  ['a number', 'qemu', 'cores', '2', '4'],
  ['unsetting it', 'qemu', 'balloon', '512', null],
  ['a net', 'qemu', 'net0', 'virtio=BC:24:11:00:00:01,bridge=vmbr0', null],
  ['another bridge', 'lxc', 'net0', 'name=eth0,bridge=vmbr0', 'name=eth0,bridge=vmbr1'],
  ['options of a disk', 'qemu', 'scsi0', DISK, `${DISK},cache=none,discard=on,iops=500`],
  ['limits of a disk', 'qemu', 'scsi0', `${DISK},mbps=10`, DISK],
  ['options of a mount point', 'lxc', 'mp0', 'l:subvol-1-disk-1,mp=/a', 'l:subvol-1-disk-1,mp=/b'],
  ['a disc', 'qemu', 'ide2', 'none,media=cdrom', 'local:iso/debian.iso,media=cdrom'],
  ['an empty drive', 'qemu', 'ide2', null, 'none,media=cdrom'],
  ['an empty drive that nothing marks', 'qemu', 'ide2', null, 'none'],
  ['taking a drive with a disc away', 'qemu', 'ide2', 'local:iso/a.iso,media=cdrom,size=3G', null],
  ['a folder of the host', 'lxc', 'mp1', null, '/srv/data,mp=/data'],
  ['protection', 'qemu', 'protection', '1', '0'],
  ['a password', 'qemu', 'cipassword', '**********', 'other'],
  ['the text there is', 'qemu', 'unused0', 'l:vm-1-disk-9', 'l:vm-1-disk-9'],
];

test.each(benign)('benign: %s', (_, kind, key, from, to) => {
  expect(classifyChange({ kind, key, from, to })).toBe('benign');
});

const never: Readonly<Record<GuestKind, string>> = {
  qemu: 'cdrom efidisk0 ide0 lock sata0 scsi0 smp template tpmstate0 unused0 virtio0 vmgenid',
  lxc: 'lock mp0 rootfs template unprivileged unused0',
};

test.each(['qemu', 'lxc'] as const)('every %s option is benign to set but for these', (kind) => {
  const found = [...optionNames(kind)]
    .filter((key) => !/[1-9]$|\d0$/.test(key))
    .filter((key) => classifyChange({ kind, key, from: null, to: '1' }) === 'irreversible');
  expect(found.sort().join(' ')).toBe(never[kind]);
});

/** What may not be changed on a volume, by family; a property no list knows would stand here too. */
const fixed: readonly (readonly [kind: GuestKind, key: string, names: string])[] = [
  ['qemu', 'efidisk0', 'efitype format import-from ms-cert pre-enrolled-keys'],
  ['qemu', 'ide0', 'format import-from media snapshot'],
  ['qemu', 'sata0', 'format import-from media snapshot'],
  ['qemu', 'scsi0', 'format import-from media snapshot'],
  ['qemu', 'tpmstate0', 'format import-from version'],
  ['qemu', 'virtio0', 'format import-from media snapshot'],
  ['lxc', 'mp0', ''],
  ['lxc', 'rootfs', ''],
];

test.each(fixed)('every property of a volume is benign to set but for these: %s %s', (...of) => {
  const [kind, key, names] = of;
  const properties = [...(findOption(kind, key)?.format?.properties ?? [])];
  const own = properties.filter(([, facts]) => facts.alias === undefined && !facts.isDefaultKey);
  const found = own
    .map(([name]) => name)
    .filter((name) => {
      const change = { kind, key, from: 'l:vm-1-disk-0', to: `l:vm-1-disk-0,${name}=1` };
      return classifyChange(change) === 'irreversible';
    });
  expect(found.sort().join(' ')).toBe(names);
});

test.each<[string, GuestKind, string, string | null, Reversibility]>([
  ['another option of a disk', 'qemu', 'scsi0', 'local-lvm:vm-101-disk-0,discard=on', 'benign'],
  ['a disk to be made', 'qemu', 'scsi0', 'local-lvm:8', 'irreversible'],
  [
    'a disk to be imported',
    'qemu',
    'scsi0',
    'local-lvm:0,import-from=local:import/a.qcow2',
    'irreversible',
  ],
  ['a drive to be emptied', 'qemu', 'ide2', 'none,media=cdrom', 'benign'],
  ['a disk to be detached', 'qemu', 'scsi0', null, 'benign'],
  ['a detached disk to be destroyed', 'qemu', 'unused0', null, 'irreversible'],
  ['a new identity', 'qemu', 'vmgenid', '1', 'irreversible'],
  ['a text that cannot be read', 'lxc', 'mp0', 'a=b=c,d,e', 'irreversible'],
])('not knowing what is there, at the mildest: %s', (_what, kind, key, to, is) => {
  expect(classifyChange({ kind, key, from: undefined, to })).toBe(is);
});
