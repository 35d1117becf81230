/**
 * A quick look whether a property string satisfies wanted properties, without taking it apart into
 * a value of its own: a plan asks this of every net of every guest, and the answer is mostly yes.
 *
 * Only a yes counts. Whatever is out of the ordinary (a property given twice, one that is not
 * wanted) is no yes, and the caller looks properly.
 */
import type { Option } from './options.ts';
import type { Properties } from './property-string.ts';
import { plainProperty } from './value-meaning.ts';

/** Bits of a JavaScript integer: more wanted properties than that are looked at properly. */
const SEEN_BITS = 31;

/** Wanted properties in the form that is compared, each with a bit of its own. */
interface Pattern {
  readonly wanted: ReadonlyMap<string, { readonly value: string; readonly bit: number }>;
  readonly all: number;
}

/** By what they were made from; null: too many properties for a quick look. */
const PATTERNS = new WeakMap<Properties, Pattern | null>();

function patternOf(properties: Properties): Pattern | null {
  let pattern = PATTERNS.get(properties);
  if (pattern === undefined) {
    pattern = compilePattern(properties);
    PATTERNS.set(properties, pattern);
  }
  return pattern;
}

function compilePattern(properties: Properties): Pattern | null {
  if (properties.size > SEEN_BITS) return null;
  const wanted = new Map<string, { value: string; bit: number }>();
  let all = 0;
  for (const [name, value] of properties) {
    const bit = 1 << wanted.size;
    wanted.set(name, { value, bit });
    all |= bit;
  }
  return { wanted, all };
}

/** True: it is satisfied. False: it may still be. `isFree`: may be there without being wanted. */
export function matchesQuickly(
  option: Option,
  properties: Properties,
  text: string,
  free: ReadonlySet<string>,
): boolean {
  const pattern = patternOf(properties);
  if (pattern === null) return false;
  let seen = 0;
  for (let start = 0; start < text.length; ) {
    const comma = text.indexOf(',', start);
    const end = comma < 0 ? text.length : comma;
    const bits = matchPart(option, pattern, text.slice(start, end), free);
    if (bits === null || (bits & seen) !== 0) return false;
    seen |= bits;
    start = end + 1;
  }
  return seen === pattern.all;
}

/** The wanted properties one part satisfies; null: it has something that is not wanted. */
function matchPart(
  option: Option,
  pattern: Pattern,
  part: string,
  free: ReadonlySet<string>,
): number | null {
  const equals = part.indexOf('=');
  const name = equals < 0 ? option.format?.defaultKey : part.slice(0, equals);
  if (name === null || name === undefined) return null;
  const value = part.slice(equals + 1);
  const facts = option.format?.properties.get(name);
  if (value === '' || facts === undefined) return null;
  if (facts.alias === undefined) return matchProperty(option, pattern, [name, value], free);
  const own = matchProperty(option, pattern, [facts.alias, value], free);
  if (own === null || facts.keyAlias === undefined) return own;
  const key = matchProperty(option, pattern, [facts.keyAlias, name], free);
  return key === null ? null : own | key;
}

function matchProperty(
  option: Option,
  { wanted }: Pattern,
  [name, value]: readonly [string, string],
  free: ReadonlySet<string>,
): number | null {
  const expected = wanted.get(name);
  if (expected === undefined) return free.has(name) ? 0 : null;
  if (expected.value === value) return expected.bit;
  return plainProperty(option, name, value) === expected.value ? expected.bit : null;
}
