/**
 * Made-up guests for `--guests N`: two VMs to every container, vmids from 100 and from 200 (from
 * 1000 and 5000 when they would not fit), some running, one template, one that ignores ACPI. The
 * same N gives the same guests.
 */
import type { z } from 'zod';
import type { guestSchema } from './world.ts';

type Entry = z.input<typeof guestSchema>;

const ROLES = ['web', 'db', 'mail', 'build', 'cache', 'proxy', 'files', 'metrics', 'ci', 'wiki'];
const STAGES = ['prod', 'test', 'lab'];
const CREATED = 1_795_216_150;

function pick<T>(items: readonly T[], index: number, fallback: T): T {
  return items[index % items.length] ?? fallback;
}

function hexPair(value: number): string {
  return (value & 255).toString(16).toUpperCase().padStart(2, '0');
}

function mac(vmid: number): string {
  return `BC:24:11:${hexPair(vmid >> 16)}:${hexPair(vmid >> 8)}:${hexPair(vmid)}`;
}

function uuid(vmid: number, salt: number): string {
  const tail = (vmid * 2654435761 + salt).toString(16).padStart(12, '0').slice(-12);
  return `5b1f0c5e-3a7d-4c52-9e1b-${tail}`;
}

export function sampleGuests(count: number): Entry[] {
  const containers = Math.floor(count / 3);
  const firsts = count <= 90 ? { qemu: 100, lxc: 200 } : { qemu: 1000, lxc: 5000 };
  return [
    ...Array.from({ length: count - containers }, (_, index) => virtualMachine(firsts.qemu, index)),
    ...Array.from({ length: containers }, (_, index) => container(firsts.lxc, index)),
  ];
}

function virtualMachine(first: number, index: number): Entry {
  const vmid = first + index;
  const stage = pick(STAGES, index, 'lab');
  const role = pick(ROLES, index, 'web');
  const isTemplate = index === 6;
  return {
    vmid,
    kind: 'qemu',
    running: !isTemplate && index % 3 !== 2,
    uptime_s: 3600 + index * 7,
    ...(index === 4 ? { obeys_shutdown: false } : {}),
    config: {
      name: isTemplate ? 'debian-template' : `${role}-${index + 1}`,
      memory: pick(['512', '1024', '2048'], index, '512'),
      cores: 1 + (index % 4),
      scsihw: 'virtio-scsi-single',
      scsi0: `local:${vmid}/vm-${vmid}-disk-0.raw,iothread=1,size=8G`,
      boot: 'order=scsi0',
      net0: `virtio=${mac(vmid)},bridge=vmbr0`,
      ostype: 'l26',
      onboot: index % 2,
      tags: [role, stage].sort().join(';'),
      meta: `creation-qemu=10.1.2,ctime=${CREATED + index}`,
      smbios1: `uuid=${uuid(vmid, 1)}`,
      vmgenid: uuid(vmid, 2),
      ...(isTemplate ? { template: 1 } : {}),
    },
  };
}

function container(first: number, index: number): Entry {
  const vmid = first + index;
  const stage = pick(STAGES, index, 'lab');
  const role = pick(ROLES, index + 4, 'web');
  return {
    vmid,
    kind: 'lxc',
    running: index % 4 !== 3,
    uptime_s: 7200 + index * 11,
    config: {
      hostname: `ct-${role}-${index + 1}`,
      arch: 'amd64',
      ostype: 'debian',
      memory: pick([256, 512], index, 256),
      swap: 0,
      cores: 1 + (index % 2),
      unprivileged: 1,
      rootfs: `local:${vmid}/subvol-${vmid}-disk-0.subvol,size=4G`,
      net0: `name=eth0,bridge=vmbr0,hwaddr=${mac(vmid)},ip=dhcp,type=veth`,
      onboot: index % 2,
      tags: [role, stage].sort().join(';'),
    },
  };
}
