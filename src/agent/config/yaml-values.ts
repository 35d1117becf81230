/**
 * The plain values of a parsed YAML document. Aliases are expanded, within a bound; keys are texts
 * and stand only once; a number whose text would change (1.10, 0x1f, 007) stays the text it was.
 */
import {
  type Alias,
  type Document,
  isAlias,
  isMap,
  isScalar,
  isSeq,
  type Node,
  type Pair,
  type YAMLMap,
} from 'yaml';
import type { KeyPath } from './schema-issue.ts';

/** What aliases may expand to. */
const VALUES_MAX = 1_000_000;

/** Something wrong, where it begins in the text. */
export interface Found {
  readonly offset: number;
  readonly path: KeyPath;
  readonly message: string;
}

/** Thrown to leave the walk when the text expands to too much. */
class TooManyValues extends Error {
  readonly offset: number;

  constructor(offset: number) {
    super('too many values');
    this.offset = offset;
  }
}

/** Adds what is wrong to `found`; the value counts only where nothing was. */
export function toPlain(document: Document.Parsed, found: Found[]): unknown {
  const anchors = new Map<string, Node>();
  let values = 0;

  const convert = (node: unknown, path: KeyPath): unknown => {
    values += 1;
    if (values > VALUES_MAX) throw new TooManyValues(startOf(node));
    if (isScalar(node)) {
      if (node.anchor !== undefined) anchors.set(node.anchor, node);
      return scalarValue(node);
    }
    if (isAlias(node)) return convert(target(node, path), path);
    let value: unknown = null;
    if (isSeq(node)) value = node.items.map((item, i) => convert(item, [...path, i]));
    if (isMap(node)) value = convertMap(node, path);
    // Only now: an alias inside its own anchor must not find it.
    if ((isSeq(node) || isMap(node)) && node.anchor !== undefined) anchors.set(node.anchor, node);
    return value;
  };

  const target = (alias: Alias, path: KeyPath): Node | null => {
    const node = anchors.get(alias.source);
    if (node !== undefined) return node;
    // Not its name: a password may begin with a star.
    const message = 'an alias without an anchor before it; a text that begins with * takes quotes';
    found.push({ offset: startOf(alias), path, message });
    return null;
  };

  const convertMap = (map: YAMLMap, path: KeyPath): Record<string, unknown> => {
    const plain: Record<string, unknown> = Object.create(null);
    for (const pair of map.items) {
      const key = keyText(pair);
      const keyPath = key === null ? path : [...path, key];
      const problem = refuseKey(key, plain);
      if (problem !== null) {
        found.push({ offset: startOf(pair.key), path: keyPath, message: problem });
      }
      const value = convert(pair.value, keyPath);
      if (key !== null && problem === null) plain[key] = value;
    }
    return plain;
  };

  try {
    return convert(document.contents, []);
  } catch (error) {
    if (!(error instanceof TooManyValues || error instanceof RangeError)) throw error;
    const offset = error instanceof TooManyValues ? error.offset : 0;
    const message = `its aliases expand to more than ${VALUES_MAX} values, or nest too deeply`;
    found.push({ offset, path: [], message });
    return null;
  }
}

function refuseKey(key: string | null, seen: Record<string, unknown>): string | null {
  if (key === null) return 'expected a plain key';
  if (key === '__proto__') return 'unknown key';
  return Object.hasOwn(seen, key) ? 'the key stands here twice' : null;
}

export function keyText(pair: Pair): string | null {
  const { key } = pair;
  if (!isScalar(key)) return null;
  const value = scalarValue(key);
  if (typeof value === 'string') return value;
  return typeof value === 'number' || typeof value === 'boolean' ? String(value) : null;
}

function scalarValue(scalar: { readonly value: unknown; readonly source?: string }): unknown {
  const { value, source } = scalar;
  if (typeof value === 'bigint') return source ?? String(value);
  if (typeof value !== 'number' || source === undefined) return value;
  return String(value) === source ? value : source;
}

export function startOf(node: unknown): number {
  const isNode = isScalar(node) || isMap(node) || isSeq(node) || isAlias(node);
  return isNode ? (node.range?.[0] ?? 0) : 0;
}
