/**
 * What the text of a config value means to PVE, in a form in which two texts that mean the same
 * are equal: order, aliases, default keys, MAC case, size units, boolean and number spellings gone.
 *
 * Total: a key or a property no table knows, and a text PVE could not parse, mean their own text.
 * An explicit default stays, since PVE keeps what is written.
 */
import type { GuestKind } from '../../reconcile/guest.ts';
import { isDriveFamily, readDriveLimits } from './drive-rules.ts';
import { splitList } from './format-checks.ts';
import { findOption, type Option, type PropertyFacts, type PropertyFormat } from './options.ts';
import { type Properties, parseBoolean, parsePropertyString } from './property-string.ts';
import { isInteger, isNumber } from './validity.ts';

export type Meaning =
  | { readonly kind: 'unset' }
  | { readonly kind: 'text'; readonly text: string }
  /** `written`: as PVE's parser has them; `properties`: in the form that is compared. */
  | {
      readonly kind: 'properties';
      readonly format: PropertyFormat;
      readonly written: Properties;
      readonly properties: Properties;
    };

const UNSET: Meaning = { kind: 'unset' };

const UNIT_BYTES: Readonly<Record<string, number>> = {
  K: 1024,
  M: 1024 ** 2,
  G: 1024 ** 3,
  T: 1024 ** 4,
};

function asText(text: string): Meaning {
  return { kind: 'text', text };
}

/** `1536M` in bytes, rounded down as PVE does; null for a text that is no size. */
export function parseSizeBytes(text: string): number | null {
  const [, count, unit = ''] = /^(\d+(?:\.\d+)?)([KMGT]?)$/.exec(text) ?? [];
  return count === undefined ? null : Math.trunc(Number(count) * (UNIT_BYTES[unit] ?? 1));
}

/** Digits as text: an integer beyond 2^53 keeps them all. */
function plainInteger(text: string): string {
  const digits = text.replace(/^[+-]?0*(?=\d)/, '');
  return text.startsWith('-') && digits !== '0' ? `-${digits}` : digits;
}

function plainNumber(text: string): string {
  const number = Number(text);
  return Number.isFinite(number) ? String(number) : text;
}

function plainScalar(facts: Pick<PropertyFacts, 'type' | 'format'>, text: string): string {
  if (facts.type === 'integer') return isInteger(text) ? plainInteger(text) : text;
  if (facts.type === 'number') return isNumber(text) ? plainNumber(text) : text;
  if (facts.type === 'boolean') return parseBoolean(text) ?? text;
  if (facts.format === 'mac-addr') return text.toLowerCase();
  if (facts.format === 'disk-size') return String(parseSizeBytes(text) ?? text);
  // A list is one by its format. A VM's `searchdomain`, `hotplug` and `affinity` have none that
  // says so, and PVE keeps their text: they are compared as it.
  if (facts.format?.endsWith('-list') === true) return splitList(text).join(';');
  return text;
}

/** By hand: a pattern would look at a long run of newlines once for each of them. */
function dropLastNewlines(text: string): string {
  let end = text.length;
  while (text[end - 1] === '\n') end -= 1;
  return text.slice(0, end);
}

/**
 * PVE keeps a description as one comment line per line of text: empty lines at the end are lost,
 * and without any line there is none. QEMU then also cuts white space off the end (PVE-FACTS 27).
 */
function readDescription(kind: GuestKind, text: string): Meaning {
  const lines = dropLastNewlines(text);
  if (lines === '') return UNSET;
  return asText(kind === 'qemu' ? lines.trimEnd() : lines);
}

/** More than cgroup v2 takes is that much: what PVE writes, too (PVE-FACTS 48). */
const CPU_UNITS_MAX = 10_000;

function readCpuUnits(text: string): Meaning {
  if (!isInteger(text)) return asText(text);
  return asText(Number(text) > CPU_UNITS_MAX ? `${CPU_UNITS_MAX}` : plainInteger(text));
}

function readTags(text: string): Meaning {
  const tags = new Set(splitList(text).map((tag) => tag.toLowerCase()));
  return asText([...tags].sort().join(';'));
}

