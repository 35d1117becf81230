/**
 * PVE's property strings, `virtio=BC:24:11:00:00:01,bridge=vmbr0`: the text taken apart the way
 * PVE's own parser does, quirks included, and put together again.
 *
 * It knows which names belong together (default key, aliases), not which values are good. A
 * property the format does not know keeps its name: nothing is dropped.
 */
import type { PropertyFormat } from './options.ts';

export type Properties = ReadonlyMap<string, string>;

export type ParsedProperties =
  | { readonly kind: 'parsed'; readonly properties: Properties }
  | { readonly kind: 'broken'; readonly why: string };

/** Splits at the first `=`; both sides must have something (PVE-FACTS 27 has no empty value). */
const NAMED_PART = /^([^=]+)=(.+)$/s;

const TRUE = /^(?:1|on|yes|true)$/i;
const FALSE = /^(?:0|off|no|false)$/i;

/** `1`, `0`, or null for a text PVE does not take as a boolean inside a property string. */
export function parseBoolean(text: string): '1' | '0' | null {
  if (TRUE.test(text)) return '1';
  return FALSE.test(text) ? '0' : null;
}

function broken(why: string): ParsedProperties {
  return { kind: 'broken', why };
}

function duplicate(name: string): ParsedProperties {
  return broken(`duplicate key in comma-separated list property: ${name}`);
}

/** Total. Names come out resolved (`volume` → `file`), in the order of the text. */
export function parsePropertyString(format: PropertyFormat, text: string): ParsedProperties {
  const properties = new Map<string, string>();
  let hasBare = false;
  for (const part of text.split(',')) {
    if (part.trim() === '') continue;
    const isNamed = part.includes('=');
    if (!isNamed && hasBare) return duplicate(format.defaultKey ?? part);
    hasBare ||= !isNamed;
    const failure = isNamed
      ? addNamed(format, properties, part)
      : addBare(format, properties, part);
    if (failure !== null) return failure;
  }
  return { kind: 'parsed', properties };
}

function addNamed(
  format: PropertyFormat,
  properties: Map<string, string>,
  part: string,
): ParsedProperties | null {
  const match = NAMED_PART.exec(part);
  const [, name, value] = match ?? [];
  if (name === undefined || value === undefined) {
    return broken('missing key in comma-separated list property');
  }
  // PVE looks for the written name only: `file=a,volume=b` passes there, and the last one wins.
  if (properties.has(name)) return duplicate(name);
  const facts = format.properties.get(name);
  if (facts?.alias === undefined) {
    properties.set(name, value);
    return null;
  }
  if (facts.keyAlias !== undefined) {
    if (properties.has(facts.keyAlias)) {
      return broken(`key alias '${facts.keyAlias}' is already defined`);
    }
    properties.set(facts.keyAlias, name);
  }
  properties.set(facts.alias, value);
  return null;
}

function addBare(
  format: PropertyFormat,
  properties: Map<string, string>,
  part: string,
): ParsedProperties | null {
  const name = format.defaultKey;
  if (name === null) return broken('value without key, but schema does not define a default key');
  const before = properties.get(name);
  if (before !== undefined && !isFalse(format, name, before)) return duplicate(name);
  properties.set(name, part);
  return null;
}

/** To PVE a property that is false is not there yet: `enabled=0,1` passes, and is 1. */
function isFalse(format: PropertyFormat, name: string, text: string): boolean {
  const isBoolean = format.properties.get(name)?.type === 'boolean';
  return (isBoolean ? parseBoolean(text) : text) === '0';
}

/** Total, and what it prints parses to the same properties. */
export function printPropertyString(format: PropertyFormat, properties: Properties): string {
  const parts: string[] = [];
  for (const [name, value] of properties) {
    const isBare = name === format.defaultKey && !value.includes('=') && value.trim() !== '';
    if (isBare) parts.unshift(value);
    else parts.push(`${name}=${value}`);
  }
  return parts.join(',');
}
