/**
 * Makes the tables of src/proxmox/values, options-qemu.json and options-lxc.json: what PVE's API
 * schema says of every config option, as facts (types, enums, patterns, bounds), none of its prose.
 *
 *   node deploy/generate-options.ts --schema FILE [--formats FILE] [--out FOLDER]
 *
 * FILE is /usr/share/pve-docs/api-viewer/apidoc.js of any PVE host, or the same as JSON. It only
 * names some formats: `--formats` is a JSON object from such a name to its properties (a format
 * that is code has a text there and is left out); without it the ones of the table that is there
 * are kept. Patterns are carried from Perl to JavaScript where the two write them differently.
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';

type Json = Readonly<Record<string, unknown>>;

const KINDS = ['qemu', 'lxc'] as const;

/** Parameters of the request that are no options of a guest. */
const REQUEST_ONLY = new Set([
  'node',
  'vmid',
  'delete',
  'revert',
  'digest',
  'force',
  'skiplock',
  'background_delay',
]);

function isObject(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function field(value: unknown, ...path: readonly string[]): unknown {
  return path.reduce<unknown>((at, name) => (isObject(at) ? at[name] : undefined), value);
}

/** `const apiSchema = [ … ];` is JSON up to the bracket that closes the first one. */
function cutSchema(script: string): unknown {
  const start = script.indexOf('[', script.indexOf('apiSchema'));
  let depth = 0;
  for (const token of script.slice(start).matchAll(/"(?:[^"\\]|\\.)*"|[[\]]/gs)) {
    if (token[0] === '[') depth += 1;
    if (token[0] === ']') depth -= 1;
    if (depth === 0) return JSON.parse(script.slice(start, start + token.index + 1));
  }
  throw new Error('no apiSchema found');
}

function findPut(schema: unknown, path: string): Json {
  const properties = Array.isArray(schema)
    ? findInTree(schema, path)
    : field(schema, path, 'PUT', 'parameters', 'properties');
  if (!isObject(properties)) throw new Error(`the schema has no PUT ${path}`);
  return properties;
}

function findInTree(nodes: readonly unknown[], path: string): unknown {
  for (const node of nodes) {
    const at = field(node, 'path');
    if (at === path) return field(node, 'info', 'PUT', 'parameters', 'properties');
    const children = field(node, 'children');
    if (typeof at === 'string' && path.startsWith(`${at}/`) && Array.isArray(children)) {
      return findInTree(children, path);
    }
  }
  return undefined;
}

/** What Perl's `\w` is. */
const LETTERS = '\\p{L}\\p{M}\\p{N}_';

/**
 * For the flag `u`: Perl's `(?^u:…)` is a plain group, `{,16}` needs its zero, `-` is escaped in
 * classes only, and `\w` is every letter there is.
 */
function toJavaScript(pattern: string): string {
  return pattern
    .replaceAll(/\(\?\^\w*:/g, '(?:')
    .replaceAll('{,', '{0,')
    .replaceAll(/\[(?:\\.|[^\]\\])*\]|\\./g, (token) => {
      if (token === '\\-') return '-';
      return token === '\\w' ? `[${LETTERS}]` : token.replaceAll('\\w', LETTERS);
    });
}

function scalarFacts(schema: Json): Json {
  const pattern = schema['pattern'];
  return Object.fromEntries(
    Object.entries({
      type: schema['type'],
      alias: schema['alias'],
      keyAlias: schema['keyAlias'],
      enum: schema['enum'],
      pattern: typeof pattern === 'string' ? toJavaScript(pattern) : undefined,
      format: typeof schema['format'] === 'string' ? schema['format'] : undefined,
      minimum: schema['minimum'],
      maximum: schema['maximum'],
      maxLength: schema['maxLength'],
      requires: schema['requires'],
    }).filter(([, value]) => value !== undefined),
  );
}

