/**
 * Would PVE accept a value for a config option? The same checks PVE's API makes before anything
 * is written: type, enum, pattern, bounds, format, and for property strings every property.
 *
 * What depends on the node (does the volume exist, may this token) is not known here and passes.
 * Never refuses what PVE accepts; reasons are our own words.
 */
import type { GuestKind } from '../../reconcile/guest.ts';
import { checkCpu } from './cpu-check.ts';
import { isDriveFamily, refuseDrive } from './drive-rules.ts';
import { checkFormat, splitList } from './format-checks.ts';
import {
  findOption,
  type Option,
  type PropertyFacts,
  type PropertyFormat,
  type ScalarFacts,
} from './options.ts';
import { type Properties, parseBoolean, parsePropertyString } from './property-string.ts';

const INTEGER = /^[+-]?\d+$/;
const NUMBER = /^[+-]?(?:\d+\.\d+|\d+\.|\.\d+|\d+)(?:[eE][+-]?\d+)?$/;

/** A config file has a line for each value; only these may span lines in what is written. */
const MULTILINE = new Set(['description', 'tags']);

const PATTERNS = new Map<string, RegExp>();

/**
 * PVE puts its anchors around the bare pattern: an alternative is anchored on one side only. Its
 * dot is any character of a line, also those that JavaScript takes for the end of one.
 */
function compile(pattern: string): RegExp {
  let found = PATTERNS.get(pattern);
  if (found === undefined) {
    found = new RegExp(`^${pattern}$`, 'us');
    PATTERNS.set(pattern, found);
  }
  return found;
}

export function isNumber(text: string): boolean {
  return NUMBER.test(text);
}

export function isInteger(text: string): boolean {
  return INTEGER.test(text);
}

function refuseType(facts: ScalarFacts, text: string): string | null {
  const { type } = facts;
  if (type === 'boolean' && text !== '0' && text !== '1') return `'${text}' is not a boolean`;
  if (type === 'integer' && !isInteger(text)) return `'${text}' is not an integer`;
  if (type === 'number' && !isNumber(text)) return `'${text}' is not a number`;
  return null;
}

function refuseBounds(facts: ScalarFacts, text: string): string | null {
  if (!isNumber(text)) return null;
  const { minimum, maximum } = facts;
  if (maximum !== undefined && Number(text) > maximum) return `${text} is more than ${maximum}`;
  return minimum !== undefined && Number(text) < minimum ? `${text} is less than ${minimum}` : null;
}

function refuseScalar(facts: ScalarFacts, text: string): string | null {
  const why =
    refuseType(facts, text) ??
    (facts.format === undefined ? null : checkFormat(facts.format, text)) ??
    refuseBounds(facts, text);
  if (why !== null) return why;
  if (facts.enum?.includes(text) === false) {
    return `'${text}' is none of ${facts.enum.join(', ')}`;
  }
  if (facts.pattern !== undefined && !compile(facts.pattern).test(text)) {
    return `'${text}' does not have the form PVE wants`;
  }
  const { maxLength } = facts;
  // PVE counts characters, JavaScript counts UTF-16 units: only the longer texts need a look.
  return maxLength !== undefined && text.length > maxLength && Array.from(text).length > maxLength
    ? `it is longer than ${maxLength} characters`
    : null;
}

function refuseProperty(facts: PropertyFacts, text: string): string | null {
  const isBoolean = facts.type === 'boolean';
  return refuseScalar(facts, isBoolean ? (parseBoolean(text) ?? text) : text);
}

function refuseProperties(format: PropertyFormat, properties: Properties): string | null {
  for (const [name, facts] of format.properties) {
    if (facts.isRequired === true && !properties.has(name)) return `${name} is missing`;
  }
  for (const [name, text] of properties) {
    const facts = format.properties.get(name);
    if (facts === undefined) return `there is no property ${name}`;
    const why = refuseProperty(facts, text);
    if (why !== null) return `${name}: ${why}`;
    if (facts.requires !== undefined && !properties.has(facts.requires)) {
      return `${name} needs ${facts.requires}`;
    }
  }
  return null;
}

function refusePropertyString(
  { facts, family }: Option,
  format: PropertyFormat,
  text: string,
): string | null {
  const parsed = parsePropertyString(format, text);
  if (parsed.kind === 'broken') return parsed.why;
  const why = refuseProperties(format, parsed.properties);
  if (why !== null) return why;
  if (isDriveFamily(family)) return refuseDrive(family, parsed.properties);
  if (facts.format === 'pve-vm-cpu-conf') return checkCpu(parsed.properties);
  return refuseScalar({ ...facts, format: undefined }, text);
}

/** Reasons name the text, which may be as long as a description. */
const REASON_MAX_LENGTH = 300;

/** Null: PVE would take it, or it is not known to be refused. Else why not, one short line. */
export function refuseValue(kind: GuestKind, key: string, text: string): string | null {
  const why = findReason(kind, key, text);
  return why !== null && why.length > REASON_MAX_LENGTH
    ? `${why.slice(0, REASON_MAX_LENGTH)}…`
    : why;
}

function findReason(kind: GuestKind, key: string, text: string): string | null {
  const option = findOption(kind, key);
  if (option === null) return `PVE 9 has no option ${key} for ${kind} guests`;
  if (text.includes('\n') && !MULTILINE.has(key)) return 'a line break is not allowed';
  if (key === 'tags') return refuseTags(text);
  return option.format === null
    ? refuseScalar(option.facts, text)
    : refusePropertyString(option, option.format, text);
}

function refuseTags(text: string): string | null {
  for (const tag of splitList(text)) {
    const why = checkFormat('pve-tag', tag);
    if (why !== null) return why;
  }
  return null;
}
