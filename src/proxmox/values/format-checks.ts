/**
 * The formats PVE checks by code: which texts it takes as an address, a volume, a boot device …
 *
 * Each check answers null, or why PVE would refuse. In doubt a text passes: PVE has the last word
 * anyway, and a check here must never refuse what PVE would take. A format without a check passes.
 */
import { isIPv4, isIPv6 } from 'node:net';
import { findOption } from './options.ts';

/** Null: PVE takes it. Else why not. */
type FormatCheck = (text: string) => string | null;

const DNS_NAME = /^(?:[a-z\d](?:[a-z\d-]*[a-z\d])?\.)*[a-z\d](?:[a-z\d-]*[a-z\d])?$/i;
const VOLUME_ID = /^[a-z][a-z0-9\-_.]*[a-z0-9]:.+$/is;
const TAG = /^[a-z0-9_][a-z0-9_\-+.]*$/i;
const STARTUP_PART = /^(?:(?:order=)?\d+|(?:up|down)=\d+|\s*)$/;
const CPU_RANGE = /^\s*(\d+)(?:-(\d+))?\s*$/;
/** `a/../b`, `../b`: a path may not climb. */
const CLIMBING = /\/\.\.?(?:\/|$)|^\.\.?\//;
const BOOT_DEVICE = /^(?:ide|sata|scsi|virtio|net|usb|hostpci)\d+$/;
/** PVE takes no network that is larger. */
const SHORTEST_PREFIX = 8;
const HOTPLUG = new Set(['network', 'disk', 'cpu', 'memory', 'usb', 'cloudinit']);

function matching(pattern: RegExp, what: string): FormatCheck {
  return (text) => (pattern.test(text) ? null : `'${text}' is not ${what}`);
}

function when(test: (text: string) => boolean, what: string): FormatCheck {
  return (text) => (test(text) ? null : `'${text}' is not ${what}`);
}

/** PVE's lists: separated by commas, semicolons or white space, or by NUL alone. */
export function splitList(text: string): readonly string[] {
  if (text.includes('\0')) return text.split('\0');
  return text.split(/[,;\s]+/).filter((element) => element !== '');
}

function isIpv6(text: string): boolean {
  return isIPv6(text) && !text.includes('%');
}

function isAddress(text: string): boolean {
  return isIPv4(text) || isIpv6(text);
}

function isNetwork(text: string, isIp: (text: string) => boolean, bits: number): boolean {
  const [, address = '', length = ''] = /^(.*)\/(\d+)$/.exec(text) ?? [];
  return isIp(address) && Number(length) >= SHORTEST_PREFIX && Number(length) <= bits;
}

function isVolume(text: string): boolean {
  return VOLUME_ID.test(text);
}

/** `fe80::1%eth0` reaches a name server through one interface. */
function isAddressOnLink(text: string): boolean {
  const [address = '', link] = text.split('%', 2);
  return link === undefined ? isAddress(address) : isIpv6(address) && link !== '';
}

function isBootDevice(text: string): boolean {
  return BOOT_DEVICE.test(text) && findOption('qemu', text) !== null;
}

/** Commas at the end name no part, to PVE. */
function isCpuSet(text: string): boolean {
  const parts = text.split(',');
  while (parts.at(-1) === '') parts.pop();
  return parts.every((part) => {
    const [, from, to = from] = CPU_RANGE.exec(part) ?? [];
    return from !== undefined && Number(to) >= Number(from);
  });
}

function isPhysBits(text: string): boolean {
  return text === 'host' || (/^\d{1,2}$/.test(text) && Number(text) >= 8 && Number(text) <= 64);
}

/** PVE's check takes an empty text, and a bare `0`, for no order at all. */
function isStartup(text: string): boolean {
  return text !== '' && text !== '0' && text.split(',').every((part) => STARTUP_PART.test(part));
}

function isHotplug(text: string): boolean {
  return text === '0' || text === '1' || splitList(text).every((feature) => HOTPLUG.has(feature));
}

