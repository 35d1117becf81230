/**
 * The perpetual diffs people report about other tools, as tests: what somebody wrote, what PVE
 * gives back, and the plan there should be. The names cite where the complaint was made.
 */
import { expect, test } from 'vitest';
import { isSameValue } from '../../src/proxmox/values/same-value.ts';
import type { GuestKind } from '../../src/reconcile/guest.ts';
import { planValues, type Written } from './value-plan.ts';

interface Case {
  readonly name: string;
  readonly kind?: GuestKind;
  readonly wanted: Readonly<Record<string, Written>>;
  /** What PVE has, as text. */
  readonly read: Readonly<Record<string, string>>;
}

const KEY = 'ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAgQC7 ops@example';

/** Written once, read back as PVE keeps it: there is nothing to do, ever again. */
const QUIET: readonly Case[] = [
  {
    name: 'a net without a MAC keeps the one PVE made up (Telmate#47, #112, #181)',
    wanted: { net0: 'virtio,bridge=vmbr0,tag=2101' },
    read: { net0: 'virtio=42:CE:92:97:95:4B,bridge=vmbr0,tag=2101' },
  },
  {
    name: 'a container net without a MAC, its properties in another order (Telmate#181)',
    kind: 'lxc',
    wanted: { net0: 'bridge=vmbr0,name=eth0,ip=dhcp' },
    read: { net0: 'name=eth0,bridge=vmbr0,hwaddr=BC:24:11:00:00:01,ip=dhcp,type=veth' },
  },
  {
    name: 'tags in the order somebody wrote them (bpg#321, bpg#742)',
    wanted: { tags: ['gamma', 'beta', 'alpha'] },
    read: { tags: 'alpha;beta;gamma' },
  },
  {
    name: 'tags with commas, twice, and in capitals (Telmate#951)',
    wanted: { tags: 'Test,terraform,test' },
    read: { tags: 'terraform;test' },
  },
  {
    name: 'the tag that holds a guest, beside those that are wanted',
    wanted: { tags: ['web', 'prod'] },
    read: { tags: 'prod;reconcile-hold;web' },
  },
  {
    name: 'the tag that holds a guest, where no tag is wanted',
    wanted: { tags: null },
    read: { tags: 'reconcile-hold' },
  },
  {
    name: 'the tag that holds a guest, where it is wanted',
    wanted: { tags: ['reconcile-hold'] },
    read: { tags: 'reconcile-hold' },
  },
  {
    name: 'a description whose last newline PVE drops (Telmate#1030)',
    wanted: { description: 'k8\n' },
    read: { description: 'k8' },
  },
  {
    name: 'a description to which PVE adds a newline (Telmate#1030)',
    kind: 'lxc',
    wanted: { description: 'k8' },
    read: { description: 'k8\n' },
  },
  {
    name: 'an empty description, which PVE keeps as none',
    wanted: { description: '' },
    read: {},
  },
  {
    name: 'cicustom with its files in another order (Telmate#1224)',
    wanted: { cicustom: 'user=local:snippets/u.yml,meta=local:snippets/m.yml' },
    read: { cicustom: 'meta=local:snippets/m.yml,user=local:snippets/u.yml' },
  },
  {
    name: 'a boot order in its old and its long form (Telmate#209)',
    wanted: { boot: 'cdn' },
    read: { boot: 'legacy=cdn' },
  },
  {
    name: 'numbers that PVE prints as text, booleans that it prints as numbers',
    wanted: { memory: 512, onboot: true, kvm: false },
    read: { memory: '512', onboot: '1', kvm: '0' },
  },
  {
    name: 'a disk whose options stand in another order (bpg#2199, bpg#185)',
    wanted: { scsi0: 'local-lvm:vm-100-disk-0,ssd=1,discard=on,size=32G' },
    read: { scsi0: 'local-lvm:vm-100-disk-0,discard=on,size=32G,ssd=1' },
  },
  {
    name: 'a disk of which nobody wrote the size',
    wanted: { scsi0: 'local-lvm:vm-100-disk-0,discard=on' },
    read: { scsi0: 'local-lvm:vm-100-disk-0,discard=on,size=32G' },
  },
  {
    name: 'a size in another unit',
    wanted: { scsi0: 'local-lvm:vm-100-disk-0,size=1024M' },
    read: { scsi0: 'local-lvm:vm-100-disk-0,size=1G' },
  },
  {
    name: 'name servers separated by commas (Telmate#1311)',
    wanted: { nameserver: '1.1.1.1,8.8.8.8' },
    read: { nameserver: '1.1.1.1 8.8.8.8' },
  },
  {
    name: 'name servers of a container, in a list (bpg#844)',
    kind: 'lxc',
    wanted: { nameserver: ['1.1.1.1', '8.8.8.8'] },
    read: { nameserver: '1.1.1.1 8.8.8.8' },
  },
  {
    name: 'every option of a disk written out (Telmate#1164)',
    wanted: {
      scsi0: 'l:vm-114-disk-0,aio=io_uring,backup=yes,cache=none,discard=on,ssd=on,replicate=no',
    },
    read: {
      scsi0:
        'l:vm-114-disk-0,aio=io_uring,backup=1,cache=none,discard=on,replicate=0,size=8G,ssd=1',
    },
  },
  {
    name: 'several disks, written in another order (bpg#1215)',
    wanted: { virtio0: 'l:vm-100-disk-0', scsi0: 'l:vm-100-disk-1' },
    read: { scsi0: 'l:vm-100-disk-1,size=8G', virtio0: 'l:vm-100-disk-0,size=8G' },
  },
  {
    name: 'the cloud-init drive, as it was asked for (bpg#1083)',
    wanted: { scsi1: 'l:cloudinit' },
    read: { scsi1: 'l:vm-100-cloudinit,media=cdrom,size=4M' },
  },
  {
    name: 'what a clone brought along and nobody wrote (bpg#1224, #1494)',
    wanted: { cores: 2 },
    read: { cores: '2', vga: 'serial0', serial0: 'socket', agent: '1', cpu: 'host' },
  },
  {
    name: 'an empty drive, which PVE marks as a CD-ROM',
    wanted: { ide2: 'none' },
    read: { ide2: 'none,media=cdrom' },
  },
  {
    name: 'ssh keys, which PVE keeps percent-encoded (Telmate#209)',
    wanted: { sshkeys: encodeURIComponent(KEY) },
    read: { sshkeys: encodeURIComponent(`${KEY}\n`) },
  },
  {
    name: 'a MAC in small letters',
    wanted: { net0: 'virtio=bc:24:11:00:01:01,bridge=vmbr0' },
    read: { net0: 'virtio=BC:24:11:00:01:01,bridge=vmbr0' },
  },
  {
    name: 'properties that somebody set by hand and nobody manages (Telmate#655, #763, #1216)',
    wanted: { cores: 2 },
    read: { cores: '2', bootdisk: 'virtio0', scsihw: 'virtio-scsi-pci', smbios1: 'uuid=1' },
  },
  {
    name: 'a boolean inside a property string, in another spelling',
    wanted: { agent: 'enabled=yes' },
    read: { agent: '1' },
  },
  {
    name: 'an explicit model and default key',
    wanted: { vga: 'type=std,memory=32' },
    read: { vga: 'std,memory=32' },
  },
];

