/**
 * What undoing a config change takes (CONTRACT 1): `benign` what can be set back to the text it
 * had, `irreversible` what allocates, detaches or destroys a volume, what makes PVE generate an
 * identity anew, and everything that is not listed here as reversible.
 *
 * From the two texts alone. A change of config is never `disruptive`: PVE applies it to a running
 * guest or leaves it pending, it stops nothing.
 */
import type { GuestKind } from '../../reconcile/guest.ts';
import type { Reversibility } from '../../reconcile/op.ts';
import { findOption } from './options.ts';
import type { Properties } from './property-string.ts';
import { readMeaning } from './value-meaning.ts';
import {
  isCloudinitVolume,
  isDisc,
  mediaOf,
  parseVolumeRequest,
  volumeProperty,
} from './volumes.ts';

function words(text: string): ReadonlySet<string> {
  return new Set(text.trim().split(/\s+/));
}

/**
 * Families without a volume whose old text, written again, brings the old state back. Left out on
 * purpose: `vmgenid` (a new id is an event the guest acts on), `template` and `lock` (nobody but
 * root gets out of them), `unprivileged` (fixed at creation), `cdrom` and `smp` (other names of
 * other keys).
 */
const REVERSIBLE: Readonly<Record<GuestKind, ReadonlySet<string>>> = {
  qemu: words(`
    acpi affinity agent allow-ksm amd-sev arch args audio0 autostart balloon bios boot
    bootdisk cicustom cipassword citype ciupgrade ciuser cores cpu cpulimit cpuunits
    description freeze hookscript hostpci hotplug hugepages intel-tdx ipconfig ivshmem
    keephugepages keyboard kvm localtime machine memory migrate_downtime migrate_speed name
    nameserver net numa onboot ostype parallel protection reboot rng0 scsihw searchdomain
    serial shares smbios1 sockets spice_enhancements sshkeys startdate startup tablet tags
    tdf usb vcpus vga virtiofs vmstatestorage watchdog
  `),
  lxc: words(`
    arch cmode console cores cpulimit cpuunits debug description dev entrypoint env features
    hookscript hostname memory nameserver net onboot ostype protection searchdomain startup
    swap tags timezone tty
  `),
};

/**
 * Properties of a volume that may change while it stays the same volume. Left out on purpose:
 * `snapshot` (what the guest writes is thrown away), `format` (other bytes are read as the disk),
 * `efitype`, `ms-cert`, `pre-enrolled-keys` and `version` (the content has to match them).
 */
const REVERSIBLE_ON_VOLUME: ReadonlySet<string> = words(`
    aio backup cache detect_zeroes discard iothread model product queues replicate rerror ro
    scsiblock serial shared size ssd vendor werror wwn iops iops_max iops_max_length iops_rd
    iops_rd_max iops_rd_max_length iops_wr iops_wr_max iops_wr_max_length mbps mbps_max
    mbps_rd mbps_rd_max mbps_wr mbps_wr_max bps_max_length bps_rd_max_length
    bps_wr_max_length acl keepattrs mountoptions mp quota
  `);

export interface ConfigChange {
  readonly kind: GuestKind;
  readonly key: string;
  /** Undefined: not known. */
  readonly from: string | null | undefined;
  readonly to: string | null;
}

/**
 * Total. A key no table knows is `irreversible`, and so is a text that cannot be parsed. Where it
 * is not known what is there: the mildest class it can be.
 */
export function classifyChange({ kind, key, from, to }: ConfigChange): Reversibility {
  if (from === to) return 'benign';
  const family = findOption(kind, key)?.family;
  if (family === undefined) return 'irreversible';
  const volumeName = volumeProperty(kind, family);
  if (volumeName === null) return REVERSIBLE[kind].has(family) ? 'benign' : 'irreversible';
  // `unused0` is what is left of a disk, and deleting the name deletes the disk; `cdrom` writes
  // ide2, whatever is in there.
  if (family === 'unused' || family === 'cdrom') return 'irreversible';
  const after = readDrive(kind, key, to);
  if (after === 'unknown') return 'irreversible';
  if (from === undefined) {
    return isLight(kind, volumeName, after) || !makesVolume(volumeName, after)
      ? 'benign'
      : 'irreversible';
  }
  const before = readDrive(kind, key, from);
  if (before === 'unknown') return 'irreversible';
  return isReversible(kind, volumeName, before, after) ? 'benign' : 'irreversible';
}

/** Null: not set. */
function readDrive(
  kind: GuestKind,
  key: string,
  text: string | null,
): Properties | null | 'unknown' {
  if (text === null) return null;
  const meaning = readMeaning(kind, key, text);
  return meaning.kind === 'properties' ? meaning.properties : 'unknown';
}

function isReversible(
  kind: GuestKind,
  volumeName: string,
  before: Properties | null,
  after: Properties | null,
): boolean {
  if (isLight(kind, volumeName, before) && isLight(kind, volumeName, after)) return true;
  if (before === null || after === null) return false;
  if (before.get(volumeName) !== after.get(volumeName)) return false;
  if (makesVolume(volumeName, after)) return false;
  const names = new Set([...before.keys(), ...after.keys()]);
  return [...names].every(
    (name) => before.get(name) === after.get(name) || REVERSIBLE_ON_VOLUME.has(name),
  );
}

function makesVolume(volumeName: string, drive: Properties | null): boolean {
  if (drive === null) return false;
  return drive.has('import-from') || parseVolumeRequest(drive.get(volumeName) ?? '') !== null;
}

/**
 * Nothing is allocated when it comes and nothing is left when it goes: an ISO or an empty drive,
 * marked as CD-ROM so that PVE treats it as one, and a folder of the host in a container.
 */
function isLight(kind: GuestKind, volumeName: string, drive: Properties | null): boolean {
  if (drive === null) return true;
  const volume = drive.get(volumeName) ?? '';
  if (drive.has('import-from') || drive.get('snapshot') === '1') return false;
  if (kind === 'lxc') return volume.startsWith('/') && !volume.startsWith('/dev/');
  return mediaOf(drive) === 'cdrom' && isDisc(volume) && !isCloudinitVolume(volume);
}
