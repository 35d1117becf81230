/**
 * `npm run -s same-value`: questions about config values, a JSON line on stdin each, and their
 * answers on stdout, a JSON line each, in the same order.
 *
 *   {"kind","key","a","b"}           → {"equal"}          do both mean the same to PVE
 *   {"kind","key","value"}           → {"valid","why"?}   would PVE accept it
 *   {"kind","key","written","read"}  → {"drift"}          is `read` not what `written` asks for
 *
 * Null is not set; other fields of a line are ignored. A line that is no question is answered with
 * {"error"}, and the exit status at the end is 65. Reads as it goes: memory is bounded by a line.
 */
import { once } from 'node:events';
import { z } from 'zod';
import { hasDrift, isSameValue } from '../proxmox/values/same-value.ts';
import { refuseValue } from '../proxmox/values/validity.ts';
import { configText } from '../reconcile/desired.ts';
import { EXIT } from './errors.ts';

/** PVE takes bodies of half a MiB (PVE-FACTS 4): no value that could be sent is longer. */
const LINE_MAX_BYTES = 4 * 1024 * 1024;
const NEWLINE = 0x0a;

const scalar = z.union([z.string(), z.number(), z.boolean()]);
const text = z.union([scalar, z.array(z.union([z.string(), z.number()]))]).transform(configText);
const textOrUnset = z.union([text, z.null()]);
const about = { kind: z.enum(['qemu', 'lxc']), key: z.string() };

const equalQuestion = z.object({ ...about, a: textOrUnset, b: textOrUnset });
const validQuestion = z.object({ ...about, value: text });
const driftQuestion = z.object({ ...about, written: textOrUnset, read: textOrUnset });

type Answer =
  | { readonly equal: boolean }
  | { readonly valid: boolean; readonly why?: string }
  | { readonly drift: boolean }
  | { readonly error: string };

/** The answer to one line, as the object that is printed. Total. */
export function answerLine(line: string): Answer {
  let json: unknown;
  try {
    json = JSON.parse(line);
  } catch {
    return { error: 'not JSON' };
  }
  return answer(json);
}

function answer(json: unknown): Answer {
  const equal = equalQuestion.safeParse(json);
  if (equal.success) {
    const { kind, key, a, b } = equal.data;
    return { equal: isSameValue(kind, key, [a, b]) };
  }
  const drift = driftQuestion.safeParse(json);
  if (drift.success) {
    const { kind, key, written, read } = drift.data;
    return { drift: hasDrift(kind, key, { written, read }) };
  }
  const valid = validQuestion.safeParse(json);
  if (!valid.success) {
    return { error: 'expected kind (qemu, lxc), key, and a and b, or value, or written and read' };
  }
  const { kind, key, value } = valid.data;
  const why = refuseValue(kind, key, value ?? '');
  return why === null ? { valid: true } : { valid: false, why };
}

/** Lines as bytes; null for one that is too long, which is skipped, not kept. */
async function* readLines(input: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array | null> {
  let parts: Uint8Array[] = [];
  let bytes = 0;
  const take = (): Uint8Array | null => {
    const line = bytes > LINE_MAX_BYTES ? null : Buffer.concat(parts);
    parts = [];
    bytes = 0;
    return line;
  };
  for await (const chunk of input) {
    let start = 0;
    for (let end = chunk.indexOf(NEWLINE); end >= 0; end = chunk.indexOf(NEWLINE, start)) {
      parts.push(chunk.subarray(start, end));
      bytes += end - start;
      yield take();
      start = end + 1;
    }
    bytes += chunk.length - start;
    if (bytes <= LINE_MAX_BYTES) parts.push(chunk.subarray(start));
    else parts = [];
  }
  if (bytes > 0) yield take();
}

function decode(line: Uint8Array): Answer {
  try {
    return answerLine(new TextDecoder('utf-8', { fatal: true }).decode(line));
  } catch {
    return { error: 'not UTF-8' };
  }
}

/** Answers everything; false if a line was no question. */
export async function answerAll(
  input: AsyncIterable<Uint8Array>,
  output: NodeJS.WritableStream,
): Promise<boolean> {
  let isClean = true;
  for await (const line of readLines(input)) {
    const found = line === null ? { error: `longer than ${LINE_MAX_BYTES} bytes` } : decode(line);
    isClean &&= !('error' in found);
    if (!output.write(`${JSON.stringify(found)}\n`)) await once(output, 'drain');
  }
  return isClean;
}

if (import.meta.main) {
  // A reader that has gone away (`| head`) needs no more answers.
  process.stdout.on('error', () => process.exit(EXIT.ok));
  const isClean = await answerAll(process.stdin, process.stdout);
  process.exitCode = isClean ? EXIT.ok : EXIT.badData;
}
