/**
 * YAML (and so JSON) that knows where everything stood, checked by a zod schema: every finding
 * has file, line, column, path and what was expected. It serves the configuration and desired
 * state alike, and never throws for what a text holds.
 *
 * Invariants: YAML 1.2, one document, no key twice. What a text expands to is bounded before it
 * is built, so neither aliases nor nesting can be used against the process.
 */
import {
  type Document,
  type ErrorCode,
  isAlias,
  isMap,
  isSeq,
  Lexer,
  LineCounter,
  type Pair,
  parseDocument,
} from 'yaml';
import type { z } from 'zod';
import { describeIssue, type KeyPath } from './schema-issue.ts';
import { type Found, keyText, startOf, toPlain } from './yaml-values.ts';

export interface Finding {
  readonly file: string;
  /** From 1; 0 where the file as a whole is meant. */
  readonly line: number;
  readonly column: number;
  /** `guests.101.power`; empty for the document. */
  readonly path: string;
  readonly message: string;
}

export interface Place {
  readonly line: number;
  readonly column: number;
}

export type PositionedDocument<Value> =
  | {
      readonly kind: 'valid';
      readonly value: Value;
      /** Where the value at that path stands, or the nearest thing around it. */
      readonly placeOf: (path: KeyPath) => Place;
    }
  | { readonly kind: 'invalid'; readonly findings: readonly Finding[] };

/** The parser's memory grows with tokens: a million is about 100,000 lines, or 400 MB. */
const TOKENS_MAX = 1_000_000;
/** Nobody nests this deep by hand; the parser recurses. */
const FLOW_DEPTH_MAX = 64;
const TOO_DEEP = 'nested too deeply';
/** More findings than this help nobody. */
const FINDINGS_MAX = 50;

export function parsePositioned<Value>(
  text: string,
  { file, schema }: { readonly file: string; readonly schema: z.ZodType<Value> },
): PositionedDocument<Value> {
  const whole = refuseText(text);
  if (whole !== null) return { kind: 'invalid', findings: [wholeFile(file, whole)] };

  const lines = new LineCounter();
  const document = parseYaml(text, lines);
  if (document === null) return { kind: 'invalid', findings: [wholeFile(file, TOO_DEEP)] };
  const found: Found[] = syntaxFindings(document);
  let value: unknown;
  if (found.length === 0) value = toPlain(document, found);
  if (found.length === 0) {
    const checked = schema.safeParse(value);
    if (checked.success) {
      return {
        kind: 'valid',
        value: checked.data,
        placeOf: (path) => place(lines, offsetOf(document, path, 'value')),
      };
    }
    found.push(...schemaFindings(document, { value, schema }, checked.error.issues));
  }
  return {
    kind: 'invalid',
    findings: found.slice(0, FINDINGS_MAX).map(({ offset, path, message }) => ({
      file,
      ...place(lines, offset),
      path: pathText(path),
      message,
    })),
  };
}

/** Null where it is nested deeper than the parser can follow: it recurses for blocks, too. */
function parseYaml(text: string, lineCounter: LineCounter): Document.Parsed | null {
  try {
    return parseDocument(text, {
      version: '1.2',
      lineCounter,
      prettyErrors: false,
      // Its check is quadratic; `toPlain` has its own.
      uniqueKeys: false,
      // `silent` would also swallow a second document.
      logLevel: 'error',
    });
  } catch (error) {
    if (error instanceof RangeError) return null;
    throw error;
  }
}

/** `file:line:column path: message`, as editors and people read it. */
export function findingText({ file, line, column, path, message }: Finding): string {
  const where = line === 0 ? file : `${file}:${line}:${column}`;
  return path === '' ? `${where}: ${message}` : `${where} ${path}: ${message}`;
}

/** `file:line`, or the file where it is meant as a whole. */
export function placeText({ file, line }: Pick<Finding, 'file' | 'line'>): string {
  return line === 0 ? file : `${file}:${line}`;
}

export function pathText(path: KeyPath): string {
  return path
    .map((part, i) => (typeof part === 'number' ? `[${part}]` : `${i === 0 ? '' : '.'}${part}`))
    .join('');
}

export function wholeFile(file: string, message: string): Finding {
  return { file, line: 0, column: 0, path: '', message };
}

function refuseText(text: string): string | null {
  let tokens = 0;
  let depth = 0;
  for (const token of new Lexer().lex(text)) {
    if (token === '[' || token === '{') depth += 1;
    if (token === ']' || token === '}') depth -= 1;
    tokens += 1;
    if (depth > FLOW_DEPTH_MAX) return `nested more than ${FLOW_DEPTH_MAX} levels deep`;
    if (tokens > TOKENS_MAX) return 'too large: split it over several files';
  }
  return null;
}

