/**
 * The API schema as facts (schema.json) and the checking of parameters against it, in PVE's words
 * (transcript put_bad_params). It decides nothing about guests.
 */
import { readFileSync } from 'node:fs';
import { z } from 'zod';
import { checkCpu } from './cpu-models.ts';
import { NAMED_FORMATS } from './formats.ts';
import {
  type PropertyFormat,
  PropertyStringError,
  parsePropertyString,
} from './property-string.ts';
import { paramText } from './request-params.ts';

export interface PropertySchema {
  readonly type?: string;
  readonly enum?: readonly string[];
  readonly optional?: number;
  readonly minimum?: number;
  readonly maximum?: number;
  readonly minLength?: number;
  readonly maxLength?: number;
  readonly pattern?: string;
  readonly format?: string | PropertyFormat;
  readonly default_key?: number;
  readonly alias?: string;
  readonly keyAlias?: string;
  readonly requires?: string;
}

export interface EndpointSchema {
  readonly protected?: number;
  readonly proxyto?: string;
  readonly extends?: string;
  readonly permissions: { readonly check?: readonly unknown[]; readonly user?: string };
  readonly properties: Readonly<Record<string, PropertySchema>>;
}

const schemaFile = z.object({
  formats: z.record(z.string(), z.custom<PropertyFormat>()),
  endpoints: z.record(z.string(), z.custom<EndpointSchema>()),
});

const facts = schemaFile.parse(
  JSON.parse(readFileSync(new URL('schema.json', import.meta.url), 'utf8')),
);

/** `GET /nodes/{node}/qemu` → its schema. */
export function endpointSchema(key: string): EndpointSchema | null {
  const endpoint = facts.endpoints[key];
  if (endpoint === undefined) return null;
  const base = endpoint.extends === undefined ? null : endpointSchema(endpoint.extends);
  if (base === null) return endpoint;
  return { ...endpoint, properties: { ...base.properties, ...endpoint.properties } };
}

/** Highest index of the `name[n]` options, where it is not 255 (`unused`, `mp`, `dev`). */
const HIGHEST_INDEX: Readonly<Record<string, number>> = {
  net: 31,
  scsi: 30,
  ide: 3,
  sata: 5,
  virtio: 15,
  usb: 13,
  hostpci: 15,
  serial: 3,
  parallel: 2,
  ipconfig: 31,
  numa: 7,
  virtiofs: 9,
};

/** The schema of `net0` under `net[n]`; null where there is no such property. */
export function findProperty(
  properties: Readonly<Record<string, PropertySchema>>,
  key: string,
): PropertySchema | null {
  if (Object.hasOwn(properties, key) && !key.includes('[')) return properties[key] ?? null;
  const match = /^([a-z]+)(0|[1-9]\d*)$/.exec(key);
  const base = match?.[1] ?? '';
  const schema = properties[`${base}[n]`];
  if (schema === undefined || Number(match?.[2]) > (HIGHEST_INDEX[base] ?? 255)) return null;
  return schema;
}

const NOT_IN_SCHEMA =
  'property is not defined in schema and the schema does not allow additional properties';
const MISSING = 'property is missing and it is not optional';

/** Errors by parameter; empty when everything fits. */
export function checkParams(
  properties: Readonly<Record<string, PropertySchema>>,
  given: ReadonlyMap<string, unknown>,
): Record<string, string> {
  const errors: Record<string, string> = {};
  for (const [key, schema] of Object.entries(properties)) {
    if (schema.optional !== 1 && !key.includes('[') && !given.has(key)) errors[key] = MISSING;
  }
  for (const [key, value] of given) {
    const schema = findProperty(properties, key);
    const error = schema === null ? NOT_IN_SCHEMA : checkValue(key, value, schema, false);
    if (error !== null) errors[key] = error;
  }
  return errors;
}

function checkValue(
  key: string,
  value: unknown,
  schema: PropertySchema,
  isInside: boolean,
): string | null {
  if (value === null) return null;
  if (typeof value === 'object') {
    const kind = Array.isArray(value) ? 'ARRAY' : 'HASH';
    return `type check ('${schema.type ?? 'string'}') failed - got ${kind}`;
  }
  const text = paramText(value);
  if (!hasType(text, schema.type ?? 'string', isInside)) {
    return `type check ('${schema.type}') failed - got '${text}'`;
  }
  return checkFormat(key, text, schema.format) ?? checkLimits(text, schema);
}

