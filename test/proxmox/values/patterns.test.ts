/** What a desired value leaves to PVE is no drift, and stays when the value is written again. */
import { describe, expect, test } from 'vitest';
import { createValueSemantics } from '../../../src/proxmox/values/same-value.ts';
import type { GuestKind } from '../../../src/reconcile/guest.ts';

const semantics = createValueSemantics();

type Case = readonly [kind: GuestKind, key: string, desired: string, actual: string];

const satisfied: readonly (readonly [string, ...Case])[] = [
  ['a MAC', 'qemu', 'net0', 'virtio,bridge=vmbr0', 'virtio=BC:24:11:7F:4F:10,bridge=vmbr0'],
  [
    'the MAC and type of a container net',
    'lxc',
    'net0',
    'bridge=vmbr0,name=eth0',
    'name=eth0,bridge=vmbr0,hwaddr=BC:24:11:A3:70:8F,type=veth',
  ],
  [
    'the size of a volume',
    'qemu',
    'scsi0',
    'local-lvm:vm-101-disk-0,ssd=1',
    'local-lvm:vm-101-disk-0,size=32G,ssd=1',
  ],
  [
    'the name of a new volume',
    'qemu',
    'scsi1',
    'local:1,format=raw,ssd=on,discard=on,iothread=yes,cache=none',
    'local:101/vm-101-disk-1.raw,cache=none,discard=on,iothread=1,size=1G,ssd=1',
  ],
  [
    'the volume made from an image',
    'qemu',
    'scsi0',
    'local-lvm:0,import-from=local:import/debian.qcow2',
    'local-lvm:vm-101-disk-0,size=3G',
  ],
  [
    'the volume of a mount point',
    'lxc',
    'mp0',
    'local:0,mp=/data',
    'local:202/subvol-202-disk-1.subvol,mp=/data,size=0T',
  ],
  ['half a GiB', 'lxc', 'mp0', 'zfs:0.5,mp=/data', 'zfs:subvol-202-disk-1,mp=/data,size=512M'],
  [
    'the cloud-init drive',
    'qemu',
    'ide2',
    'local:cloudinit',
    'local:101/vm-101-cloudinit.qcow2,media=cdrom',
  ],
  [
    'the size of a TPM state, which is not the one asked for',
    'qemu',
    'tpmstate0',
    'local:1,version=v2.0',
    'local:101/vm-101-disk-2.raw,size=4M,version=v2.0',
  ],
  [
    'a generated uuid',
    'qemu',
    'smbios1',
    'manufacturer=QUNNRQ==,base64=1',
    'uuid=7A04667A-E975-4440-BAF6-43ED79B21885,manufacturer=QUNNRQ==,base64=1',
  ],
  ['the mark of an empty drive', 'qemu', 'ide2', 'none', 'none,media=cdrom'],
  [
    'the certificates in an EFI disk',
    'qemu',
    'efidisk0',
    'l:vm-1-disk-1,efitype=4m,pre-enrolled-keys=1',
    'l:vm-1-disk-1,efitype=4m,ms-cert=2023k,pre-enrolled-keys=1,size=4M',
  ],
  ['a generated id', 'qemu', 'vmgenid', '1', '46ea62c2-2a63-42b0-837c-f80d2064d6f1'],
  ['what PVE never gives back', 'qemu', 'cipassword', 'secret', '**********'],
];

test.each(satisfied)('left to PVE: %s', (_, kind, key, desired, actual) => {
  expect(semantics.isSatisfied({ kind, key, desired, actual })).toBe(true);
});

