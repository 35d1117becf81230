/**
 * Puts a file in place as a whole: written beside it under a name no provider reads, synced,
 * renamed. Whoever looks sees the old one or the new one.
 */
import { chmod, chown, open, readlink, realpath, rename, rm, stat } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';

export interface WriteOptions {
  /** For a new file; one that is replaced keeps its mode and owner. */
  readonly mode: number;
  readonly owner?: { readonly uid: number; readonly gid: number };
}

/** Throws what the system says: no such folder, no permission, a full disk. */
export async function replaceFile(
  path: string,
  text: string,
  { mode, owner }: WriteOptions,
): Promise<void> {
  const before = await stat(path).catch(() => null);
  const temporary = join(dirname(path), `.${basename(path)}.${process.pid}.tmp`);
  try {
    await using file = await open(temporary, 'wx', 0o600);
    await file.writeFile(text);
    await file.sync();
    const { uid, gid } = before ?? owner ?? { uid: null, gid: null };
    if (uid !== null && process.geteuid?.() === 0) await chown(temporary, uid, gid);
    await chmod(temporary, before === null ? mode : before.mode & 0o777);
    await rename(temporary, path);
  } finally {
    await rm(temporary, { force: true });
  }
}

/**
 * The file that a path stands for, through links; it need not be there. To replace what a link
 * leads to, not the link. Throws what the system says: a loop of links, no permission.
 */
export async function findTarget(path: string): Promise<string> {
  try {
    return await realpath(path);
  } catch (error) {
    if (!isMissing(error)) throw error;
  }
  try {
    return await findTarget(resolve(dirname(path), await readlink(path)));
  } catch (error) {
    if (isMissing(error)) return path;
    throw error;
  }
}

function isMissing(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ENOENT';
}
