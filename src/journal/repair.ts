/**
 * `journal repair`: puts a repaired copy in the place of the journal and keeps the original beside
 * it, as `journal.damaged-N`. Only with the lock, and only where verifying finds damage.
 *
 * The copy is whole and durable before anything is moved. A crash between the two renames leaves no
 * folder `journal` but a whole `journal.repaired`: `finishRepair`, on the next opening, moves it in.
 */
import * as fs from 'node:fs';
import { join } from 'node:path';
import type { Clock } from '../reconcile/clock.ts';
import { acquireLock } from './lock.ts';
import { NodeDisk, syncFolder } from './node-disk.ts';
import { JournalReader } from './reader.ts';
import { openingFailed } from './recover.ts';
import { type SalvageReport, salvage } from './salvage.ts';
import { corrupt, NEWER_RULE, segmentNumbers } from './segments.ts';
import { JOURNAL_FOLDER, prepareStateDir } from './state-dir.ts';
import { type JournalProblem, verifyJournal } from './verify.ts';

const REPAIRED_FOLDER = `${JOURNAL_FOLDER}.repaired`;

export type RepairReport =
  | { readonly kind: 'sound' }
  | ({
      readonly kind: 'repaired';
      /** Folder the original is kept in. */
      readonly original: string;
    } & SalvageReport);

/**
 * Throws `journal_locked`, `config_invalid`, `forbidden`, `journal_poisoned`, and `journal_corrupt`
 * for a journal of a newer version.
 */
export async function repairJournal(stateDir: string, clock: Clock): Promise<RepairReport> {
  try {
    await prepareStateDir(stateDir);
    // Whether it is still ours is asked before anything is moved.
    const lock = await acquireLock({ stateDir, clock, onLost: ignore });
    try {
      await finishRepair(stateDir);
      return await repair(stateDir, clock, () => lock.assertStillOwner());
    } finally {
      await lock.release();
    }
  } catch (error) {
    throw openingFailed(error);
  }
}

function ignore(): void {}

async function repair(
  stateDir: string,
  clock: Clock,
  assertStillOwner: () => void,
): Promise<RepairReport> {
  const folder = join(stateDir, JOURNAL_FOLDER);
  const source = new NodeDisk(folder);
  const { ok, problems } = await verifyJournal(new JournalReader(source));
  if (ok) return { kind: 'sound' };
  refuseNewer(problems);
  const repaired = join(stateDir, REPAIRED_FOLDER);
  await fs.promises.rm(repaired, { recursive: true, force: true });
  await fs.promises.mkdir(repaired, { mode: 0o700 });
  const at = new Date(clock.now()).toISOString();
  const report = await salvage(source, new NodeDisk(repaired), at);
  assertStillOwner();
  const original = freeName(folder);
  await fs.promises.rename(folder, original);
  await syncFolder(stateDir);
  await fs.promises.rename(repaired, folder);
  await syncFolder(stateDir);
  return { kind: 'repaired', original, ...report };
}

/** What a newer version has written is no damage, and a copy would be without it. */
function refuseNewer(problems: readonly JournalProblem[]): void {
  const newer = problems.find(({ rule }) => rule === NEWER_RULE);
  if (newer === undefined) return;
  const { segment, line, rule, message } = newer;
  const [number = 0] = segmentNumbers([segment]);
  throw corrupt({ segment: number, line, rule }, message);
}

function freeName(folder: string): string {
  for (let number = 1; ; number++) {
    const name = `${folder}.damaged-${number}`;
    if (!fs.existsSync(name)) return name;
  }
}

/** Moves in what a repair had ready when it was cut off. With the lock held. */
export async function finishRepair(stateDir: string): Promise<void> {
  const folder = join(stateDir, JOURNAL_FOLDER);
  const repaired = join(stateDir, REPAIRED_FOLDER);
  if (fs.existsSync(folder) || !fs.existsSync(repaired)) return;
  await fs.promises.rename(repaired, folder);
  await syncFolder(stateDir);
}