test.each(QUIET)('no drift: $name', ({ kind = 'qemu', wanted, read }) => {
  const entry = planValues({ kind, wanted, read });
  expect({ status: entry.status, changes: entry.changes, actions: entry.actions }).toEqual({
    status: 'in_sync',
    changes: [],
    actions: [],
  });
});

/** And the reverse: what looks alike and is not. */
const DRIFT: readonly Case[] = [
  {
    name: 'another bridge',
    wanted: { net0: 'virtio,bridge=vmbr1' },
    read: { net0: 'virtio=42:CE:92:97:95:4B,bridge=vmbr0' },
  },
  { name: 'an explicit default is not the same as not set', wanted: { cores: 1 }, read: {} },
  { name: 'one tag more', wanted: { tags: ['a', 'b'] }, read: { tags: 'a' } },
  {
    name: 'the tag that holds a guest, which somebody wants',
    wanted: { tags: ['a', 'reconcile-hold'] },
    read: { tags: 'a' },
  },
  { name: 'a key that must not be set', wanted: { balloon: null }, read: { balloon: '0' } },
  {
    name: 'white space inside a description',
    wanted: { description: 'a  b' },
    read: { description: 'a b' },
  },
];

test.each(DRIFT)('drift: $name', ({ wanted, read }) => {
  const entry = planValues({ kind: 'qemu', wanted, read });
  expect(entry.status).toBe('drift');
  expect(entry.actions.map(({ action }) => action.kind)).toEqual(['set_config']);
});

