/** What no API token may change: as a real node said it, and what depends on the guest. */
import { describe, expect, it, test } from 'vitest';
import { refuseToTokens } from '../../../src/proxmox/values/root-only.ts';
import type { GuestKind } from '../../../src/reconcile/guest.ts';
import { readSteps } from '../transcripts.ts';

const NONE: ReadonlyMap<string, string> = new Map();

describe('a real node, asked with tokens of root@pam and of another user', () => {
  const kinds: readonly GuestKind[] = ['qemu', 'lxc'];
  const writes = readSteps().flatMap(({ method, path, auth, sent, status, reason }) => {
    const kind = kinds.find((each) => new RegExp(`/${each}/\\d+/config$`).test(path));
    const [only, more] = Object.entries(sent);
    if (method !== 'PUT' || kind === undefined) return [];
    if (only === undefined || more !== undefined) return [];
    const [key, text] = only;
    const write = key === 'delete' ? { key: `${text}`, to: null } : { key, to: `${text}` };
    const isRefused = /only root can|only allowed for root@pam|read-only option/.test(reason);
    return [{ name: `${auth} ${key}=${text} ${status}`, kind, ...write, isRefused }];
  });

  it('was asked for both', () => {
    expect(writes.filter(({ isRefused }) => isRefused).length).toBeGreaterThan(30);
    expect(writes.filter(({ isRefused }) => !isRefused).length).toBeGreaterThan(150);
  });

  it.each(writes)('$kind $name', ({ kind, key, to, isRefused }) => {
    const why = refuseToTokens({ kind, key, from: null, to, current: NONE });
    expect(why !== null).toBe(isRefused);
  });
});

type Change = readonly [
  name: string,
  kind: GuestKind,
  key: string,
  from: string | null,
  to: string | null,
];

const refused: readonly Change[] = [
  ['a real serial port taken away', 'qemu', 'serial0', '/dev/ttyS0', null],
  ['a real serial port made a socket', 'qemu', 'serial0', '/dev/ttyS0', 'socket'],
  ['a real USB device taken away', 'qemu', 'usb0', 'host=1234:5678,usb3=1', null],
  ['a PCI device in place of a mapped one', 'qemu', 'hostpci0', 'mapping=gpu', '01:00.0'],
  ['a pinning taken away', 'qemu', 'affinity', '0-3', null],
  ['a device of the host as a disk', 'qemu', 'scsi1', null, '/dev/sdb,discard=on'],
  ['an option of such a disk', 'qemu', 'scsi1', '/dev/sdb', 'file=/dev/sdb,ssd=1'],
  ['a device as a mount point', 'lxc', 'mp0', null, 'volume=/dev/sdb1,mp=/data'],
  ['an option of a folder of the host', 'lxc', 'mp0', '/srv,mp=/srv', '/srv,mp=/srv,ro=1'],
  ['a device of a container', 'lxc', 'dev0', '/dev/kvm', null],
];

test.each(refused)('refused: %s', (_, kind, key, from, to) => {
  expect(refuseToTokens({ kind, key, from, to, current: NONE })).toContain('only root');
});

const allowed: readonly Change[] = [
  ['a mapped PCI device', 'qemu', 'hostpci0', null, 'mapping=gpu,pcie=1'],
  ['a mapped USB device', 'qemu', 'usb0', 'spice', 'mapping=stick'],
  ['USB over SPICE, as it may be written', 'qemu', 'usb0', 'host=SPICE', 'spice,usb3=1'],
  ['a hook script of a VM', 'qemu', 'hookscript', null, 'local:snippets/a.pl'],
  ['a device of the host taken from a VM', 'qemu', 'scsi1', '/dev/sdb', null],
  ['a folder of the host taken from a container', 'lxc', 'mp0', '/srv,mp=/srv', null],
  ['a key no table knows', 'qemu', 'bogus', null, '1'],
];

test.each(allowed)('a matter of privileges: %s', (_, kind, key, from, to) => {
  expect(refuseToTokens({ kind, key, from, to, current: NONE })).toBeNull();
});

test.each(['0', '1', null])('a container stays as privileged as it was made: %s', (to) => {
  const write = { kind: 'lxc', key: 'unprivileged', from: null, to, current: NONE } as const;
  expect(refuseToTokens(write)).toContain('fixed');
});

describe('features', () => {
  const unprivileged = new Map([['unprivileged', '1']]);

  it.each([
    [null, 'nesting=1'],
    ['keyctl=1', 'nesting=1,keyctl=1'],
    ['nesting=1', null],
  ])('nesting of an unprivileged container is free: %s to %s', (from, to) => {
    const write = { kind: 'lxc', key: 'features', from, to } as const;
    expect(refuseToTokens({ ...write, current: unprivileged })).toBeNull();
    expect(refuseToTokens({ ...write, current: NONE })).toContain('privileged container');
  });

  it.each([
    [null, 'nesting=1,keyctl=1'],
    ['keyctl=1', 'nesting=1'],
    ['fuse=1', null],
  ])('any other is not: %s to %s', (from, to) => {
    const write = { kind: 'lxc', key: 'features', from, to } as const;
    expect(refuseToTokens({ ...write, current: unprivileged })).toMatch(/^(?:keyctl|fuse): only/);
  });
});
