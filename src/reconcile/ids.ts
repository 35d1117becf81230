/**
 * Branded identifiers. Each is made by its parser here and nowhere else, so a value of the type
 * has been checked.
 */
import type { Random } from './clock.ts';

declare const brand: unique symbol;
type Brand<Base, Name extends string> = Base & { readonly [brand]: Name };

/** A guest's number on its cluster, 100 to 999,999,999. */
export type Vmid = Brand<number, 'Vmid'>;
/** One op, 16 characters of lower-case Crockford base32 (80 random bits). */
export type OpId = Brand<string, 'OpId'>;
/** Ties ops, log lines and requests together; chosen by a client or made like an op id. */
export type CorrelationId = Brand<string, 'CorrelationId'>;
/** PVE's name of a task, kept as PVE wrote it. Its fields are read in src/proxmox/upid.ts. */
export type Upid = Brand<string, 'Upid'>;

export const VMID_MIN = 100;
export const VMID_MAX = 999_999_999;
/** Long enough for any client's request id, short enough for a log line. */
export const CORRELATION_ID_MAX_CHARS = 128;
/** A UPID is about 70 characters; user names bound it. */
const UPID_MAX_CHARS = 256;

export const OP_ID_CHARS = 16;
const CROCKFORD = '0123456789abcdefghjkmnpqrstvwxyz';
const OP_ID = /^[0-9a-hjkmnp-tv-z]{16}$/;
const CORRELATION_ID = /^[A-Za-z0-9._:@/+=-]+$/;
const UPID =
  /^UPID:[^:\s]+:[0-9A-Fa-f]{8}:[0-9A-Fa-f]{8,9}:[0-9A-Fa-f]{8}:[^:\s]+:[^:\s]*:[^:\s]+:[^:\s]*$/;

export function parseVmid(value: unknown): Vmid | null {
  const number = typeof value === 'string' && /^[1-9][0-9]{2,8}$/.test(value) ? +value : value;
  if (typeof number !== 'number' || !Number.isInteger(number)) return null;
  return number >= VMID_MIN && number <= VMID_MAX ? (number as Vmid) : null;
}

export function parseOpId(value: unknown): OpId | null {
  return typeof value === 'string' && OP_ID.test(value) ? (value as OpId) : null;
}

export function parseCorrelationId(value: unknown): CorrelationId | null {
  if (typeof value !== 'string' || value.length > CORRELATION_ID_MAX_CHARS) return null;
  return CORRELATION_ID.test(value) ? (value as CorrelationId) : null;
}

/** Accepts the shape of a UPID (8 or 9 hex digits of pstart, PVE-FACTS 16), not its meaning. */
export function parseUpid(value: unknown): Upid | null {
  if (typeof value !== 'string' || value.length > UPID_MAX_CHARS) return null;
  return UPID.test(value) ? (value as Upid) : null;
}

export function makeOpId(random: Random): OpId {
  return randomText(random) as OpId;
}

export function makeCorrelationId(random: Random): CorrelationId {
  return randomText(random) as CorrelationId;
}

function randomText(random: Random): string {
  let text = '';
  for (let i = 0; i < OP_ID_CHARS; i++) text += CROCKFORD.charAt(Math.floor(random.next() * 32));
  return text;
}
