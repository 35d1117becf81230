/**
 * Reads a segment's lines from its end, in pieces: the newest records of a long journal cost no
 * more than those of a short one. Sums are not checked.
 */
import type { ReadFile } from './disk.ts';
import { NEWLINE } from './line.ts';

const CHUNK_BYTES = 64 * 1024;

export interface BackLine {
  /** Without the newline. */
  readonly text: string;
  readonly offset: number;
  /** Behind its newline. */
  readonly endOffset: number;
}

export interface BackScan {
  /** Only lines that hold it: they are found without decoding the others. */
  readonly needle?: Buffer;
  /** Ends it between two pieces: then it rejects. */
  readonly signal?: AbortSignal | undefined;
}

/** Visits the complete lines, the last one first, until `visit` returns `stop`. */
export async function scanBack(
  file: ReadFile,
  visit: (line: BackLine) => 'stop' | undefined,
  { needle, signal }: BackScan = {},
): Promise<'stop' | undefined> {
  let end = await file.size();
  let rest: Buffer = Buffer.alloc(0);
  // What is behind the last newline is being written, or torn.
  let isTail = true;
  while (end > 0) {
    signal?.throwIfAborted();
    const start = Math.max(0, end - CHUNK_BYTES);
    const chunk = Buffer.allocUnsafe(end - start);
    const got = await file.read(chunk, start);
    const piece = rest.length === 0 ? chunk.subarray(0, got) : Buffer.concat([chunk, rest]);
    const from = start === 0 ? 0 : piece.indexOf(NEWLINE) + 1;
    if (from === 0 && start > 0) {
      rest = piece;
    } else {
      const to = isTail ? piece.lastIndexOf(NEWLINE) + 1 : piece.length;
      if (visitLines(piece.subarray(0, to), { from, start }, visit, needle) === 'stop') {
        return 'stop';
      }
      rest = piece.subarray(0, from);
      isTail = false;
    }
    end = start;
  }
  return undefined;
}

/** `piece`: whole lines from `from` on; `start` is its place in the file. */
function visitLines(
  piece: Buffer,
  { from, start }: { readonly from: number; readonly start: number },
  visit: (line: BackLine) => 'stop' | undefined,
  needle: Buffer | undefined,
): 'stop' | undefined {
  let end = piece.length;
  while (end > from) {
    if (needle !== undefined) {
      const hit = piece.lastIndexOf(needle, end - 1);
      if (hit < from) return undefined;
      end = piece.indexOf(NEWLINE, hit) + 1;
    }
    const begin = end < 2 ? 0 : piece.lastIndexOf(NEWLINE, end - 2) + 1;
    const text = piece.toString('utf8', begin, end - 1);
    const line = { text, offset: start + begin, endOffset: start + end };
    if (visit(line) === 'stop') return 'stop';
    end = begin;
  }
  return undefined;
}
