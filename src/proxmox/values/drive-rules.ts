/**
 * What PVE requires of a QEMU drive beyond its schema: its drive parser refuses combinations of
 * limits and options that each are fine alone (it then calls the drive unparsable).
 *
 * Works on the properties as PVE reads them: `bps`, `bps_rd` and `bps_wr` have become `mbps…`.
 */
import { type Properties, parseBoolean } from './property-string.ts';

/** Options that count only together with another one. */
const NEEDS: readonly (readonly [option: string, needed: string])[] = [
  ['mbps_max', 'mbps'],
  ['mbps_rd_max', 'mbps_rd'],
  ['mbps_wr_max', 'mbps_wr'],
  ['bps_max_length', 'mbps_max'],
  ['bps_rd_max_length', 'mbps_rd_max'],
  ['bps_wr_max_length', 'mbps_wr_max'],
  ['iops_max_length', 'iops_max'],
  ['iops_rd_max_length', 'iops_rd_max'],
  ['iops_wr_max_length', 'iops_wr_max'],
];

/** A limit for both directions and one for a single direction exclude each other. */
const EXCLUDES: readonly (readonly [one: string, other: string])[] = [
  ['mbps_rd', 'mbps'],
  ['mbps_wr', 'mbps'],
  ['iops_rd', 'iops'],
  ['iops_wr', 'iops'],
];

const BYTE_LIMITS = ['bps', 'bps_rd', 'bps_wr'] as const;

/**
 * What PVE's drive parser makes of a limit in bytes: it keeps that one is set and loses the
 * number, so that any `bps` is the same as `mbps=0.000` to it.
 */
const LOST_LIMIT = '0.000';

const DRIVE = /^(?:ide|sata|scsi|virtio)$/;

export function isDriveFamily(family: string): boolean {
  return DRIVE.test(family);
}

/** The properties as PVE's drive parser has them. */
export function readDriveLimits(properties: Properties): Properties {
  if (!BYTE_LIMITS.some((name) => properties.has(name))) return properties;
  const read = new Map(properties);
  for (const name of BYTE_LIMITS) {
    if (read.delete(name) && !read.has(`m${name}`)) read.set(`m${name}`, LOST_LIMIT);
  }
  return read;
}

/** True as Perl has it: not there, `0` and the empty text are false, `0.000` is true. */
function isOn(properties: Properties, name: string): boolean {
  const text = properties.get(name);
  return text !== undefined && text !== '' && text !== '0';
}

/** Null, or why PVE cannot parse a drive with these properties, all valid one by one. */
export function refuseDrive(family: string, written: Properties): string | null {
  for (const name of BYTE_LIMITS) {
    if (written.has(name) && written.has(`m${name}`)) return `both ${name} and m${name} are given`;
  }
  const properties = readDriveLimits(written);
  for (const [option, needed] of NEEDS) {
    if (isOn(properties, option) && !isOn(properties, needed)) return `${option} needs ${needed}`;
  }
  for (const [one, other] of EXCLUDES) {
    if (isOn(properties, one) && isOn(properties, other)) return `${one} excludes ${other}`;
  }
  return properties.get('media') === 'cdrom' ? refuseCdrom(family, properties) : null;
}

function refuseCdrom(family: string, properties: Properties): string | null {
  if (family === 'virtio') return 'a virtio drive cannot be a CD-ROM';
  if (properties.has('format')) return 'a CD-ROM has no format';
  const isSnapshot = parseBoolean(properties.get('snapshot') ?? '0') === '1';
  return isSnapshot ? 'a CD-ROM takes no snapshot' : null;
}
