/**
 * What PVE makes of a value it writes: tags sorted, descriptions trimmed or ended, nets and drives
 * printed anew, MACs made up, volumes allocated, CPU units cut (PVE-FACTS 27, 48). Everything else is
 * kept as written.
 */
import { createHash, randomBytes } from 'node:crypto';
import { optionBase } from './config-rules.ts';
import type { Guest, GuestKind } from './guest.ts';
import { parsePropertyString } from './property-string.ts';
import { endpointSchema, findProperty, type PropertySchema } from './schema.ts';

/** The text that goes into the config file; null: the option is removed instead. */
export function normalizeValue(guest: Guest, key: string, value: string): string | null {
  switch (optionBase(key)) {
    case 'tags':
      return normalizeTags(value);
    case 'description':
      return normalizeDescription(guest.kind, value);
    case 'net':
      return guest.kind === 'qemu' ? printQemuNet(value) : printLxcNet(value);
    case 'cipassword':
      return hashPassword(value);
    case 'cpuunits':
      return Number(value) > 10_000 ? '10000' : value;
    case 'nameserver':
      return guest.kind === 'lxc' ? value.split(/[\s,;]+/).join(' ') : value;
    case 'ide':
    case 'sata':
    case 'scsi':
    case 'virtio':
    case 'mp':
    case 'tpmstate0':
      return printVolume(guest, key, value);
    default:
      return value;
  }
}

function normalizeTags(value: string): string {
  const tags = value.toLowerCase().split(/[,;\s\0]+/);
  return [...new Set(tags.filter((tag) => tag !== ''))].sort().join(';');
}

/** LXC ends it in exactly one newline, QEMU drops trailing white space; empty is not set. */
function normalizeDescription(kind: GuestKind, value: string): string | null {
  const text = kind === 'qemu' ? value.trimEnd() : value.replace(/\n+$/, '');
  if (text === '') return null;
  return kind === 'qemu' ? text : `${text}\n`;
}

function hashPassword(value: string): string {
  if (value.startsWith('$')) return value;
  const salt = randomBytes(4).toString('hex');
  return `$5$${salt}$${createHash('sha256')
    .update(salt + value)
    .digest('base64url')}`;
}

/** A MAC in Proxmox' own range. */
function inventMac(): string {
  const tail = randomBytes(3).toString('hex').toUpperCase();
  return `BC:24:11:${tail.slice(0, 2)}:${tail.slice(2, 4)}:${tail.slice(4, 6)}`;
}

function schemaOf(kind: GuestKind, key: string): Readonly<Record<string, PropertySchema>> {
  const endpoint = endpointSchema(`PUT /nodes/{node}/${kind}/{vmid}/config`);
  const format = endpoint === null ? undefined : findProperty(endpoint.properties, key)?.format;
  return typeof format === 'object' ? format : {};
}

/** Keys in order, booleans as 0 and 1. */
function printPairs(
  pairs: ReadonlyMap<string, string>,
  format: Readonly<Record<string, PropertySchema>>,
): string[] {
  return [...pairs]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, value]) => `${key}=${format[key]?.type === 'boolean' ? toBit(value) : value}`);
}

function toBit(value: string): string {
  return /^(?:1|yes|on|true)$/i.test(value) ? '1' : '0';
}

function printQemuNet(value: string): string {
  const format = schemaOf('qemu', 'net0');
  const pairs = parsePropertyString(value, format);
  const model = pairs.get('model') ?? 'virtio';
  const mac = pairs.get('macaddr') ?? inventMac();
  pairs.delete('model');
  pairs.delete('macaddr');
  return [`${model}=${mac}`, ...printPairs(pairs, format)].join(',');
}

function printLxcNet(value: string): string {
  const format = schemaOf('lxc', 'net0');
  const pairs = parsePropertyString(value, format);
  const name = pairs.get('name') ?? 'eth0';
  pairs.delete('name');
  if (!pairs.has('hwaddr')) pairs.set('hwaddr', inventMac());
  if (!pairs.has('type')) pairs.set('type', 'veth');
  return [`name=${name}`, ...printPairs(pairs, format)].join(',');
}

function printVolume(guest: Guest, key: string, value: string): string {
  const format = schemaOf(guest.kind, key);
  const pairs = parsePropertyString(value, format);
  const fileKey = pairs.has('volume') && guest.kind === 'lxc' ? 'volume' : 'file';
  let file = pairs.get(fileKey) ?? value;
  pairs.delete(fileKey);
  const size = /^local:(\d+(?:\.\d+)?)$/.exec(file)?.[1];
  if (file === 'local:cloudinit') {
    file = `local:${guest.vmid}/vm-${guest.vmid}-cloudinit.qcow2`;
    pairs.set('media', 'cdrom');
  } else if (size !== undefined) {
    file = freeVolume(guest);
    pairs.delete('format');
    pairs.set('size', key.startsWith('tpmstate') ? '4M' : sizeText(Number(size)));
  }
  return [file, ...printPairs(pairs, format)].join(',');
}

/** The size of an empty volume is printed as 0T. */
function sizeText(gibibytes: number): string {
  return gibibytes === 0 ? '0T' : `${gibibytes}G`;
}

function freeVolume(guest: Guest): string {
  const { vmid } = guest;
  const stem = guest.kind === 'qemu' ? `vm-${vmid}-disk` : `subvol-${vmid}-disk`;
  const suffix = guest.kind === 'qemu' ? 'raw' : 'subvol';
  const used = [...guest.config.current.values(), ...guest.config.pending.values()];
  for (let index = 0; ; index += 1) {
    const file = `local:${vmid}/${stem}-${index}.${suffix}`;
    if (!used.some((value) => value.startsWith(file))) return file;
  }
}
