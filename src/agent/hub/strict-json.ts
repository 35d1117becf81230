/**
 * JSON that means one thing to everybody: valid UTF-8, no key twice in an object, no `__proto__`
 * (which some readers skip), no lone surrogates, nested no deeper than said, and where asked for no
 * number that reads back as another text. JSON.parse takes the last of two equal keys where other
 * parsers take the first, so a hub could show a person one op and an agent another.
 */

export type StrictJson =
  | { readonly kind: 'json'; readonly value: unknown }
  | { readonly kind: 'invalid'; readonly reason: string };

export interface Strictness {
  readonly maxDepth: number;
  /** For values that are passed on as texts: 1.10 and 12345678901234567890 are refused. */
  readonly areNumbersExact?: boolean;
}

/** Who sends it need not be known: what is quoted of it goes back, and into the log. */
const QUOTED_MAX_CHARS = 64;

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** `bytes` are bounded by the caller. Never throws. */
export function parseStrictJson(bytes: Uint8Array, strictness: Strictness): StrictJson {
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
  const fault = findFault(text, strictness);
  return fault === null ? { kind: 'json', value } : invalid(fault);
}

function invalid(reason: string): StrictJson {
  return { kind: 'invalid', reason };
}

/** Walks the tokens of a text that JSON.parse has taken: strings, brackets and numbers. */
function findFault(text: string, { maxDepth, areNumbersExact = false }: Strictness): string | null {
  const token = /"[^"\\]*(?:\\.[^"\\]*)*"(\s*:)?|[{}[\]]|[-\d][-+.\deE]*/g;
  /** The keys of each open object; null for an array. */
  const open: (Set<string> | null)[] = [];
  for (const [found, colon] of text.matchAll(token)) {
    if (found === '{' || found === '[') {
      if (open.length === maxDepth) return `it is nested deeper than ${maxDepth}`;
      open.push(found === '{' ? new Set() : null);
    } else if (found === '}' || found === ']') {
      open.pop();
    } else if (found.startsWith('"')) {
      const string: unknown = JSON.parse(found.slice(0, found.length - (colon?.length ?? 0)));
      if (typeof string !== 'string' || !string.isWellFormed()) return 'it has a lone surrogate';
      if (colon === undefined) continue;
      const keys = open.at(-1);
      if (keys?.has(string)) return `the key ${quoted(string)} stands in it twice`;
      if (string === '__proto__') return 'no key of it may be "__proto__"';
      keys?.add(string);
    } else if (areNumbersExact && String(Number(found)) !== found) {
      return `the number ${cut(found)} reads back as ${Number(found)}: write that, or a text`;
    }
  }
  return null;
}

function quoted(text: string): string {
  return JSON.stringify(cut(text));
}

function cut(text: string): string {
  return text.length > QUOTED_MAX_CHARS ? `${text.slice(0, QUOTED_MAX_CHARS)}…` : text;
}
