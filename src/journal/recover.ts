/**
 * Opening: from whatever a crash left in the folder to a sound newest segment (docs/JOURNAL.md has
 * the table of the states). Every step may be cut off and done again.
 *
 * Invariant: the newest segment is synced, and its name durable, before anybody acts on it: a
 * process that was killed may have left records that are read back but not yet on disk.
 */
import { ReconcilerError, toProblem } from '../reconcile/errors.ts';
import { hasSum } from './chain-link.ts';
import { type AppendFile, appendAll, createWhole, type Disk, errnoOf } from './disk.ts';
import { type Replayed, replaySegment } from './replay.ts';
import {
  corrupt,
  readMarker,
  removeLeftovers,
  segmentName,
  segmentNumbers,
  tornName,
  writeMarker,
} from './segments.ts';

export interface Recovered extends Replayed {
  readonly number: number;
}

/**
 * Null: there is no journal yet. Throws `journal_corrupt`, having changed no segment.
 *
 * `isSuspect`: the last writer ended on a failed write or sync. What it left can be read, but the
 * kernel may have given up on writing it: the newest segment is written anew.
 */
export async function recoverNewest(disk: Disk, isSuspect: boolean): Promise<Recovered | null> {
  await removeLeftovers(disk);
  const numbers = segmentNumbers(await disk.list());
  const marked = await readMarker(disk);
  const number = numbers.at(-1);
  if (marked === 'unreadable') {
    throw corrupt({ segment: number ?? 1, rule: 'J10' }, 'the file `newest` is damaged');
  }
  if (marked !== null && marked > (number ?? 0)) {
    throw corrupt({ segment: marked, rule: 'J10' }, 'the newest segment is missing');
  }
  if (number === undefined) return null;
  const replayed = await replaySegment(disk, number);
  await requireLink(disk, numbers, replayed);
  if (replayed.tornBytes > 0) await keepTorn(disk, number, replayed);
  if (isSuspect) await rewriteNewest(disk, number, replayed);
  else await settleNewest(disk, number, replayed);
  // Where the marker lags, the segment's own name may not be durable yet: this syncs both.
  if (marked !== number) await writeMarker(disk, { number, epoch: replayed.epoch });
  return { ...replayed, number };
}

async function requireLink(
  disk: Disk,
  numbers: readonly number[],
  { header }: Replayed,
): Promise<void> {
  const previous = numbers.at(-2);
  if (previous === undefined) return;
  const { segment } = header;
  if (previous !== segment - 1) {
    throw corrupt({ segment: segment - 1, rule: 'J10' }, 'the segment is missing');
  }
  if (!(await hasSum(disk, previous, header.prev_sum))) {
    const message = `it does not follow from ${segmentName(previous)}`;
    throw corrupt({ segment, line: 1, rule: 'J10' }, message);
  }
}

/** Cuts off the torn tail and makes all durable. */
async function settleNewest(
  disk: Disk,
  number: number,
  { bytes, tornBytes }: Replayed,
): Promise<void> {
  const file = await disk.openAppend(segmentName(number));
  try {
    if (tornBytes > 0) await file.truncate(bytes);
    await file.sync();
  } finally {
    await file.close();
  }
}

async function rewriteNewest(
  disk: Disk,
  number: number,
  { bytes, epoch }: Replayed,
): Promise<void> {
  const content = await readPart(disk, number, { offset: 0, length: bytes });
  const temporary = `rewritten.${epoch}.tmp`;
  await createWhole(disk, { name: segmentName(number), temporary, bytes: content });
}

async function keepTorn(disk: Disk, number: number, { bytes, tornBytes }: Replayed): Promise<void> {
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
