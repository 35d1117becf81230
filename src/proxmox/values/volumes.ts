/**
 * The volumes of a guest as its config names them: what is new, what is there already, what is a
 * mere disc in a drive. From the text alone, nothing is looked up.
 */
import type { GuestKind } from '../../reconcile/guest.ts';
import type { ConfigWrite } from '../../reconcile/ports.ts';
import { findOption } from './options.ts';
import type { Properties } from './property-string.ts';
import { parseSizeBytes, readMeaning } from './value-meaning.ts';

/** Families whose values name a volume, and the property that does. */
const VOLUME_PROPERTY: Readonly<Record<GuestKind, Readonly<Record<string, string>>>> = {
  qemu: {
    ide: 'file',
    sata: 'file',
    scsi: 'file',
    virtio: 'file',
    efidisk0: 'file',
    tpmstate0: 'file',
    cdrom: 'file',
    unused: 'file',
  },
  lxc: { rootfs: 'volume', mp: 'volume', unused: 'volume' },
};

/** Small disks PVE makes in a size of its own, whatever the number says (config_option_kinds). */
const FIXED_SIZE = new Set(['efidisk0', 'tpmstate0']);

const GIB = 1024 ** 3;

/** Storages round a new volume up to their extents; the largest in use are well below this. */
const ROUNDING_BYTES = 64 * 1024 ** 2;

/** The property that names the volume, or null where the option has none. */
export function volumeProperty(kind: GuestKind, family: string): string | null {
  return VOLUME_PROPERTY[kind][family] ?? null;
}

export type VolumeRequest =
  | { readonly kind: 'disk'; readonly storage: string; readonly gib: number }
  | { readonly kind: 'cloudinit'; readonly storage: string };

/** `local-lvm:32` and `local-lvm:cloudinit` ask for a new volume; null for anything else. */
export function parseVolumeRequest(volume: string): VolumeRequest | null {
  const [, storage, wanted = ''] = /^([^/:\s]+):(\d+(?:\.\d+)?|cloudinit)$/.exec(volume) ?? [];
  if (storage === undefined) return null;
  return wanted === 'cloudinit'
    ? { kind: 'cloudinit', storage }
    : { kind: 'disk', storage, gib: Number(wanted) };
}

export function isCloudinitVolume(volume: string): boolean {
  return /[:/-]cloudinit(?:\.[a-z0-9]+)?$/.test(volume);
}

/** An ISO image, the host's own drive, or nothing: what a CD-ROM drive can hold and give back. */
export function isDisc(volume: string): boolean {
  return volume === 'none' || volume === 'cdrom' || /^[^/:\s]+:iso\//.test(volume);
}

/** As PVE has it: an empty drive and the host's own are CD-ROMs where nothing is said. */
export function mediaOf(drive: Properties): string | null {
  const volume = drive.get('file');
  return drive.get('media') ?? (volume === 'none' || volume === 'cdrom' ? 'cdrom' : null);
}

/** A disk some guest owns: `local-lvm:vm-101-disk-0`, `local:101/base-101-disk-0.qcow2`. */
function isOwnedVolume(volume: string): boolean {
  return /^[^/:\s]+:(?:.*\/)?(?:vm|base|subvol|basevol)-\d+-/.test(volume);
}

/**
 * Desired properties that ask for a new volume, read as what PVE made of them: the volume of
 * `actual`, if it may be the one that was asked for. Null: it is not, or nothing was asked for.
 */
export function resolveRequest(
  option: { readonly family: string; readonly volumeName: string },
  desired: Properties,
  actual: Properties,
): Properties | null {
  const request = parseVolumeRequest(desired.get(option.volumeName) ?? '');
  const volume = actual.get(option.volumeName);
  if (request === null || volume === undefined) return null;
  if (!volume.startsWith(`${request.storage}:`) || !isOwnedVolume(volume)) return null;
  const resolved = new Map(desired).set(option.volumeName, volume);
  // PVE uses these up when it makes the volume (config_option_kinds: scsi1).
  resolved.delete('format');
  resolved.delete('import-from');
  if (request.kind === 'cloudinit') {
    return isCloudinitVolume(volume) ? resolved.set('media', 'cdrom') : null;
  }
  const isFree = FIXED_SIZE.has(option.family) || request.gib === 0 || desired.has('import-from');
  return isFree || isSizeAsked(request.gib, actual.get('size')) ? resolved : null;
}

function isSizeAsked(gib: number, size: string | undefined): boolean {
  const bytes = size === undefined ? null : parseSizeBytes(size);
  if (bytes === null) return true;
  const extra = bytes - Math.trunc(gib * GIB);
  return extra >= 0 && extra < ROUNDING_BYTES;
}

/** A size is a note about the volume: writing another one resizes nothing (PVE-FACTS 49). */
export function refuseResize({ kind, key, from, to }: ConfigWrite): string | null {
  const volumeName = volumeProperty(kind, findOption(kind, key)?.family ?? '');
  const before = readMeaning(kind, key, from);
  const after = readMeaning(kind, key, to);
  if (volumeName === null || before.kind !== 'properties' || after.kind !== 'properties') {
    return null;
  }
  const [is, was] = [after, before].map(({ properties }) => properties.get('size'));
  const isSameVolume = before.properties.get(volumeName) === after.properties.get(volumeName);
  if (!isSameVolume || is === was || is === undefined || was === undefined) return null;
  const command = kind === 'qemu' ? 'qm disk resize' : 'pct resize';
  return `size: writing it resizes nothing; use ${command}, or leave it out`;
}