function syntaxFindings(document: Document.Parsed): Found[] {
  const version = document.directives.yaml;
  if (version.explicit === true && version.version !== '1.2') {
    const message = `expected YAML 1.2, found %YAML ${version.version}`;
    return [{ offset: 0, path: [], message }];
  }
  // The parser says so once for every level.
  const tooDeep = document.errors.find(({ code }) => code === 'RESOURCE_EXHAUSTION');
  if (tooDeep !== undefined) {
    return [{ offset: tooDeep.pos[0], path: [], message: TOO_DEEP }];
  }
  return [...document.errors, ...document.warnings].map(({ code, pos }) => ({
    offset: pos[0],
    path: [],
    message: SYNTAX_TEXTS[code],
  }));
}

/** By the parser's codes: its own words quote the text, which may be a password without quotes. */
const SYNTAX_TEXTS: Readonly<Record<ErrorCode, string>> = {
  ALIAS_PROPS: 'an alias has neither a tag nor an anchor',
  BAD_ALIAS: 'expected a name behind & or *; a text that begins so takes quotes',
  BAD_COLLECTION_TYPE: 'its tag is for another kind of value',
  BAD_DIRECTIVE: 'expected %YAML 1.2, or no line that begins with %',
  BAD_DQ_ESCAPE: 'an escape that YAML does not know; between single quotes \\ is a character',
  BAD_INDENT: 'not indented as what it belongs to, or a flow [ or { is not closed',
  BAD_PROP_ORDER: 'expected the tag or anchor behind the indicator',
  BAD_SCALAR_START: 'a text that begins with this character takes quotes',
  BLOCK_AS_IMPLICIT_KEY:
    'a key inside a value; a text that holds a colon and a space takes quotes, or the next line ' +
    'is indented too far',
  BLOCK_IN_FLOW:
    'expected [ or { here: no block stands inside a flow; or a comma is missing behind it',
  DUPLICATE_KEY: 'the key stands here twice',
  IMPOSSIBLE: 'not YAML',
  KEY_OVER_1024_CHARS: 'a key of more than 1024 characters',
  MISSING_CHAR: 'something is missing here: a quote, a bracket, a comma, a colon or a space',
  MULTILINE_IMPLICIT_KEY:
    'a key has to stand on one line; or a quote, a colon or the space behind a colon is missing, ' +
    'or the next line is indented too far',
  MULTIPLE_ANCHORS: 'more than one anchor',
  MULTIPLE_DOCS: 'expected one document, found a second one',
  MULTIPLE_TAGS: 'more than one tag',
  NON_STRING_KEY: 'expected a plain key',
  RESOURCE_EXHAUSTION: TOO_DEEP,
  TAB_AS_INDENT: 'expected spaces: tabs do not indent',
  TAG_RESOLVE_FAILED: 'an unknown tag; a text that begins with ! takes quotes',
  UNEXPECTED_TOKEN: 'not expected here; a text with special characters takes quotes',
};

function schemaFindings(
  document: Document.Parsed,
  checked: { readonly value: unknown; readonly schema: z.core.$ZodType },
  issues: readonly z.core.$ZodIssue[],
): Found[] {
  return issues
    .flatMap((issue) => describeIssue(issue, checked.value, checked.schema))
    .slice(0, FINDINGS_MAX)
    .map(({ path, message, about }) => ({
      offset: offsetOf(document, path, about === 'value' ? 'value' : 'key'),
      // A key of any form may be a value that stands in the wrong place: its position tells it.
      path: about === 'malformed_key' ? path.slice(0, -1) : path,
      message,
    }));
}

/** Where the key or the value at a path begins; for what is missing, what it is missing from. */
function offsetOf(document: Document.Parsed, path: KeyPath, end: 'key' | 'value'): number {
  let node: unknown = document.contents;
  let offset = startOf(node);
  for (const [i, part] of path.entries()) {
    if (isAlias(node)) node = node.resolve(document);
    if (isMap(node)) {
      const pair: Pair | undefined = node.items.find((item) => keyText(item) === String(part));
      if (pair === undefined) break;
      const isLast = i === path.length - 1;
      node = pair.value;
      offset = (isLast && end === 'key') || node === null ? startOf(pair.key) : startOf(node);
    } else if (isSeq(node)) {
      node = node.items[Number(part)];
      if (node === undefined) break;
      offset = startOf(node);
    } else break;
  }
  return offset;
}

function place(lines: LineCounter, offset: number): Place {
  const { line, col } = lines.linePos(offset);
  return { line: Math.max(1, line), column: Math.max(1, col) };
}