function propertyFacts(properties: Json): Json {
  const entries = Object.entries(properties).map(([name, schema]): [string, Json] => {
    if (!isObject(schema)) throw new Error(`property ${name} is no object`);
    const isRequired = schema['optional'] !== 1 && schema['alias'] === undefined;
    return [
      name,
      {
        ...scalarFacts(schema),
        ...(schema['default_key'] === 1 ? { isDefaultKey: true } : {}),
        ...(isRequired ? { isRequired: true } : {}),
      },
    ];
  });
  return Object.fromEntries(entries.sort(([a], [b]) => (a < b ? -1 : 1)));
}

function optionFacts(schema: Json): Json {
  const format = schema['format'];
  const facts = scalarFacts(schema);
  return isObject(format) ? { ...facts, properties: propertyFacts(format) } : facts;
}

function namedFormats(options: Json, formats: Json, kept: unknown): Json {
  const names = new Set(Object.values(options).map((option) => field(option, 'format')));
  const found = [...names].filter((name) => typeof name === 'string').sort();
  return Object.fromEntries(
    found.flatMap((name): [string, unknown][] => {
      const properties = formats[name];
      if (isObject(properties)) return [[name, propertyFacts(properties)]];
      const before = field(kept, 'formats', name, 'properties');
      return before === undefined ? [] : [[name, before]];
    }),
  );
}

/** One option, or one property, a line: a change of PVE shows as a readable difference. */
function print(name: string, value: unknown, indent: string): string {
  const properties = field(value, 'properties');
  const head = `${indent}${JSON.stringify(name)}: `;
  if (!isObject(value) || !isObject(properties)) return head + JSON.stringify(value);
  const rest = JSON.stringify({ ...value, properties: undefined }).slice(1, -1);
  return `${head}{${rest}${rest === '' ? '' : ','}"properties":${printBlock(properties, indent)}}`;
}

function printBlock(entries: Json, indent: string): string {
  if (Object.keys(entries).length === 0) return '{}';
  const lines = Object.entries(entries).map(([name, value]) => print(name, value, `${indent}  `));
  return `{\n${lines.join(',\n')}\n${indent}}`;
}

function printTable(options: Json, formats: Json): string {
  const blocks = Object.entries(formats).map(([name, properties]): [string, Json] => [
    name,
    { properties },
  ]);
  return [
    '{',
    '  "generated": "by deploy/generate-options.ts: run it again, do not edit",',
    `  "options": ${printBlock(options, '  ')},`,
    `  "formats": ${printBlock(Object.fromEntries(blocks), '  ')}`,
    '}',
    '',
  ].join('\n');
}

export function generate(schema: unknown, kind: string, formats: Json, kept: unknown): string {
  const parameters = findPut(schema, `/nodes/{node}/${kind}/{vmid}/config`);
  const options = Object.entries(parameters)
    .filter(([name]) => !REQUEST_ONLY.has(name))
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, option]): [string, Json] => [name, optionFacts(isObject(option) ? option : {})]);
  const table = Object.fromEntries(options);
  return printTable(table, namedFormats(table, formats, kept));
}

export function readSchema(text: string): unknown {
  return text.trimStart().startsWith('{') ? JSON.parse(text) : cutSchema(text);
}

if (import.meta.main) {
  const { values } = parseArgs({
    options: {
      schema: { type: 'string' },
      formats: { type: 'string' },
      out: { type: 'string', default: join(import.meta.dirname, '../src/proxmox/values') },
    },
  });
  if (values.schema === undefined) throw new Error('--schema FILE is missing');
  const schema = readSchema(readFileSync(values.schema, 'utf8'));
  const formats: unknown =
    values.formats === undefined ? {} : JSON.parse(readFileSync(values.formats, 'utf8'));
  for (const kind of KINDS) {
    const file = join(values.out, `options-${kind}.json`);
    const kept: unknown = existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')) : {};
    writeFileSync(file, generate(schema, kind, isObject(formats) ? formats : {}, kept));
  }
}
