/**
 * The differences that never go away elsewhere, as their users reported them: what PVE shows for a
 * value somebody wrote is no drift, and neither is the same value in another spelling.
 */
import { expect, test } from 'vitest';
import { hasDrift } from '../../../src/proxmox/values/same-value.ts';
import type { GuestKind } from '../../../src/reconcile/guest.ts';

const reports: readonly (readonly [
  string,
  kind: GuestKind,
  key: string,
  written: string,
  read: string | null,
])[] = [
  ['name servers joined by spaces', 'lxc', 'nameserver', '1.1.1.1,8.8.8.8', '1.1.1.1 8.8.8.8'],
  ['tags sorted and in lower case', 'qemu', 'tags', 'prod;Web', 'prod;web'],
  ['tags separated by commas', 'lxc', 'tags', 'web, prod', 'prod;web'],
  ['no tags read as a blank', 'qemu', 'tags', '', ' '],
  ['no boot order read as a blank', 'qemu', 'boot', '', ' '],
  ['a boot order in the old form', 'qemu', 'boot', 'legacy=cdn', 'cdn'],
  ['a boot order with blanks', 'qemu', 'boot', 'order=scsi0 ide2', 'order=scsi0;ide2'],
  ['a boot order that ends in a separator', 'qemu', 'boot', 'order=net0;', 'order=net0'],
  ['a container description gets a newline', 'lxc', 'description', 'front end', 'front end\n'],
  ['a VM description loses one', 'qemu', 'description', 'front end\n', 'front end'],
  ['an empty description is none', 'lxc', 'description', '', null],
  ['a MAC in lower case', 'qemu', 'net0', 'virtio=bc:24:11:00:00:0a', 'virtio=BC:24:11:00:00:0A'],
  [
    'a net printed in another order',
    'qemu',
    'net0',
    'model=virtio,tag=5,bridge=vmbr0,macaddr=BC:24:11:00:00:0A',
    'virtio=BC:24:11:00:00:0A,bridge=vmbr0,tag=5',
  ],
  ['a net rate with another number of digits', 'qemu', 'net0', 'virtio,rate=2.0', 'virtio,rate=2'],
  [
    'disk options in another order',
    'qemu',
    'scsi0',
    'l:d,ssd=1,iothread=1',
    'l:d,iothread=1,ssd=1',
  ],
  ['disk booleans spelled out', 'qemu', 'scsi0', 'l:d,ssd=on,discard=on', 'l:d,discard=on,ssd=1'],
  ['a disk size in other units', 'qemu', 'scsi0', 'l:d,size=32G', 'l:d,size=32768M'],
  ['a size of nothing in some unit', 'lxc', 'rootfs', 'l:d,size=0', 'l:d,size=0T'],
  [
    'the agent by its key',
    'qemu',
    'agent',
    'enabled=1,fstrim_cloned_disks=1',
    '1,fstrim_cloned_disks=1',
  ],
  ['an old name of a property', 'qemu', 'agent', '1,freeze-fs-on-backup=0', '1,freeze-fs=0'],
  ['a CPU type by its key', 'qemu', 'cpu', 'cputype=host', 'host'],
  ['a start order without its key', 'qemu', 'startup', '3,up=10', 'up=10,order=3'],
  [
    'SSH keys with a newline more',
    'qemu',
    'sshkeys',
    'ssh-ed25519%20AAAA%0A',
    'ssh-ed25519%20AAAA',
  ],
  ['SSH keys encoded in lower case', 'qemu', 'sshkeys', 'a%2fb', 'a%2Fb'],
  ['memory with its key', 'qemu', 'memory', 'current=2048', '2048'],
  ['more CPU units than there are', 'qemu', 'cpuunits', '20000', '10000'],
  ['more CPU units of a container', 'lxc', 'cpuunits', '500000', '10000'],
  ['CPU units written before there was a limit', 'qemu', 'cpuunits', '20000', '262144'],
  ['numbers as text', 'lxc', 'cpuunits', '03225', '3225'],
  [
    'a uuid in lower case',
    'qemu',
    'smbios1',
    'uuid=7a04667a-e975-4440-baf6-43ed79b21885',
    'uuid=7A04667A-E975-4440-BAF6-43ED79B21885',
  ],
];

test('a boot order is one', () => {
  const written = 'order=scsi0 ide2';
  expect(hasDrift('qemu', 'boot', { written, read: 'order=ide2;scsi0' })).toBe(true);
});

test('fewer CPU units than the limit are those', () => {
  expect(hasDrift('qemu', 'cpuunits', { written: '10000', read: '9999' })).toBe(true);
});

test.each(reports)('%s', (_, kind, key, written, read) => {
  expect(hasDrift(kind, key, { written, read })).toBe(false);
});
