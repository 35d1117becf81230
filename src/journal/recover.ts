/**
 * Opening: from whatever a crash left in the folder to a sound newest segment (docs/JOURNAL.md has
 * the table of the states). Every step may be cut off and done again.
 *
 * Invariant: the newest segment is synced, and its name durable, before anybody acts on it: a
 * process that was killed may have left records that are read back but not yet on disk.
 */
import { ReconcilerError, toProblem } from '../reconcile/errors.ts';
import { type AppendFile, appendAll, createWhole, type Disk, errnoOf } from './disk.ts';
import { type Newest, readNewest } from './newest.ts';
import { removeLeftovers, segmentName, tornName, writeMarker } from './segments.ts';

/**
 * Null: there is no journal yet. Throws `journal_corrupt`, having changed no segment.
 *
 * `isSuspect`: the last writer ended on a failed write or sync. What it left can be read, but the
 * kernel may have given up on writing it: the newest segment is written anew.
 */
export async function recoverNewest(disk: Disk, isSuspect: boolean): Promise<Newest | null> {
  await removeLeftovers(disk);
  const newest = await readNewest(disk);
  if (newest === null) return null;
  const { number, epoch } = newest;
  if (newest.tornBytes > 0) await keepTorn(disk, newest);
  if (isSuspect) await rewriteNewest(disk, newest);
  else await settleNewest(disk, newest);
  // Where the marker lags, the segment's own name may not be durable yet: this syncs both.
  if (!newest.isMarked) await writeMarker(disk, { number, epoch });
  return newest;
}

/** Cuts off the torn tail and makes all durable. */
async function settleNewest(disk: Disk, { number, bytes, tornBytes }: Newest): Promise<void> {
  const file = await disk.openAppend(segmentName(number));
  try {
    if (tornBytes > 0) await file.truncate(bytes);
    await file.sync();
  } finally {
    await file.close();
  }
}

async function rewriteNewest(disk: Disk, { number, bytes, epoch }: Newest): Promise<void> {
  const content = await readPart(disk, number, { offset: 0, length: bytes });
  const temporary = `rewritten.${epoch}.tmp`;
  await createWhole(disk, { name: segmentName(number), temporary, bytes: content });
}

async function keepTorn(disk: Disk, { number, bytes, tornBytes }: Newest): Promise<void> {
  const tail = await readPart(disk, number, { offset: bytes, length: tornBytes });
  const torn = await openOrCreate(disk, tornName(number));
  try {
    await appendAll(torn, tail);
    await torn.sync();
  } finally {
    await torn.close();
  }
  await disk.syncFolder();
}

async function readPart(
  disk: Disk,
  number: number,
  { offset, length }: { readonly offset: number; readonly length: number },
): Promise<Buffer> {
  const file = await disk.openRead(segmentName(number));
  try {
    const bytes = Buffer.alloc(length);
    return bytes.subarray(0, await file.read(bytes, offset));
  } finally {
    await file.close();
  }
}

async function openOrCreate(disk: Disk, name: string): Promise<AppendFile> {
  try {
    return await disk.openAppend(name);
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return disk.create(name);
    throw error;
  }
}

/** An error of the operating system while opening, as one of ours; any other is given back. */
export function openingFailed(error: unknown): unknown {
  const errno = errnoOf(error);
  if (error instanceof ReconcilerError || errno === null) return error;
  const { message } = toProblem(error);
  const context = { errno };
  switch (errno) {
    case 'EACCES':
    case 'EPERM':
      return new ReconcilerError('forbidden', `the journal cannot be opened: ${message}`, {
        hint: 'Run as the owner of state_dir.',
        context,
        cause: error,
      });
    case 'EROFS':
    case 'ENOTDIR':
    case 'EEXIST':
    case 'ENOENT':
    case 'ELOOP':
      return new ReconcilerError('config_invalid', `the journal cannot be opened: ${message}`, {
        hint: 'state_dir must be a folder on a writable local file system.',
        context,
        cause: error,
      });
    default:
      return new ReconcilerError('journal_poisoned', `the journal cannot be opened: ${message}`, {
        disposition: 'halt',
        hint: 'Check room and health of the disk under state_dir, then start again.',
        context,
        cause: error,
      });
  }
}
