/** The formats which the schema only names and code checks. null: fits; else PVE's words. */
import { isIPv4, isIPv6 } from 'node:net';

type Check = (text: string) => string | null;

const matches =
  (pattern: RegExp, why: string): Check =>
  (text) =>
    pattern.test(text) ? null : why;

const LABEL = '[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?';
const DNS_NAME = new RegExp(`^(?:${LABEL}\\.)*${LABEL}$`);
const VMID = /^[1-9]\d{2,8}$/;

/** Every item of a list separated by commas, semicolons, white space or NUL. */
function each(check: Check): Check {
  return (text) => {
    for (const item of text.split(/[,;\s\0]+/)) {
      const why = item === '' ? null : check(item);
      if (why !== null) return why;
    }
    return null;
  };
}

function network(text: string, isAddress: (address: string) => boolean, bits: number): boolean {
  const [address = '', prefix = '', ...rest] = text.split('/');
  return rest.length === 0 && isAddress(address) && /^\d+$/.test(prefix) && Number(prefix) <= bits;
}

const checkIpv4Config: Check = (text) =>
  text === 'dhcp' || text === 'manual' || network(text, isIPv4, 32)
    ? null
    : 'value does not look like a valid ipv4 network configuration';

const checkIpv6Config: Check = (text) =>
  ['auto', 'dhcp', 'manual'].includes(text) || network(text, isIPv6, 128)
    ? null
    : 'value does not look like a valid ipv6 network configuration';

const checkAddress: Check = (text) =>
  isIPv4(text) || isIPv6(text) ? null : `value does not look like a valid address: ${text}`;

const checkStartup: Check = (text) => {
  const isValid = text
    .split(',')
    .every((part) => /^\s*(?:(?:order=)?\d+|up=\d+|down=\d+)\s*$/.test(part));
  return isValid && text !== '' ? null : 'unable to parse startup options';
};

const checkTag = matches(/^[a-zA-Z0-9_][a-zA-Z0-9_\-+.]*$/, 'invalid characters in tag');

const checkUrlEncoded: Check = (text) =>
  /^(?:[A-Za-z0-9\-_.!~*'()]|%[0-9a-fA-F]{2})*$/.test(text)
    ? null
    : `invalid urlencoded string: ${text}`;

const checkVolume: Check = (text) =>
  /^[a-zA-Z][a-zA-Z0-9\-_.]*[a-zA-Z0-9]:.+$/.test(text)
    ? null
    : `unable to parse volume ID '${text}'`;

const checkHotplug: Check = (text) => {
  if (text === '0' || text === '1') return null;
  const bad = text
    .split(/[,;\s]+/)
    .find((part) => !['network', 'disk', 'cpu', 'memory', 'usb', 'cloudinit'].includes(part));
  return bad === undefined ? null : `invalid hotplug feature '${bad}'`;
};

const checkDriveFile: Check = (text) =>
  text === 'none' || text === 'cdrom' || text.startsWith('/') ? null : checkVolume(text);

export const NAMED_FORMATS: Readonly<Record<string, Check>> = {
  'pve-vmid': matches(VMID, 'value does not look like a valid VM ID'),
  'pve-node': matches(
    /^[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?$/,
    'value does not look like a valid node name',
  ),
  'dns-name': matches(DNS_NAME, 'value does not look like a valid DNS name'),
  'dns-name-list': each(matches(DNS_NAME, 'value does not look like a valid DNS name')),
  'address-list': each(checkAddress),
  'lxc-ip-with-ll-iface-list': each((text) =>
    isIPv4(text) || isIPv6(text.split('%')[0] ?? '')
      ? null
      : 'value does not look like a valid IP address',
  ),
  'mac-addr': matches(
    /^[0-9a-fA-F][02468aceACE](?::[0-9a-fA-F]{2}){5}$/,
    'value does not look like a valid unicast MAC address',
  ),
  ipv4: (text) => (isIPv4(text) ? null : 'value does not look like a valid IPv4 address'),
  ipv6: (text) => (isIPv6(text) ? null : 'value does not look like a valid IPv6 address'),
  'pve-ipv4-config': checkIpv4Config,
  'pve-ipv6-config': checkIpv6Config,
  'pve-bridge-id': matches(/^[-_.\w\d]+$/, 'invalid bridge ID'),
  'pve-configid': (text) =>
    /^[a-z][a-z0-9_-]+$/i.test(text) ? null : `invalid configuration ID '${text}'`,
  'pve-storage-id': (text) =>
    /^[a-z][a-z0-9\-_.]*[a-z0-9]$/i.test(text)
      ? null
      : `storage ID '${text}' contains illegal characters`,
  'pve-tag-list': (text) => {
    const tags = text.split(/[,;\s\0]+/).filter((tag) => tag !== '');
    return tags.map(checkTag).find((why) => why !== null) ?? null;
  },
  'pve-startup-order': checkStartup,
  'pve-hotplug-features': checkHotplug,
  'pve-cpuset': matches(
    /^\s*\d+(?:-\d+)?(?:\s*,\s*\d+(?:-\d+)?)*\s*$/,
    'unable to parse cpuset option',
  ),
  'pve-volume-id': checkVolume,
  'pve-volume-id-or-qm-path': checkDriveFile,
  'pve-volume-id-or-absolute-path': (text) => (text.startsWith('/') ? null : checkVolume(text)),
  'pve-lxc-mp-string': (text) =>
    /(?:^|\/)\.\.(?:\/|$)/.test(text) ? `${text} contains illegal character sequences` : null,
  'pve-lxc-dev-string': matches(/^\/dev\//, 'must be a device path'),
  'disk-size': (text) =>
    /^\d+(?:\.\d+)?[KMGT]?$/.test(text)
      ? null
      : `value does not look like a valid disk size: ${text}`,
  urlencoded: checkUrlEncoded,
  'pve-task-status-type-list': each((text) =>
    ['ok', 'error', 'warning', 'unknown'].includes(text) ? null : `invalid task state '${text}'`,
  ),
  'pve-ha-resource-or-vm-id': matches(
    /^(?:(?:vm|ct):)?\d+$/,
    'value does not look like a valid ha resource id',
  ),
};
