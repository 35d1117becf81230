/**
 * A guest as the lists, `status/current` and /cluster/resources show it. Field names and types are
 * those of the transcripts list_guests, status_current and cluster_resources; loads are made up.
 */
import { type Guest, guestName, isTemplate } from './guest.ts';
import { propertyOf } from './property-string.ts';

type Row = Record<string, unknown>;

const MEBIBYTE = 1024 * 1024;
const HOST_CPUS = 2;
const HOST_DISK = 270_553_174_016;
const DEFAULT_MEMORY_MIB = 512;
/** A container's root file system whose size the config does not give. */
const SUBVOLUME_BYTES = 4_294_967_296;

function uptimeS(guest: Guest, nowMs: number): number {
  return guest.run.kind === 'running' ? Math.floor((nowMs - guest.run.sinceMs) / 1000) : 0;
}

function memoryBytes(guest: Guest): number {
  const text = guest.config.current.get('memory') ?? String(DEFAULT_MEMORY_MIB);
  return Number(propertyOf(text, 'current') ?? text) * MEBIBYTE;
}

function cpuCount(guest: Guest): number {
  const { current } = guest.config;
  if (guest.kind === 'lxc') return Number(current.get('cores') ?? HOST_CPUS);
  const all = Number(current.get('sockets') ?? 1) * Number(current.get('cores') ?? 1);
  return Number(current.get('vcpus') ?? all);
}

const UNITS: Readonly<Record<string, number>> = { K: 10, M: 20, G: 30, T: 40 };

function sizeBytes(text: string | null): number {
  const match = /^(\d+(?:\.\d+)?)([KMGT]?)$/.exec(text ?? '');
  return match === null ? 0 : Number(match[1]) * 2 ** (UNITS[match[2] ?? ''] ?? 0);
}

/** The boot disk's size, or the container's root file system's. */
function diskBytes(guest: Guest): number {
  const { current } = guest.config;
  if (guest.kind === 'lxc') {
    if (guest.run.kind === 'running') return HOST_DISK;
    return sizeBytes(propertyOf(current.get('rootfs'), 'size')) || SUBVOLUME_BYTES;
  }
  const disk = [...current].find(
    ([key, value]) => /^(?:scsi|virtio|sata|ide)\d+$/.test(key) && !value.includes('media=cdrom'),
  );
  return sizeBytes(propertyOf(disk?.[1], 'size'));
}

function commonRow(guest: Guest, nowMs: number): Row {
  const isRunning = guest.run.kind === 'running';
  const used = isRunning ? Math.floor(memoryBytes(guest) * 0.8) : 0;
  const { current } = guest.config;
  const tags = current.get('tags')?.trim() ?? '';
  return {
    vmid: guest.vmid,
    name: guestName(guest),
    status: guest.run.kind,
    uptime: uptimeS(guest, nowMs),
    cpus: cpuCount(guest),
    cpu: isRunning ? 0.0746 : 0,
    mem: used,
    maxmem: memoryBytes(guest),
    disk: guest.kind === 'lxc' && isRunning ? 24_363_253_760 : 0,
    maxdisk: diskBytes(guest),
    netin: 0,
    netout: 0,
    ...(guest.run.kind === 'running' && guest.run.pid !== null ? { pid: guest.run.pid } : {}),
    ...(isTemplate(guest) ? { template: 1 } : {}),
    ...(current.has('lock') ? { lock: current.get('lock') } : {}),
    ...(tags === '' ? {} : { tags }),
  };
}

const PRESSURES = ['cpufull', 'cpusome', 'iofull', 'iosome', 'memoryfull', 'memorysome'];

function pressures(guest: Guest): Row {
  if (guest.run.kind === 'stopped') return {};
  // QEMU gives numbers, LXC text.
  const none = guest.kind === 'qemu' ? 0 : '0.00';
  return Object.fromEntries(PRESSURES.map((name) => [`pressure${name}`, none]));
}

/** `nowMs`: the clock's monotonic time, as for all rows here. */
export function listRow(guest: Guest, nowMs: number, isFull: boolean): Row {
  const row = commonRow(guest, nowMs);
  if (guest.kind === 'qemu') {
    return {
      ...row,
      memhost: row['mem'],
      ...pressures(guest),
      ...(isFull ? { qmpstatus: qmpStatus(guest) } : {}),
    };
  }
  const swap = Number(guest.config.current.get('swap') ?? DEFAULT_MEMORY_MIB) * MEBIBYTE;
  return {
    ...row,
    type: 'lxc',
    diskread: 0,
    diskwrite: 0,
    swap: 0,
    maxswap: swap,
    ...pressures(guest),
  };
}

function qmpStatus(guest: Guest): string {
  return guest.run.kind === 'running' ? guest.run.qmpStatus : 'stopped';
}

/** `ha`: as the HA manager answers it. */
export function statusRow(guest: Guest, nowMs: number, ha: unknown): Row {
  const row = { ...listRow(guest, nowMs, true), ha };
  if (guest.kind === 'lxc') return row;
  const { current } = guest.config;
  const keys = [...current.keys()];
  const nets = keys.filter((key) => /^net\d+$/.test(key));
  const agent = current.get('agent');
  const isAgentOn = /^(?:1|on|yes|true)$/i.test(
    propertyOf(agent, 'enabled') ?? agent?.split(',')[0] ?? '',
  );
  return {
    ...row,
    ...(guest.run.kind === 'running' && nets.length > 0 ? { nics: nics(guest.vmid, nets) } : {}),
    ...(keys.some((key) => /^serial\d+$/.test(key)) ? { serial: 1 } : {}),
    ...(current.has('vga') ? { clipboard: propertyOf(current.get('vga'), 'clipboard') } : {}),
    ...(isAgentOn ? { agent: 1 } : {}),
  };
}

function nics(vmid: number, nets: readonly string[]): Row {
  const entries = nets.map((net) => [`tap${vmid}i${net.slice(3)}`, { netin: 0, netout: 0 }]);
  return Object.fromEntries(entries) as Row;
}

/** `status` and `uptime` are those of the last broadcast, some seconds old (PVE-FACTS 18). */
export function resourceRow(
  guest: Guest,
  nowMs: number,
  seen: { readonly node: string; readonly status: string; readonly hastate: string | null },
): Row {
  const row = commonRow(guest, nowMs);
  const isRunning = seen.status !== 'stopped';
  const { cpus, pid: _pid, ...rest } = row;
  return {
    ...rest,
    id: `${guest.kind}/${guest.vmid}`,
    type: guest.kind,
    node: seen.node,
    status: seen.status,
    uptime: isRunning ? row['uptime'] : 0,
    maxcpu: cpus,
    memhost: guest.kind === 'qemu' && isRunning ? row['mem'] : 0,
    diskread: 0,
    diskwrite: 0,
    template: isTemplate(guest) ? 1 : 0,
    ...(seen.hastate === null ? {} : { hastate: seen.hastate }),
  };
}
