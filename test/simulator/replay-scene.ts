/** The guests of the recorded node, as they were when recording began. */
import type { z } from 'zod';
import type { guestSchema } from './world.ts';

type Entry = z.input<typeof guestSchema>;

/** What a recording starts with instead; a config value of null: the option is not set. */
export interface Change extends Omit<Partial<Entry>, 'config'> {
  readonly config?: Readonly<Record<string, string | number | null>>;
}

const MADE = 'creation-qemu=7.2.22,ctime=';

function qemu(vmid: number, name: string, memory: string, more: Entry['config'] = {}): Entry {
  // These ignore ACPI: they run no operating system.
  const config = { name, memory, kvm: 0, boot: ' ', meta: `${MADE}1795216293`, ...more };
  return { vmid, kind: 'qemu', obeys_shutdown: false, config };
}

function lxc(vmid: number, hostname: string, more: Entry['config'] = {}): Entry {
  const rootfs = `local:${vmid}/subvol-${vmid}-disk-0.subvol,size=0T`;
  const config = { hostname, arch: 'amd64', ostype: 'debian', memory: 64, swap: 0, rootfs };
  return { vmid, kind: 'lxc', config: { ...config, ...more } };
}

const GUESTS: readonly Entry[] = [
  qemu(100, 'alpha', '32', {
    cores: 1,
    meta: `${MADE}1795216150`,
    smbios1: 'uuid=b5792153-b945-4d64-a178-aa4d28a8f663',
    vmgenid: '2bfd8ed1-e7d9-423d-9aa1-d6d63df0acf0',
  }),
  qemu(101, 'beta', '32', {
    boot: 'order=net0',
    meta: `${MADE}1795216349`,
    net0: 'virtio=BC:24:11:CE:0E:F5,bridge=vmbr0',
    scsihw: 'lsi',
    smbios1: 'uuid=7A04667A-E975-4440-BAF6-43ED79B21885,manufacturer=QUNNRQ==,base64=1',
    vmgenid: '46ea62c2-2a63-42b0-837c-f80d2064d6f1',
  }),
  qemu(102, 'gamma', '64', { scsi0: 'local:102/vm-102-disk-0.raw,size=1G' }),
  qemu(103, 'delta', '16', {
    smbios1: 'uuid=9b012907-7322-423b-8589-97e7af863f07',
    vmgenid: '03a49909-ccce-4493-b97b-59ac88a77756',
  }),
  qemu(104, 'epsilon', '16'),
  qemu(105, 'zeta', '16', {
    smbios1: 'uuid=b96db6d5-7789-4ba3-8415-24dbee85dc3c',
    vmgenid: '8e638c60-62d4-488f-aa8a-18398ffff290',
  }),
  {
    ...qemu(106, 'eta', '32', {
      boot: 'order=ide0',
      ide0: 'local:106/vm-106-disk-0.raw,size=1G',
      smbios1: 'uuid=515c343f-1191-48b7-8aa1-fc6c2b141e7c',
      vmgenid: '919ac61d-428b-4503-b974-78a3c34734d2',
    }),
    obeys_shutdown: true,
    shutdown_ms: 700,
  },
  qemu(900, 'tmpl', '16', { scsi0: 'local:900/base-900-disk-0.raw,size=1G', template: 1 }),
  lxc(200, 'ct-alpha'),
  lxc(201, 'ct-beta'),
  lxc(202, 'ct-gamma', {
    net0: 'name=eth0,bridge=vmbr0,hwaddr=BC:24:11:48:A6:81,ip=dhcp,type=veth',
  }),
];

function merge(entry: Entry, change: Change): Entry {
  const { config = {}, ...rest } = change;
  const merged = new Map<string, string | number | boolean>(Object.entries(entry.config ?? {}));
  for (const [key, value] of Object.entries(config)) {
    if (value === null) merged.delete(key);
    else merged.set(key, value);
  }
  return { ...entry, ...rest, config: Object.fromEntries(merged) };
}

/** The recorded guests; 100 and 201 run unless a change says otherwise. */
export function scene(changes: Readonly<Record<number, Change>> = {}): Entry[] {
  return GUESTS.map((entry) => {
    const running = entry.vmid === 100 || entry.vmid === 201;
    return merge({ ...entry, running }, changes[entry.vmid] ?? {});
  });
}
