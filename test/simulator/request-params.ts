/**
 * Parameters of a request as PVE decodes them, quirks included (PVE-FACTS 1): form bodies are split
 * on `&` and `;`, each pair on every `=`, and the query wins over the body.
 */
import { ApiError } from './api-error.ts';
import type { WireRequest } from './wire-request.ts';

/** As given: text from forms, real types from JSON, an array where a key was given twice. */
export type GivenParams = ReadonlyMap<string, unknown>;

/** A value as PVE sees it: JSON true is 1, and numbers are their digits. */
export function paramText(value: unknown): string {
  if (typeof value === 'boolean') return value ? '1' : '0';
  return typeof value === 'string' ? value : JSON.stringify(value);
}

/** The body could not be read at all; answered without JSON (transcript put_bad_params). */
export class UnreadableBody extends ApiError {}

function decodeText(text: string): string {
  const bytes = text
    .replaceAll('+', ' ')
    .replaceAll(/%([0-9a-fA-F]{2})/g, (_, hex: string) => String.fromCharCode(parseInt(hex, 16)));
  return Buffer.from(bytes, 'latin1').toString('utf8');
}

function decodeForm(text: string, into: Map<string, unknown>): void {
  const seen = new Map<string, string[]>();
  for (const pair of text.split(/[&;]/)) {
    if (pair === '') continue;
    // What follows a second "=" is lost.
    const [key = '', value = ''] = pair.split('=');
    const values = seen.get(decodeText(key)) ?? [];
    values.push(decodeText(value));
    seen.set(decodeText(key), values);
  }
  for (const [key, values] of seen) into.set(key, values.length > 1 ? values : values[0]);
}

function decodeJson(body: Buffer, into: Map<string, unknown>): void {
  let parsed: unknown;
  try {
    parsed = JSON.parse(body.toString('utf8'));
  } catch {
    throw malformedJson(body.toString('utf8'));
  }
  if (typeof parsed !== 'object' || parsed === null || Array.isArray(parsed)) {
    throw malformedJson(body.toString('utf8'));
  }
  for (const [key, value] of Object.entries(parsed)) into.set(key, value);
}

function malformedJson(text: string): UnreadableBody {
  const rest = text.slice(1, -1);
  return new UnreadableBody(
    500,
    `'"' expected, at character offset 1 (before "${rest}") at ` +
      '/usr/local/lib/site_perl/PVE/APIServer/AnyEvent.pm line 934.',
  );
}

function decodeBody(request: WireRequest, into: Map<string, unknown>): void {
  const contentType = request.headers.get('content-type');
  if (contentType === undefined || request.body.length === 0) return;
  const type = contentType.split(';')[0]?.trim().toLowerCase();
  if (type === 'application/x-www-form-urlencoded') {
    decodeForm(request.body.toString('latin1'), into);
  } else if (type === 'application/json') {
    decodeJson(request.body, into);
  } else {
    const reason = `upload 'Content-Type '${contentType}' not implemented`;
    throw new UnreadableBody(506, reason, { newline: false });
  }
}

/** Path and parameters; throws UnreadableBody. */
export function decodeRequest(request: WireRequest): { path: string; params: GivenParams } {
  const [rawPath, query] = splitOnce(request.target, '?');
  const params = new Map<string, unknown>();
  if (request.method === 'PUT' || request.method === 'POST') decodeBody(request, params);
  decodeForm(query, params);
  return { path: decodePath(rawPath), params };
}

function splitOnce(text: string, separator: string): [string, string] {
  const at = text.indexOf(separator);
  return at < 0 ? [text, ''] : [text.slice(0, at), text.slice(at + 1)];
}

function decodePath(path: string): string {
  try {
    return decodeURIComponent(path);
  } catch {
    return path;
  }
}
