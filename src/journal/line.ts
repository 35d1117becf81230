/**
 * The codec of one line: `BODY,"sum":"S"}` and a newline, where BODY is the record's compact JSON
 * without its closing brace and S the first 32 hex digits of SHA-256(previous line's sum + BODY).
 */
import { hash } from 'node:crypto';

/** What the very first line of a journal is chained to. */
export const ZERO_SUM = '0'.repeat(32);
export const SUM_CHARS = 32;
export const NEWLINE = 10;

/** Of one record's text. A config change with its old values fits many times over. */
export const MAX_RECORD_BYTES = 256 * 1024;
/** Of any line: a restated op holds up to three records. */
export const MAX_LINE_BYTES = 1024 * 1024;

const SUM_KEY = ',"sum":"';
/** From the comma before `"sum"` to the closing brace. */
const SUFFIX_BYTES = SUM_KEY.length + SUM_CHARS + 2;
const SUM = /^[0-9a-f]{32}$/;

export interface SealedLine {
  /** With its newline. */
  readonly text: string;
  readonly sum: string;
}

/** `json`: a record's JSON.stringify text, an object with at least one member. */
export function sealLine(json: string, previousSum: string): SealedLine {
  const body = json.slice(0, -1);
  const sum = hash('sha256', previousSum + body, 'hex').slice(0, SUM_CHARS);
  return { text: `${body}${SUM_KEY}${sum}"}\n`, sum };
}

/** The JSON text that a sound line was made of. */
export function unsealed(text: string): string {
  return `${text.slice(0, -SUFFIX_BYTES)}}`;
}

/** Of the line that a record's JSON text becomes, with its newline. */
export function lineBytes(json: string): number {
  return Buffer.byteLength(json) - 1 + SUFFIX_BYTES + 1;
}

export function isSum(value: unknown): value is string {
  return typeof value === 'string' && SUM.test(value);
}

/**
 * The sum a line states, or null where it has not a line's form. Not checked to be hex digits: it is
 * good if it is the one the line ought to have.
 */
export function statedSum(text: string): string | null {
  if (text.length <= SUFFIX_BYTES || !text.endsWith('"}')) return null;
  if (!text.startsWith(SUM_KEY, text.length - SUFFIX_BYTES)) return null;
  return text.slice(-SUM_CHARS - 2, -2);
}

/**
 * The sum a line ought to have. There must be room for a sum before `start`: it is overwritten,
 * which saves a copy of every line read.
 */
export function computeSum(
  buffer: Buffer,
  line: { readonly start: number; readonly end: number },
  previousSum: string,
): string {
  buffer.write(previousSum, line.start - SUM_CHARS, SUM_CHARS, 'latin1');
  const hashed = buffer.subarray(line.start - SUM_CHARS, line.end - SUFFIX_BYTES);
  return hash('sha256', hashed, 'hex').slice(0, SUM_CHARS);
}
