/**
 * zod's issues in the words of this project: what was expected, and what was found. A found value
 * is quoted only where an enum was expected: anything else could be a secret.
 */
import type { z } from 'zod';
import { knownKeys } from './known-keys.ts';

export type KeyPath = readonly (string | number)[];

export interface IssueText {
  readonly path: KeyPath;
  readonly message: string;
  /** A malformed key may be anything, an unknown one stands among keys of ours. */
  readonly about: 'value' | 'unknown_key' | 'malformed_key';
}

type Issue = z.core.$ZodIssue;

/** One text per thing to mend; `root` is the value that was checked, `schema` what against. */
export function describeIssue(issue: Issue, root: unknown, schema: z.core.$ZodType): IssueText[] {
  const path = issue.path.map((part) => (typeof part === 'number' ? part : String(part)));
  if (issue.code === 'unrecognized_keys') {
    const known = knownKeys(schema, path);
    const others = known.length === 0 ? '' : `: expected one of ${known.join(', ')}`;
    const message = `unknown key${others}`;
    return issue.keys.map((key) => ({
      path: [...path, key],
      message,
      about: 'unknown_key' as const,
    }));
  }
  if (issue.code === 'invalid_key') {
    const message = issue.issues.map((inner) => inner.message).join('; ');
    return [{ path, message, about: 'malformed_key' }];
  }
  const found = valueAt(root, path);
  if (found === undefined) return [{ path, message: missingText(issue), about: 'value' }];
  return [{ path, message: issueMessage(issue, found), about: 'value' }];
}

function missingText(issue: Issue): string {
  return `missing: expected ${expectation(issue) ?? 'a value'}`;
}

function issueMessage(issue: Issue, found: unknown): string {
  switch (issue.code) {
    case 'invalid_value':
      return `expected ${expectation(issue)}, found ${quoted(found)}`;
    case 'invalid_type':
      return `expected ${expectation(issue)}, found ${typeName(found)}`;
    case 'too_big':
      return `expected at most ${issue.maximum}${unitOf(issue.origin)}`;
    case 'too_small':
      return `expected at least ${issue.minimum}${unitOf(issue.origin)}`;
    case 'invalid_union': {
      const variants = variantsOf(issue);
      if (variants !== null) return `expected ${variants}, found ${quoted(found)}`;
      const wanted = issue.errors.flatMap((branch) => branch.map(expectation));
      const known = [...new Set(wanted.filter((text) => text !== null))];
      return known.length === 0
        ? issue.message
        : `expected ${known.join(' or ')}, found ${typeName(found)}`;
    }
    default:
      return issue.message;
  }
}

function expectation(issue: Issue): string | null {
  switch (issue.code) {
    case 'invalid_value':
      return issue.values.length === 1
        ? String(issue.values[0])
        : `one of ${issue.values.map(String).join(', ')}`;
    case 'invalid_type':
      return ownWords(issue) ?? TYPE_NAMES[issue.expected] ?? issue.expected;
    case 'invalid_union': {
      const variants = variantsOf(issue);
      if (variants !== null) return variants;
      const wanted = issue.errors.flatMap((branch) => branch.map(expectation));
      return wanted.some((text) => text === null) ? null : [...new Set(wanted)].join(' or ');
    }
    default:
      return null;
  }
}

/** What the key may be that tells the branches of a union apart; null: there is none. */
function variantsOf(issue: z.core.$ZodIssueInvalidUnion): string | null {
  const options = 'options' in issue ? issue.options : undefined;
  return options === undefined ? null : `one of ${options.map(String).join(', ')}`;
}

/** What the schema itself says it expected: `a duration like 30s` tells more than `a text`. */
function ownWords({ message }: Issue): string | null {
  return message.startsWith(EXPECTED) ? message.slice(EXPECTED.length) : null;
}

const EXPECTED = 'expected ';

const TYPE_NAMES: Readonly<Record<string, string>> = {
  string: 'a text',
  number: 'a number',
  int: 'a whole number',
  boolean: 'true or false',
  object: 'a mapping',
  record: 'a mapping',
  array: 'a list',
  null: 'null',
};

function typeName(value: unknown): string {
  if (value === null) return 'nothing';
  if (Array.isArray(value)) return 'a list';
  return TYPE_NAMES[typeof value] ?? typeof value;
}

function quoted(value: unknown): string {
  return typeof value === 'string' || typeof value === 'number'
    ? JSON.stringify(value)
    : typeName(value);
}

function unitOf(origin: string): string {
  if (origin === 'string') return ' characters';
  return origin === 'array' ? ' entries' : '';
}

function valueAt(root: unknown, path: KeyPath): unknown {
  let value = root;
  for (const part of path) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, part)) {
      return undefined;
    }
    value = Reflect.get(value, part);
  }
  return value;
}
