/**
 * Changes PVE lets root make and no API token, whatever its privileges, and one it lets nobody make
 * (PVE-FACTS 45, 46; transcripts config_option_kinds, put_bad_params, delete_and_revert,
 * lxc_config). One of them refuses the whole write, so they must be known before.
 *
 * What a privilege can allow (a hook script of a VM, a mapped device) is not refused here.
 */
import type { GuestKind } from '../../reconcile/guest.ts';
import type { ConfigWrite } from '../../reconcile/ports.ts';
import { findOption } from './options.ts';
import { readMeaning } from './value-meaning.ts';
import { volumeProperty } from './volumes.ts';

const NO_TOKEN = 'only root may change it, on the host: no API token can';

/** Families that are root's whatever the value, to set and to delete. */
const ROOT_ONLY: Readonly<Record<GuestKind, ReadonlySet<string>>> = {
  qemu: new Set(
    (
      'affinity amd-sev arch args hugepages ivshmem keephugepages lock parallel ' +
      'spice_enhancements vmgenid'
    ).split(' '),
  ),
  lxc: new Set(['dev', 'hookscript']),
};

/** Null: a token with the privileges for it can make this change, or it is not known. */
export function refuseToTokens(write: ConfigWrite): string | null {
  const { kind, key, from, to } = write;
  const family = findOption(kind, key)?.family;
  if (family === undefined) return null;
  if (ROOT_ONLY[kind].has(family)) return NO_TOKEN;
  if (kind === 'lxc' && family === 'unprivileged') return 'it is fixed when the container is made';
  // Taking a folder or device of the host away from a guest is allowed.
  const volume = volumeProperty(kind, family);
  if (volume !== null && propertiesOf(kind, key, to)?.get(volume)?.startsWith('/')) {
    return `it is a folder or device of the host's: ${NO_TOKEN}`;
  }
  if (kind === 'qemu') {
    const isReal = [from, to].some((text) => text !== null && isRealDevice(key, family, text));
    return isReal ? `it is a device of the host's: ${NO_TOKEN}` : null;
  }
  return family === 'features' ? refuseFeatures(write) : null;
}

function propertiesOf(
  kind: GuestKind,
  key: string,
  text: string | null,
): ReadonlyMap<string, string> | null {
  const meaning = readMeaning(kind, key, text);
  return meaning.kind === 'properties' ? meaning.properties : null;
}

/** What a mapping names is a matter of privileges; `socket` and `spice` name nothing real. */
function isRealDevice(key: string, family: string, text: string): boolean {
  if (family === 'serial') return text !== 'socket';
  const host = propertiesOf('qemu', key, text)?.get('host');
  if (host === undefined) return false;
  return family === 'hostpci' || (family === 'usb' && host.toLowerCase() !== 'spice');
}

function refuseFeatures({ key, from, to, current }: ConfigWrite): string | null {
  if (current.get('unprivileged') !== '1') {
    return `a feature of a privileged container: ${NO_TOKEN}`;
  }
  const before = propertiesOf('lxc', key, from);
  const after = propertiesOf('lxc', key, to);
  const names = new Set([...(before?.keys() ?? []), ...(after?.keys() ?? [])]);
  names.delete('nesting');
  const changed = [...names].filter((name) => before?.get(name) !== after?.get(name));
  return changed.length === 0 ? null : `${changed.join(', ')}: ${NO_TOKEN}`;
}
