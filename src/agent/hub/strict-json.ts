/**
 * JSON that means one thing to everybody: valid UTF-8, no key twice in an object, no lone
 * surrogates, nested no deeper than said. JSON.parse takes the last of two equal keys where other
 * parsers take the first, so a hub could show a person one op and an agent another.
 */

export type StrictJson =
  | { readonly kind: 'json'; readonly value: unknown }
  | { readonly kind: 'invalid'; readonly reason: string };

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** `bytes` are bounded by the caller. Never throws. */
export function parseStrictJson(bytes: Uint8Array, { maxDepth }: { maxDepth: number }): StrictJson {
  let text: string;
  try {
    text = utf8.decode(bytes);
  } catch {
    return invalid('it is not UTF-8');
  }
  let value: unknown;
  try {
    // Bounded input, and V8 parses without recursion: depth cannot exhaust the stack here.
    value = JSON.parse(text);
  } catch {
    return invalid('it is not JSON');
  }
  const fault = findFault(text, maxDepth);
  return fault === null ? { kind: 'json', value } : invalid(fault);
}

function invalid(reason: string): StrictJson {
  return { kind: 'invalid', reason };
}

/** Walks the tokens of a text that JSON.parse has taken: only strings and brackets matter. */
function findFault(text: string, maxDepth: number): string | null {
  const token = /"[^"\\]*(?:\\.[^"\\]*)*"(\s*:)?|[{}[\]]/g;
  /** The keys of each open object; null for an array. */
  const open: (Set<string> | null)[] = [];
  for (const [found, colon] of text.matchAll(token)) {
    if (found === '{' || found === '[') {
      if (open.length === maxDepth) return `it is nested deeper than ${maxDepth}`;
      open.push(found === '{' ? new Set() : null);
    } else if (found === '}' || found === ']') {
      open.pop();
    } else {
      const string: unknown = JSON.parse(found.slice(0, found.length - (colon?.length ?? 0)));
      if (typeof string !== 'string' || !string.isWellFormed()) return 'it has a lone surrogate';
      if (colon === undefined) continue;
      const keys = open.at(-1);
      if (keys?.has(string)) return `the key ${JSON.stringify(string)} stands in it twice`;
      keys?.add(string);
    }
  }
  return null;
}
