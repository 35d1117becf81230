/**
 * The state folder and its secret: nobody else may look in (0700, files 0600), and it belongs to
 * who runs the agent. Made where it is missing, refused where it is not as it should be.
 */
import { createHmac, randomBytes } from 'node:crypto';
import * as fs from 'node:fs';
import { dirname, join } from 'node:path';
import { ReconcilerError } from '../reconcile/errors.ts';
import { errnoOf } from './disk.ts';
import { syncFolder } from './node-disk.ts';

export const JOURNAL_FOLDER = 'journal';
/** The key of `hashSecret`, in state_dir. */
export const KEY_NAME = 'journal.key';
const KEY_BYTES = 32;
const OTHERS = 0o077;

/** Makes what is missing of state_dir and its journal folder, and checks owner and mode. */
export async function prepareStateDir(stateDir: string): Promise<void> {
  await makeFolder(stateDir);
  requirePrivate(stateDir, fs.statSync(stateDir), 'folder');
}

/** The journal's folder; only once the lock is held. */
export async function prepareJournalFolder(stateDir: string): Promise<string> {
  const folder = join(stateDir, JOURNAL_FOLDER);
  await makeFolder(folder);
  requirePrivate(folder, fs.lstatSync(folder), 'folder');
  for (const name of await fs.promises.readdir(folder)) {
    const stat = fs.lstatSync(join(folder, name), { throwIfNoEntry: false });
    if (stat !== undefined) requirePrivate(join(folder, name), stat, 'file');
  }
  return folder;
}

async function makeFolder(path: string): Promise<void> {
  const firstMade = await fs.promises.mkdir(path, { recursive: true, mode: 0o700 });
  if (firstMade !== undefined) await syncFolder(dirname(firstMade));
}

function requirePrivate(path: string, stat: fs.Stats, what: 'file' | 'folder'): void {
  const isKind = what === 'folder' ? stat.isDirectory() : stat.isFile();
  if (!isKind) throw refused(path, `is not a ${what}`, `Move it out of the way.`);
  const uid = process.geteuid?.();
  if (uid !== undefined && stat.uid !== uid) {
    const why = `belongs to uid ${stat.uid}, not to ${uid}`;
    throw refused(path, why, 'Run as its owner.', 'forbidden');
  }
  if ((stat.mode & OTHERS) === 0) return;
  const mode = (stat.mode & 0o777).toString(8);
  const right = what === 'folder' ? '0700' : '0600';
  throw refused(path, `has mode 0${mode}: others can get at it`, `chmod ${right} ${path}`);
}

function refused(
  path: string,
  why: string,
  hint: string,
  code: 'config_invalid' | 'forbidden' = 'config_invalid',
): ReconcilerError {
  return new ReconcilerError(code, `${path} ${why}`, { hint, context: { path } });
}

export interface Hasher {
  readonly hash: (text: string) => string;
  /** There was no key. */
  readonly isNew: boolean;
}

/** Hashes with the key of this state folder; makes the key where it is missing. Only with the lock held. */
export async function openHasher(stateDir: string): Promise<Hasher> {
  const path = join(stateDir, KEY_NAME);
  const found = readKey(path);
  const key = found ?? (await makeKey(path));
  const hash = (text: string): string => createHmac('sha256', key).update(text).digest('hex');
  return { hash, isNew: found === null };
}

function readKey(path: string): Buffer | null {
  let fd: number;
  try {
    fd = fs.openSync(path, fs.constants.O_RDONLY | fs.constants.O_NOFOLLOW);
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return null;
    throw error;
  }
  try {
    requirePrivate(path, fs.fstatSync(fd), 'file');
    const key = fs.readFileSync(fd);
    if (key.length === KEY_BYTES) return key;
  } finally {
    fs.closeSync(fd);
  }
  throw refused(path, `is not a key of ${KEY_BYTES} bytes`, 'Put the key back from a backup.');
}

async function makeKey(path: string): Promise<Buffer> {
  const key = randomBytes(KEY_BYTES);
  const temporary = `${path}.tmp`;
  await fs.promises.rm(temporary, { force: true });
  await fs.promises.writeFile(temporary, key, { mode: 0o600, flag: 'wx', flush: true });
  await fs.promises.rename(temporary, path);
  await syncFolder(dirname(path));
  return key;
}
