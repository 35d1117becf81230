/** What PVE's parser and its format checks do at their edges, rule by rule. */
import { expect, test } from 'vitest';
import { hasDrift, isSameValue } from '../../../src/proxmox/values/same-value.ts';
import { refuseValue } from '../../../src/proxmox/values/validity.ts';
import type { GuestKind } from '../../../src/reconcile/guest.ts';

type Value = readonly [why: string, kind: GuestKind, key: string, value: string];

const taken: readonly Value[] = [
  ['commas at the end name no CPU', 'qemu', 'affinity', '0,2-3,,'],
  ['no CPU at all', 'qemu', 'affinity', ''],
  ['a blank part of a start order', 'qemu', 'startup', '1, ,up=3,'],
  ['a prefix of a network with zeros', 'lxc', 'net0', 'name=eth0,ip=10.0.0.2/024'],
  ['the smallest number of bits', 'qemu', 'cpu', 'host,phys-bits=8'],
  ['a property that is 0 counts as not given yet', 'qemu', 'memory', 'current=0,512'],
  ['a property that is off counts as not given yet', 'qemu', 'agent', 'enabled=off,1'],
  ['letters of every script', 'lxc', 'env', 'GRÖSSE=1'],
  ['a dot is any character of a line', 'qemu', 'serial0', '/dev/a\u2028b'],
  ['only root may say so, but it is valid', 'qemu', 'vmgenid', '1'],
  ['a model of somebody’s own', 'qemu', 'cpu', 'custom-web'],
];

test.each(taken)('taken: %s', (_, kind, key, value) => {
  expect(refuseValue(kind, key, value)).toBeNull();
});

const refused: readonly Value[] = [
  ['a range of CPUs that goes down', 'qemu', 'affinity', '3-1'],
  ['a CPU without a number', 'qemu', 'affinity', ',1'],
  ['no start order', 'qemu', 'startup', ''],
  ['a bare 0, which is no start order', 'lxc', 'startup', '0'],
  ['a network that is too large', 'lxc', 'net0', 'name=eth0,ip=10.0.0.2/7'],
  ['a network of IPv6 that is too large', 'qemu', 'ipconfig0', 'ip6=fd00::2/7'],
  ['too few bits', 'qemu', 'cpu', 'host,phys-bits=7'],
  ['bits with a zero too many', 'qemu', 'cpu', 'host,phys-bits=040'],
  ['a CPU without its model', 'qemu', 'cpu', 'flags=+aes'],
  ['what only a model of somebody’s own may say', 'qemu', 'cpu', 'host,reported-model=kvm64'],
  ['a disk of firmware as a boot device', 'qemu', 'boot', 'order=efidisk0'],
  ['a boot device with a number PVE has not', 'qemu', 'boot', 'order=scsi31'],
  ['the default property twice', 'qemu', 'memory', '512,512'],
  ['a name with white space around it', 'qemu', 'net0', 'virtio , bridge=vmbr0'],
];

test.each(refused)('refused: %s', (_, kind, key, value) => {
  expect(refuseValue(kind, key, value)).not.toBeNull();
});

type Pair = readonly [why: string, kind: GuestKind, key: string, a: string, b: string];

const same: readonly Pair[] = [
  ['a blank part of a start order', 'qemu', 'startup', '1,,up=3', 'up=3,order=1'],
  ['a list by its format', 'lxc', 'searchdomain', 'a.org,b.org', 'a.org b.org'],
  ['a number with an exponent', 'qemu', 'cpulimit', '1e1', '10'],
  ['a sign', 'qemu', 'cores', '+4', '4'],
];

test.each(same)('the same: %s', (_, kind, key, a, b) => {
  expect(isSameValue(kind, key, [a, b])).toBe(true);
});

/** PVE keeps these as they were written, so a difference of text never comes by itself. */
const different: readonly Pair[] = [
  ['hot-plugged features in another order', 'qemu', 'hotplug', 'disk,usb', 'usb,disk'],
  ['search domains of a VM, which have no format', 'qemu', 'searchdomain', 'a,b', 'a b'],
  ['CPU flags in another order', 'qemu', 'cpu', 'host,flags=+aes;-pcid', 'host,flags=-pcid;+aes'],
  ['CPUs spelled out', 'qemu', 'affinity', '0-3', '0,1,2,3'],
  ['a top-level boolean that is none', 'qemu', 'onboot', '1', 'yes'],
  ['a mode, which is text', 'lxc', 'dev0', '/dev/fuse,mode=0660', '/dev/fuse,mode=660'],
];

test.each(different)('not the same: %s', (_, kind, key, a, b) => {
  expect(isSameValue(kind, key, [a, b])).toBe(false);
});

const readBack: readonly (readonly [...Value, read: string | null])[] = [
  ['white space around a value', 'qemu', 'args', ' -device x ', '-device x'],
  ['an empty value, of which a blank is left', 'qemu', 'ciuser', '', ' '],
  ['a blank description of a VM', 'qemu', 'description', ' \n', ''],
  ['a blank description of a container', 'lxc', 'description', ' ', ' \n'],
];

test.each(readBack)('no drift: %s', (_, kind, key, written, read) => {
  expect(hasDrift(kind, key, { written, read })).toBe(false);
});

test.each([
  ['white space inside a value', 'qemu', 'args', '-device  x', '-device x'],
  ['white space before a description', 'qemu', 'description', ' x', 'x'],
  ['white space after a container’s description', 'lxc', 'description', 'x ', 'x\n'],
] as const)('drift: %s', (_, kind, key, written, read) => {
  expect(hasDrift(kind, key, { written, read })).toBe(true);
});
