/**
 * PVE's property strings: `key=value,key=value`, with at most one default key whose name may be
 * left out, and key aliases (`virtio=MAC` is `model=virtio,macaddr=MAC`). Order is kept as written.
 */
import type { PropertySchema } from './schema.ts';

export type PropertyFormat = Readonly<Record<string, PropertySchema>>;

/** The text cannot be split; `why` is PVE's wording. */
export class PropertyStringError extends Error {}

/** Pairs in written order. Unknown keys are kept, the checker names them. */
export function parsePropertyString(text: string, format: PropertyFormat): Map<string, string> {
  const pairs = new Map<string, string>();
  const put = (key: string, value: string): void => {
    if (pairs.has(key)) {
      throw new PropertyStringError(`duplicate key in comma-separated list property: ${key}`);
    }
    pairs.set(key, value);
  };
  for (const part of text.split(',')) {
    if (part.trim() === '') continue;
    const equals = part.indexOf('=');
    if (equals > 0) {
      const key = part.slice(0, equals);
      const schema = format[key];
      if (schema?.keyAlias !== undefined) put(schema.keyAlias, key);
      put(schema?.alias ?? key, part.slice(equals + 1));
    } else {
      const fallback = Object.keys(format).find((key) => format[key]?.default_key === 1);
      if (fallback === undefined) {
        throw new PropertyStringError(
          'value without key, but schema does not define a default key',
        );
      }
      put(fallback, part);
    }
  }
  return pairs;
}

/** The value of one key of a property string, default key included; null where it is not there. */
export function propertyOf(text: string | undefined, key: string): string | null {
  for (const part of (text ?? '').split(',')) {
    const equals = part.indexOf('=');
    if (equals > 0 && part.slice(0, equals) === key) return part.slice(equals + 1);
  }
  return null;
}