const drifting: readonly (readonly [string, ...Case])[] = [
  ['another MAC', 'qemu', 'net0', 'virtio=BC:24:11:00:00:01', 'virtio=BC:24:11:00:00:02'],
  ['another model', 'qemu', 'net0', 'virtio,bridge=vmbr0', 'e1000=BC:24:11:00:00:02,bridge=vmbr0'],
  ['an option nobody asked for', 'qemu', 'net0', 'virtio', 'virtio=BC:24:11:00:00:02,tag=5'],
  ['an explicit default', 'qemu', 'net0', 'virtio', 'virtio=BC:24:11:00:00:02,firewall=0'],
  ['another size', 'qemu', 'scsi0', 'l:vm-1-disk-0,size=8G', 'l:vm-1-disk-0,size=9G'],
  ['a disk of another size', 'qemu', 'scsi0', 'l:32', 'l:vm-1-disk-0,size=64G'],
  ['a disk on another storage', 'qemu', 'scsi0', 'l:32', 'm:vm-1-disk-0,size=32G'],
  ['an ISO in place of a disk', 'qemu', 'scsi0', 'local:0', 'local:iso/debian.iso,size=3G'],
  ['a disk in place of cloud-init', 'qemu', 'ide2', 'l:cloudinit', 'l:vm-1-disk-0,media=cdrom'],
  ['another volume', 'qemu', 'scsi0', 'l:vm-1-disk-0', 'l:vm-1-disk-1,size=32G'],
  ['a disc that nothing marks', 'qemu', 'ide2', 'l:iso/a.iso', 'l:iso/a.iso,media=cdrom'],
  ['another uuid', 'qemu', 'smbios1', `uuid=${'0'.repeat(8)}-0000-0000-0000-${'0'.repeat(12)}`, ''],
  ['an id that is off', 'qemu', 'vmgenid', '1', '0'],
];

test.each(drifting)('drift: %s', (_, kind, key, desired, actual) => {
  expect(semantics.isSatisfied({ kind, key, desired, actual })).toBe(false);
});

const kept: readonly (readonly [string, ...Case, written: string])[] = [
  [
    'the MAC does not change because the bridge did',
    'qemu',
    'net0',
    'virtio,bridge=vmbr1',
    'virtio=BC:24:11:7F:4F:10,bridge=vmbr0',
    'virtio,bridge=vmbr1,macaddr=BC:24:11:7F:4F:10',
  ],
  [
    'nor does the one of a container',
    'lxc',
    'net0',
    'name=eth0,bridge=vmbr1',
    'name=eth0,bridge=vmbr0,hwaddr=BC:24:11:A3:70:8F,type=veth',
    'name=eth0,bridge=vmbr1,hwaddr=BC:24:11:A3:70:8F,type=veth',
  ],
  [
    'a MAC that is named is the one that is written',
    'qemu',
    'net0',
    'virtio=BC:24:11:00:00:01,bridge=vmbr1',
    'virtio=BC:24:11:7F:4F:10,bridge=vmbr0',
    'virtio=BC:24:11:00:00:01,bridge=vmbr1',
  ],
  [
    'a volume keeps its size',
    'qemu',
    'scsi0',
    'l:vm-1-disk-0,ssd=1',
    'l:vm-1-disk-0,size=32G',
    'l:vm-1-disk-0,ssd=1,size=32G',
  ],
  [
    'another volume does not take it over',
    'qemu',
    'ide2',
    'l:iso/b.iso,media=cdrom',
    'l:iso/a.iso,media=cdrom,size=3G',
    'l:iso/b.iso,media=cdrom',
  ],
  [
    'a volume that was made is kept, not made again',
    'qemu',
    'scsi0',
    'l:32,cache=writeback',
    'l:vm-1-disk-0,size=32G',
    'l:vm-1-disk-0,cache=writeback,size=32G',
  ],
  [
    'a volume of another size is not taken for the one that is asked for',
    'qemu',
    'scsi0',
    'l:32,cache=writeback',
    'l:vm-1-disk-0,size=64G',
    'l:32,cache=writeback',
  ],
  [
    'a uuid is kept',
    'qemu',
    'smbios1',
    'serial=eA==,base64=1',
    'uuid=7A04667A-E975-4440-BAF6-43ED79B21885',
    'serial=eA==,base64=1,uuid=7A04667A-E975-4440-BAF6-43ED79B21885',
  ],
  [
    'a generated id is kept',
    'qemu',
    'vmgenid',
    '1',
    '46ea62c2-2a63-42b0-837c-f80d2064d6f1',
    '46ea62c2-2a63-42b0-837c-f80d2064d6f1',
  ],
  ['other text is written as it stands', 'qemu', 'tags', 'b;A', 'c', 'b;A'],
];

describe('written again', () => {
  test.each(kept)('%s', (_, kind, key, desired, actual, written) => {
    expect(semantics.fillIn({ kind, key, desired, actual })).toBe(written);
    expect(semantics.isSatisfied({ kind, key, desired, actual: written })).toBe(true);
  });

  test('where nothing was set there is nothing to keep', () => {
    const value = {
      kind: 'qemu',
      key: 'net0',
      desired: 'virtio,bridge=vmbr0',
      actual: null,
    } as const;
    expect(semantics.fillIn(value)).toBe('virtio,bridge=vmbr0');
  });
});