/** The zone database is the host's; ICU knows every zone it lists, and the aliases. */
function isTimezone(text: string): boolean {
  if (/^(?:host|localtime|Factory|posixrules|(?:posix|right)\/.+)$/.test(text)) return true;
  try {
    return new Intl.DateTimeFormat('en', { timeZone: text }).resolvedOptions().timeZone !== '';
  } catch {
    return false;
  }
}

const volumeOrPath = when((text) => text.startsWith('/') || isVolume(text), 'a volume or a path');
const volume = when(isVolume, 'a volume ID (STORAGE:VOLUME)');
const containerPath = when((text) => !CLIMBING.test(text), 'a path without ./ and ../');
const devicePath = when(
  (text) => text.startsWith('/dev/') && !CLIMBING.test(text),
  'a path below /dev',
);
const dnsName = matching(DNS_NAME, 'a DNS name');

const CHECKS: ReadonlyMap<string, FormatCheck> = new Map([
  ['address', when((text) => isAddress(text) || DNS_NAME.test(text), 'an address')],
  ['disk-size', matching(/^\d+(?:\.\d+)?[KMGT]?$/, 'a size such as 32G')],
  ['dns-name', dnsName],
  ['ipv4', when(isIPv4, 'an IPv4 address')],
  ['ipv6', when(isIpv6, 'an IPv6 address')],
  ['lxc-ip-with-ll-iface', when(isAddressOnLink, 'an IP address')],
  ['mac-addr', matching(/^[a-f0-9][02468ace](?::[a-f0-9]{2}){5}$/i, 'a unicast MAC address')],
  ['pve-bridge-id', matching(/^[-_.\p{L}\p{M}\p{N}]+$/u, 'a bridge name')],
  ['pve-configid', matching(/^[a-z][a-z0-9_-]+$/i, 'a configuration ID')],
  ['pve-cpuset', when(isCpuSet, 'CPUs such as 0,2-3')],
  ['pve-ct-timezone', when(isTimezone, 'a time zone')],
  ['pve-hotplug-features', when(isHotplug, 'a list of hotplug features, 0 or 1')],
  [
    'pve-ipv4-config',
    when(
      (text) => text === 'dhcp' || text === 'manual' || isNetwork(text, isIPv4, 32),
      'dhcp, manual or an IPv4 network such as 10.0.0.2/24',
    ),
  ],
  [
    'pve-ipv6-config',
    when(
      (text) => /^(?:auto|dhcp|manual)$/.test(text) || isNetwork(text, isIpv6, 128),
      'auto, dhcp, manual or an IPv6 network such as fd00::2/64',
    ),
  ],
  ['pve-lxc-dev-string', devicePath],
  ['pve-lxc-mp-string', containerPath],
  ['pve-phys-bits', when(isPhysBits, 'host or a number of bits from 8 to 64')],
  ['pve-qm-bootdev', when(isBootDevice, 'a boot device')],
  ['pve-qm-bootdisk', when(isBootDevice, 'a disk')],
  ['pve-startup-order', when(isStartup, 'a start order such as order=1,up=30,down=60')],
  ['pve-storage-id', matching(/^[a-z][a-z0-9\-_.]*[a-z0-9]$/i, 'a storage ID')],
  ['pve-tag', matching(TAG, 'a tag')],
  ['pve-volume-id', volume],
  ['pve-volume-id-or-absolute-path', volumeOrPath],
  [
    'pve-volume-id-or-qm-path',
    (text) => (text === 'none' || text === 'cdrom' ? null : volumeOrPath(text)),
  ],
  ['urlencoded', matching(/^[-%a-zA-Z0-9_.!~*'()]*$/, 'URL-encoded')],
]);

/** Null: PVE takes it as that format, or the format is not known here. */
export function checkFormat(format: string, text: string): string | null {
  const check = CHECKS.get(format);
  if (check !== undefined) return check(text);
  const element = format.endsWith('-list') ? CHECKS.get(format.slice(0, -'-list'.length)) : null;
  if (element === null || element === undefined) return null;
  for (const part of splitList(text)) {
    const why = element(part);
    if (why !== null) return why;
  }
  return null;
}
