/**
 * Reads a small text file that may be hostile: a device, a pipe, too large, not UTF-8, or (for
 * keys and tokens) open to people it should not be open to. Everything is checked on the open
 * file, never on the path, so nothing can be exchanged in between.
 */
import { constants, type Stats } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { type ErrorCode, ReconcilerError } from '../../reconcile/errors.ts';
import { asWhom, permissionHint } from '../daemon/state-owner.ts';

/**
 * - `plain`: links are followed.
 * - `secret`: no link; nobody but its owner may read it. A file of root's may be readable by the
 *   group of the account we run as, which has no other way to it.
 * - `public_key`: no link; nobody but its owner may write it.
 */
export type FileGuard = 'plain' | 'secret' | 'public_key';

export type TextFile =
  | { readonly kind: 'read'; readonly text: string }
  | { readonly kind: 'unreadable'; readonly problem: FileProblem };

export interface FileProblem {
  readonly message: string;
  readonly hint?: string;
  /** The system would not let us read it. */
  readonly isDenied?: boolean;
  /** The system's word, not the file's: it may well be readable next time, unchanged. */
  readonly isIoError?: boolean;
  /** Where in the text, from 1. */
  readonly line?: number;
  readonly column?: number;
}

const DENIED = 'permission denied';
const REASONS: Readonly<Record<string, string>> = {
  ENOENT: 'no such file',
  EACCES: DENIED,
  EPERM: DENIED,
  ELOOP: 'it is a symbolic link, or a loop of them',
  EISDIR: 'it is a folder',
  ENOTDIR: 'a part of its path is not a folder',
  ENXIO: 'not a regular file',
};

export async function readTextFile(
  path: string,
  options: { readonly maxBytes: number; readonly guard?: FileGuard },
): Promise<TextFile> {
  const guard = options.guard ?? 'plain';
  // O_NONBLOCK: opening a pipe nobody writes to would wait for ever.
  const flags = constants.O_RDONLY | constants.O_NONBLOCK;
  try {
    await using file = await open(path, guard === 'plain' ? flags : flags | constants.O_NOFOLLOW);
    const stats = await file.stat();
    const problem = refuseFile(stats, path, { guard, maxBytes: options.maxBytes });
    if (problem !== null) return { kind: 'unreadable', problem };
    return decode(await readUpTo(file, options.maxBytes + 1), options.maxBytes);
  } catch (error) {
    const message = `cannot be read: ${describeIoError(error)}`;
    const denied = isDenied(error) ? { isDenied: true } : {};
    return { kind: 'unreadable', problem: { message, isIoError: true, ...denied } };
  }
}

/** Throws `forbidden` where we may not read it, else, with the file's name, the `code` given. */
export async function requireTextFile(
  path: string,
  options: {
    readonly maxBytes: number;
    readonly guard?: FileGuard;
    readonly code: ErrorCode;
    readonly hint?: string;
  },
): Promise<string> {
  const read = await readTextFile(path, options);
  if (read.kind === 'read') return read.text;
  const { message, isDenied = false } = read.problem;
  const hint = isDenied ? permissionHint(path) : (read.problem.hint ?? options.hint);
  const code = isDenied ? 'forbidden' : options.code;
  throw new ReconcilerError(code, `${path}: ${message}`, hint === undefined ? {} : { hint });
}

/** The system's reason in plain words. */
export function describeIoError(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const reason = REASONS[codeOf(error)] ?? error.message;
  return isDenied(error) ? reason + asWhom() : reason;
}

function isDenied(error: unknown): boolean {
  return REASONS[codeOf(error)] === DENIED;
}

function codeOf(error: unknown): string {
  if (!(error instanceof Error && 'code' in error)) return '';
  return typeof error.code === 'string' ? error.code : '';
}

function refuseFile(
  stats: Stats,
  path: string,
  { guard, maxBytes }: { readonly guard: FileGuard; readonly maxBytes: number },
): FileProblem | null {
  if (!stats.isFile()) return { message: 'not a regular file' };
  if (stats.size > maxBytes) return tooLarge(maxBytes);
  if (guard === 'plain') return null;
  const ownUid = process.geteuid?.() ?? 0;
  if (stats.uid !== 0 && stats.uid !== ownUid) {
    return {
      message: `belongs to uid ${stats.uid}, neither to root nor to us (uid ${ownUid})`,
      hint: `chown root ${path}`,
    };
  }
  return guard === 'secret' ? refuseReaders(stats, path) : refuseWriters(stats, path);
}

function refuseReaders(stats: Stats, path: string): FileProblem | null {
  const isOurGroup =
    stats.uid === 0 && process.geteuid?.() !== 0 && stats.gid === process.getegid?.();
  const forbidden = isOurGroup ? 0o037 : 0o077;
  if ((stats.mode & forbidden) === 0) return null;
  return { message: `can be read by others (mode ${modeText(stats)})`, hint: `chmod 600 ${path}` };
}

function refuseWriters(stats: Stats, path: string): FileProblem | null {
  if ((stats.mode & 0o022) === 0) return null;
  return {
    message: `can be written by others (mode ${modeText(stats)})`,
    hint: `chmod 644 ${path}`,
  };
}

function modeText(stats: Stats): string {
  return (stats.mode & 0o7777).toString(8).padStart(4, '0');
}

/** Stops at `limit` whatever the size said: the file may be growing. */
async function readUpTo(file: FileHandle, limit: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let length = 0;
  while (length < limit) {
    const chunk = Buffer.allocUnsafe(Math.min(64 * 1024, limit - length));
    const { bytesRead } = await file.read(chunk, 0, chunk.length, null);
    if (bytesRead === 0) break;
    chunks.push(chunk.subarray(0, bytesRead));
    length += bytesRead;
  }
  return Buffer.concat(chunks, length);
}

function decode(bytes: Buffer, maxBytes: number): TextFile {
  if (bytes.length > maxBytes) return { kind: 'unreadable', problem: tooLarge(maxBytes) };
  try {
    return { kind: 'read', text: new TextDecoder('utf-8', { fatal: true }).decode(bytes) };
  } catch {
    const before = new TextDecoder().decode(bytes).split('\uFFFD', 1)[0] ?? '';
    const lines = before.split('\n');
    return {
      kind: 'unreadable',
      problem: {
        message: 'not valid UTF-8',
        line: lines.length,
        column: (lines.at(-1)?.length ?? 0) + 1,
      },
    };
  }
}

function tooLarge(maxBytes: number): FileProblem {
  return { message: `larger than the limit of ${maxBytes / 1024} KiB` };
}