test.each([
  { wanted: ['web'], written: 'reconcile-hold;web' },
  { wanted: null, written: 'reconcile-hold' },
])('the tag that holds a guest stays when its tags become $wanted', ({ wanted, written }) => {
  const read = { tags: 'prod;reconcile-hold' };
  const entry = planValues({ kind: 'qemu', wanted: { tags: wanted }, read });
  expect(entry.actions).toMatchObject([{ action: { params: { set: { tags: written } } } }]);
  expect(entry.verdict).toMatchObject({ kind: 'wait', condition: { code: 'on_hold' } });
});

test('a bridge that changes keeps the MAC that PVE made up', () => {
  const read = { net0: 'virtio=42:CE:92:97:95:4B,bridge=vmbr0' };
  const [change] = planValues({
    kind: 'qemu',
    wanted: { net0: 'virtio,bridge=vmbr9' },
    read,
  }).actions;
  const written = change?.action.kind === 'set_config' ? change.action.params.set['net0'] : '';
  const wanted = 'virtio=42:CE:92:97:95:4B,bridge=vmbr9';
  expect(isSameValue('qemu', 'net0', [written ?? null, wanted])).toBe(true);
});

test('what waits for a restart is neither done nor written again (bpg#2516, bpg#2544, Telmate#1373)', () => {
  const entry = planValues({
    kind: 'qemu',
    wanted: { memory: 2048 },
    read: { memory: '1024' },
    pending: { memory: { kind: 'set', value: '2048' } },
    running: true,
  });
  expect(entry.status).toBe('drift');
  expect(entry.actions).toEqual([]);
  expect(entry.conditions).toMatchObject([{ code: 'restart_required', keys: ['memory'] }]);
});

test.each([
  ['tags', { tags: ['x'] }],
  ['cores of a container', { cores: 8 }],
  ['description', { description: 'changed' }],
  ['memory', { memory: 4096 }],
  ['net', { net0: 'virtio,bridge=vmbr9' }],
] as const)(
  '%s of a running guest never stops or restarts it (bpg#2902, #932, #1920, Telmate#1393)',
  (_what, wanted) => {
    const entry = planValues({ kind: 'qemu', wanted, read: { memory: '512' }, running: true });
    expect(entry.actions.map(({ action }) => action.kind)).toEqual(['set_config']);
  },
);

test('a guest started once and then left alone is no drift when it is off (Telmate#893, #1035)', () => {
  const entry = planValues({
    kind: 'qemu',
    wanted: {},
    read: {},
    power: 'initial',
    isInitialDone: true,
  });
  expect(entry).toMatchObject({ status: 'in_sync', actions: [] });
});

test.each([true, false])('a power nobody manages is no drift (Telmate#1548)', (running) => {
  const entry = planValues({ kind: 'qemu', wanted: {}, read: {}, running });
  expect(entry).toMatchObject({ status: 'in_sync', actions: [] });
});