/** Kept URL-encoded; how it is encoded, and newlines at the end, do not count. */
function readSshKeys(text: string): Meaning {
  try {
    return asText(dropLastNewlines(decodeURIComponent(text)));
  } catch {
    return asText(text);
  }
}

/** `3,up=10` is `order=3,up=10`; of a part given twice the last one counts. */
function readStartup(text: string): Meaning {
  const parts = new Map<string, string>();
  for (const part of text.split(',')) {
    if (part.trim() === '') continue;
    const [, name = 'order', count] = /^(?:(order|up|down)=)?(\d+)$/.exec(part) ?? [];
    if (count === undefined) return asText(text);
    parts.set(name, plainInteger(count));
  }
  return asText(
    [...parts]
      .map(([name, count]) => `${name}=${count}`)
      .sort()
      .join(','),
  );
}

function readProperties(option: Option, format: PropertyFormat, text: string): Meaning {
  const parsed = parsePropertyString(format, text);
  if (parsed.kind === 'broken') return asText(text);
  const written = parsed.properties;
  const properties = new Map<string, string>();
  const isDrive = isDriveFamily(option.family);
  for (const [name, value] of isDrive ? readDriveLimits(written) : written) {
    properties.set(name, plainProperty(option, name, value));
  }
  return { kind: 'properties', format, written, properties };
}

/** One property's value in the form that is compared; of an unknown one its text. */
export function plainProperty(option: Option, name: string, value: string): string {
  const facts = option.format?.properties.get(name);
  if (facts === undefined) return value;
  return option.family === 'smbios1' && name === 'uuid'
    ? value.toLowerCase()
    : plainScalar(facts, value);
}

function read(kind: GuestKind, key: string, option: Option, text: string): Meaning {
  if (option.format !== null) return readProperties(option, option.format, text);
  if (key === 'description') return readDescription(kind, text);
  if (key === 'tags') return readTags(text);
  if (key === 'sshkeys') return readSshKeys(text);
  if (key === 'startup') return readStartup(text);
  if (key === 'cpuunits') return readCpuUnits(text);
  return asText(
    // Only inside property strings are there other booleans than 0 and 1 (PVE-FACTS 27).
    option.facts.type === 'boolean' ? text : plainScalar(option.facts, text),
  );
}

/** Entries of one generation of the memory below, and the longest text worth remembering. */
const MEMORY_ENTRIES = 8192;
const MEMORY_TEXT_LENGTH = 512;

/** Two generations: when the young one is full it becomes the old one, which is forgotten. */
let young = new Map<Option, Map<string, Meaning>>();
let old = young;
let youngEntries = 0;

function remember(option: Option, text: string, meaning: Meaning): void {
  if (text.length > MEMORY_TEXT_LENGTH) return;
  if (youngEntries >= MEMORY_ENTRIES) {
    old = young;
    young = new Map();
    youngEntries = 0;
  }
  const known = young.get(option) ?? new Map<string, Meaning>();
  young.set(option, known.set(text, meaning));
  youngEntries += 1;
}

/** Null (not set) and a text that PVE keeps as nothing are `unset`. */
export function readMeaning(kind: GuestKind, key: string, text: string | null): Meaning {
  if (text === null) return UNSET;
  const option = findOption(kind, key);
  if (option === null) return asText(text);
  const known = young.get(option)?.get(text) ?? old.get(option)?.get(text);
  if (known !== undefined) return known;
  const meaning = read(kind, key, option, text);
  remember(option, text, meaning);
  return meaning;
}

function sameProperties(a: Properties, b: Properties): boolean {
  if (a.size !== b.size) return false;
  for (const [name, value] of a) if (b.get(name) !== value) return false;
  return true;
}

export function sameMeaning(a: Meaning, b: Meaning): boolean {
  if (a === b) return true;
  if (a.kind === 'properties') {
    return b.kind === 'properties' && sameProperties(a.properties, b.properties);
  }
  if (a.kind === 'unset') return b.kind === 'unset';
  return b.kind === 'text' && a.text === b.text;
}
