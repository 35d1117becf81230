/**
 * A desired value is a pattern: what it names must match, what it leaves to PVE may be anything
 * and is kept when the value is written again (a MAC, a volume and its size, a generated uuid).
 *
 * Total and pure. What PVE does not fill in itself is never left to it: a property that is there
 * and not desired is drift.
 */
import type { GuestKind } from '../../reconcile/guest.ts';
import { isDriveFamily } from './drive-rules.ts';
import { findOption, type Option } from './options.ts';
import { matchesQuickly } from './property-match.ts';
import { type Properties, printPropertyString } from './property-string.ts';
import { type Meaning, readMeaning, sameMeaning } from './value-meaning.ts';
import { mediaOf, resolveRequest, volumeProperty } from './volumes.ts';

/** Keys whose value PVE never gives back: it answers asterisks (PVE-FACTS 27). */
const WRITE_ONLY: Readonly<Record<GuestKind, ReadonlySet<string>>> = {
  qemu: new Set(['cipassword']),
  lxc: new Set(),
};

const MASKED = /^\*+$/;
const GENERATED_UUID = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

type PropertyMeaning = Extract<Meaning, { kind: 'properties' }>;

export interface Comparison {
  readonly kind: GuestKind;
  readonly key: string;
  readonly desired: string;
  readonly actual: string | null;
}

export function isWriteOnlyKey(kind: GuestKind, key: string): boolean {
  return WRITE_ONLY[kind].has(key);
}

/** `vmgenid: 1` asks PVE for an id of its own. */
function isGeneratedId({ key, desired, actual }: Comparison): boolean {
  return key === 'vmgenid' && desired === '1' && actual !== null && GENERATED_UUID.test(actual);
}

/**
 * A value is one line of the config file, which PVE reads without the white space around it: of an
 * empty value one blank comes back (PVE-FACTS 27). A description has lines of its own, and a blank
 * one of a VM comes back empty.
 */
function isSameLine({ kind, key, desired, actual }: Comparison): boolean {
  if (actual === null) return false;
  if (key !== 'description') return desired.trim() === actual.trim();
  return kind === 'qemu' && actual === '' && desired.trim() === '';
}

const LEFT_TO_PVE = new WeakMap<Option, ReadonlySet<string>>();

/** The properties PVE fills in by itself where the text leaves them out. */
export function leftToPve(kind: GuestKind, option: Option): ReadonlySet<string> {
  let names = LEFT_TO_PVE.get(option);
  if (names === undefined) {
    const properties = [...(option.format?.properties ?? [])];
    names = new Set(
      properties
        .filter(([name, { format }]) => isLeftToPve(kind, option.family, { name, format }))
        .map(([name]) => name),
    );
    LEFT_TO_PVE.set(option, names);
  }
  return names;
}

function isLeftToPve(
  kind: GuestKind,
  family: string,
  { name, format }: { readonly name: string; readonly format: string | undefined },
): boolean {
  if (format === 'mac-addr' || format === 'disk-size') return true;
  if (family === 'smbios1') return name === 'uuid';
  // Which certificates PVE itself has put into the variables: a note it keeps up.
  if (family === 'efidisk0') return name === 'ms-cert';
  // An LXC net is a veth whether the text says so or not (lxc_config).
  return kind === 'lxc' && family === 'net' && name === 'type';
}

/** Does `actual` satisfy `desired`? Null and a text PVE keeps as nothing are the same. */
export function satisfies(comparison: Comparison): boolean {
  const { kind, key, desired, actual } = comparison;
  if (desired === actual) return true;
  const option = findOption(kind, key);
  if (option === null) return false;
  if (actual !== null && isWriteOnlyKey(kind, key) && MASKED.test(actual)) return true;
  if (isSameLine(comparison) || isGeneratedId(comparison)) return true;
  const wanted = readMeaning(kind, key, desired);
  if (wanted.kind !== 'properties' || actual === null) {
    return sameMeaning(wanted, readMeaning(kind, key, actual));
  }
  if (matchesQuickly(option, wanted.properties, actual, leftToPve(kind, option))) return true;
  const found = readMeaning(kind, key, actual);
  return found.kind === 'properties' && satisfiesProperties(kind, option, wanted, found);
}

function satisfiesProperties(
  kind: GuestKind,
  option: Option,
  wanted: PropertyMeaning,
  found: PropertyMeaning,
): boolean {
  const resolved = resolveVolume(kind, option, wanted.properties, found) ?? wanted.properties;
  for (const [name, value] of resolved) {
    if (found.properties.get(name) !== value) return false;
  }
  for (const name of found.properties.keys()) {
    if (!resolved.has(name) && !leftToPve(kind, option).has(name)) return false;
  }
  return true;
}

function resolveVolume(
  kind: GuestKind,
  option: Option,
  desired: Properties,
  found: PropertyMeaning,
): Properties | null {
  const volumeName = volumeProperty(kind, option.family);
  if (volumeName === null) return null;
  const media = isDriveFamily(option.family) ? mediaOf(desired) : null;
  if (media !== null && !desired.has('media')) return new Map(desired).set('media', media);
  return resolveRequest({ family: option.family, volumeName }, desired, found.properties);
}

/** What to write for `desired`: with what PVE had filled in kept. Else the text as it stands. */
export function keepFilledIn(comparison: Comparison): string {
  const { kind, key, desired, actual } = comparison;
  if (actual === null) return desired;
  if (isGeneratedId(comparison)) return actual;
  const option = findOption(kind, key);
  const wanted = readMeaning(kind, key, desired);
  const found = readMeaning(kind, key, actual);
  if (option === null || wanted.kind !== 'properties' || found.kind !== 'properties') {
    return desired;
  }
  const resolved = resolveVolume(kind, option, wanted.written, found);
  const base = resolved ?? wanted.written;
  const kept = keptProperties(kind, option, base, found);
  const text = resolved === null ? desired : printPropertyString(wanted.format, resolved);
  return kept.length === 0 ? text : `${text},${kept.join(',')}`;
}

function keptProperties(
  kind: GuestKind,
  option: Option,
  base: Properties,
  found: PropertyMeaning,
): readonly string[] {
  const volumeName = volumeProperty(kind, option.family);
  const isOtherVolume =
    volumeName !== null && base.get(volumeName) !== found.written.get(volumeName);
  // A size belongs to its volume; everything else belongs to the key.
  if (isOtherVolume) return [];
  return [...found.written]
    .filter(([name]) => !base.has(name) && leftToPve(kind, option).has(name))
    .map(([name, value]) => `${name}=${value}`);
}