function hasType(text: string, type: string, isInside: boolean): boolean {
  switch (type) {
    case 'integer':
      return /^[+-]?\d+$/.test(text);
    case 'number':
      return /^[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?$/.test(text);
    case 'boolean':
      // At the top level only 0 and 1; inside property strings words too (PVE-FACTS 27).
      return isInside ? /^(?:[01]|yes|no|on|off|true|false)$/i.test(text) : /^[01]$/.test(text);
    default:
      return true;
  }
}

function checkLimits(text: string, schema: PropertySchema): string | null {
  const { minimum, maximum, minLength, maxLength } = schema;
  if (schema.pattern !== undefined && !toRegExp(schema.pattern).test(text)) {
    return 'value does not match the regex pattern';
  }
  if (schema.type === 'integer' || schema.type === 'number') {
    if (minimum !== undefined && Number(text) < minimum) {
      return `value must have a minimum value of ${minimum}`;
    }
    if (maximum !== undefined && Number(text) > maximum) {
      return `value must have a maximum value of ${maximum}`;
    }
  }
  if (minLength !== undefined && text.length < minLength) {
    return `value must be at least ${minLength} characters long`;
  }
  if (maxLength !== undefined && text.length > maxLength) {
    return `value may only be ${maxLength} characters long`;
  }
  if (schema.enum !== undefined && !schema.enum.includes(text)) {
    return `value '${text}' does not have a value in the enumeration '${schema.enum.join(', ')}'`;
  }
  return null;
}

function checkFormat(
  key: string,
  text: string,
  format: string | PropertyFormat | undefined,
): string | null {
  if (format === undefined) return null;
  const why =
    typeof format === 'object'
      ? checkPropertyString(key, text, format)
      : checkNamedFormat(key, text, format);
  return why === null ? null : `invalid format - ${why}\n`;
}

function checkNamedFormat(key: string, text: string, name: string): string | null {
  const check = NAMED_FORMATS[name];
  if (check !== undefined) return check(text);
  const format = facts.formats[name];
  if (format === undefined) return null;
  const why = checkPropertyString(key, text, format);
  if (why !== null || name !== 'pve-vm-cpu-conf') return why;
  return checkCpu(parsePropertyString(text, format));
}

function checkPropertyString(key: string, text: string, format: PropertyFormat): string | null {
  let pairs: Map<string, string>;
  try {
    pairs = parsePropertyString(text, format);
  } catch (error) {
    if (error instanceof PropertyStringError) return error.message;
    throw error;
  }
  const lines: string[] = [];
  for (const [name, schema] of Object.entries(format)) {
    if (schema.alias !== undefined || schema.optional === 1 || pairs.has(name)) continue;
    lines.push(`${key}.${name}: ${MISSING}`);
  }
  for (const [name, value] of pairs) {
    const schema = Object.hasOwn(format, name) ? format[name] : undefined;
    const error = schema === undefined ? NOT_IN_SCHEMA : checkValue(name, value, schema, true);
    if (error !== null) lines.push(`${key}.${name}: ${error}`);
    const needed = schema?.requires;
    if (needed !== undefined && !pairs.has(needed)) {
      lines.push(`${key}.${needed}: missing property required by '${key}.${name}'`);
    }
  }
  return lines.length === 0 ? null : `format error\n${lines.join('\n')}`;
}

const patterns = new Map<string, RegExp>();

/** Perl's `(?^:…)` and inline flags, as far as the schema uses them. */
function toRegExp(pattern: string): RegExp {
  const known = patterns.get(pattern);
  if (known !== undefined) return known;
  const isCaseless = /\(\?\^?i[a-z]*:|\(\?i\)/.test(pattern);
  const source = pattern
    .replaceAll(/\(\?\^?[a-z]*:/g, '(?:')
    .replaceAll('(?i)', '')
    .replaceAll('{,', '{0,');
  const compiled = new RegExp(`^(?:${source})$`, isCaseless ? 'i' : '');
  patterns.set(pattern, compiled);
  return compiled;
}
