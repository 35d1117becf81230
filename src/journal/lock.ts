/**
 * The one writer of a journal (J8): proper-lockfile's folder `journal.lock`, whose time it
 * refreshes, and `journal.owner.json` beside it, which says who that is.
 *
 * Invariants:
 * - a process that is gone on this host is stale at once; one that is there is stale only when its
 *   lock is old and nobody refreshes it while we watch (a clock that jumped makes locks look old);
 * - to look and to take over is one step: an abstract socket, which the kernel gives to one
 *   process and takes back when that dies, keeps two starters from taking over from each other;
 * - who has not refreshed in time asks the owner file before every step, and halts if it was lost;
 * - the lock of another is never removed, neither on release nor when the process exits.
 */
import * as fs from 'node:fs';
import { join } from 'node:path';
import lockfile from 'proper-lockfile';
import type { Clock } from '../reconcile/clock.ts';
import { ReconcilerError } from '../reconcile/errors.ts';
import { errnoOf } from './disk.ts';
import { syncFolder } from './node-disk.ts';
import {
  describeOwner,
  describeSelf,
  judgeOwner,
  OWNER_NAME,
  type Owner,
  readOwner,
} from './owner.ts';
import { holdTurn } from './turn.ts';

const LOCK_NAME = 'journal.lock';
/** A writer that did not refresh for this long may be taken over. */
export const LOCK_STALE_MS = 10_000;
/** Refreshes within that time: two may be late, and an idle agent is woken no more than it must. */
const REFRESHES_PER_STALE = 3;
/** The least proper-lockfile refreshes at. */
const REFRESH_MIN_MS = 1000;
/**
 * How far ahead of us the time of a lock just taken may be: proper-lockfile sets it to the next full
 * second and 5 ms, to see how fine the disk's times are (its mtime-precision.js).
 */
const AHEAD_MS = 1_100;

export interface LockRequest {
  readonly stateDir: string;
  readonly clock: Clock;
  /**
   * The lock was lost to somebody: the process has to halt. Said again where the refreshing finds
   * it, too.
   */
  readonly onLost: (error: ReconcilerError) => void;
  /** At least 2,000. */
  readonly staleMs?: number;
}

/** Throws `journal_locked` where another process holds the journal, naming it. */
export async function acquireLock(request: LockRequest): Promise<JournalLock> {
  const endTurn = await holdTurn(request.stateDir, request.clock);
  try {
    const self = describeSelf();
    const previous = await clearStale(request, self);
    const lock = new JournalLock(request, self, previous);
    await lock.acquire();
    return lock;
  } finally {
    await endTurn();
  }
}

/** Removes a stale lock; returns whose it was, null where the journal was free. */
async function clearStale(request: LockRequest, self: Owner): Promise<TakenFrom | null> {
  const path = join(request.stateDir, LOCK_NAME);
  const owner = readOwner(request.stateDir);
  const judgement = owner === null ? 'unknown' : judgeOwner(owner, self);
  const seenMs = modifiedMs(path);
  if (seenMs === null && owner === null) return null;
  const isHeld =
    seenMs === null
      ? judgement === 'alive'
      : judgement !== 'gone' && (await isRefreshed(path, seenMs, request));
  if (isHeld) throw lockedBy(owner);
  if (seenMs !== null) fs.rmdirSync(path);
  return { owner, poisoned: owner === null || owner.poisoned === true };
}

async function isRefreshed(
  path: string,
  seenMs: number,
  { clock, staleMs }: LockRequest,
): Promise<boolean> {
  const limitMs = staleMs ?? LOCK_STALE_MS;
  const ageMs = clock.now() - seenMs;
  // One from further ahead says only that the clock was set back since.
  if (ageMs > -AHEAD_MS && ageMs < limitMs) return true;
  await clock.sleep(refreshMs(limitMs) * 1.5, new AbortController().signal);
  return modifiedMs(path) !== seenMs;
}

function refreshMs(staleMs: number): number {
  return Math.max(REFRESH_MIN_MS, staleMs / REFRESHES_PER_STALE);
}

function lockedBy(owner: Owner | null): ReconcilerError {
  const who = owner === null ? 'a process that has not said who it is' : describeOwner(owner);
  return new ReconcilerError('journal_locked', `the journal is held by ${who}`, {
    disposition: 'retry',
    hint: 'One agent at a time: use the running one, or stop it first.',
    context:
      owner === null ? {} : { pid: owner.pid, host: owner.host, started_at: owner.started_at },
  });
}

/** Whose stale lock was taken over. */
export interface TakenFrom {
  /** Null where it had not said who it was. */
  readonly owner: Owner | null;
  /** It ended on a failed write or sync, or may have. */
  readonly poisoned: boolean;
}

export class JournalLock {
  /** Null where the journal was free. */
  readonly takenFrom: TakenFrom | null;
  readonly owner: Owner;
  readonly #request: LockRequest;
  readonly #staleMs: number;
  /** What a failed sync left, the last owner's or our own, has not been written anew yet. */
  #isSuspect: boolean;
  /** Taken over, and no segment begun yet: a line of the last owner may still land in its own. */
  #isUnsettled: boolean;
  #lost: ReconcilerError | null = null;
  #refreshedMs = 0;
  #refreshedAtMs = 0;
  #release: (() => Promise<void>) | null = null;

  constructor(request: LockRequest, owner: Owner, takenFrom: TakenFrom | null) {
    this.#request = request;
    this.#staleMs = request.staleMs ?? LOCK_STALE_MS;
    this.owner = owner;
    this.takenFrom = takenFrom;
    this.#isSuspect = takenFrom?.poisoned === true;
    this.#isUnsettled = takenFrom !== null;
  }

  async acquire(): Promise<void> {
    const { stateDir } = this.#request;
    try {
      this.#release = await lockfile.lock(stateDir, {
        lockfilePath: join(stateDir, LOCK_NAME),
        realpath: false,
        stale: this.#staleMs,
        update: refreshMs(this.#staleMs),
        fs: this.#watchedFs(),
        onCompromised: (cause) => this.#lose(cause.message),
      });
    } catch (error) {
      if (errnoOf(error) === 'ELOCKED') throw lockedBy(readOwner(stateDir));
      throw error;
    }
    try {
      await this.#writeOwner();
    } catch (error) {
      // Not ours in name: nobody else would ever remove it.
      await this.#release();
      throw error;
    }
  }

  /**
   * What the last owner left is sound on disk, and what it may still write lands apart: until then
   * its marks are ours, or a crash or a failed start loses them.
   */
  async markSound(): Promise<void> {
    this.#isUnsettled = false;
    if (!this.#isSuspect) return;
    this.#isSuspect = false;
    await this.#writeOwner();
  }

  /**
   * Says to whoever comes next that the disk failed us. At once, as the process is about to end, and
   * over what is there: a disk that is full has room for it, and one that takes not even this still
   * says whose the lock is.
   */
  markPoisoned(): void {
    if (!this.#isOurs()) return;
    this.#isSuspect = true;
    const text = `${JSON.stringify({ ...this.owner, poisoned: true })}\n`;
    const path = join(this.#request.stateDir, OWNER_NAME);
    try {
      fs.writeFileSync(path, text, { flag: 'r+', flush: true });
    } catch {
      // What made us halt is told, not this.
    }
  }

  /** What proper-lockfile calls, told to us, and kept from touching the lock of another. */
  #watchedFs(): object {
    return {
      ...fs,
      utimes: (path: string, atime: Date, mtime: Date, done: (error: Error | null) => void) => {
        const [refreshedMs, refreshedAtMs] = this.#times();
        fs.utimes(path, atime, mtime, (error) => {
          if (error === null) {
            this.#refreshedMs = refreshedMs;
            this.#refreshedAtMs = refreshedAtMs;
          }
          done(error);
        });
      },
      rmdirSync: () => this.letGoAtExit(),
    };
  }

  /** For proper-lockfile, as the process exits. */
  letGoAtExit(): void {
    if (this.#isOurs()) fs.rmdirSync(join(this.#request.stateDir, LOCK_NAME));
  }

  #times(): readonly [number, number] {
    const { clock } = this.#request;
    return [clock.monotonicMs(), clock.now()];
  }

  async #writeOwner(): Promise<void> {
    const { stateDir } = this.#request;
    const path = join(stateDir, OWNER_NAME);
    const temporary = `${path}.${this.owner.pid}.tmp`;
    const owner = this.#isSuspect ? { ...this.owner, poisoned: true } : this.owner;
    const text = `${JSON.stringify(owner)}\n`;
    await fs.promises.writeFile(temporary, text, { mode: 0o600, flush: true });
    await fs.promises.rename(temporary, path);
    await syncFolder(stateDir);
  }

  #isOurs(): boolean {
    return this.#holder()?.token === this.owner.token;
  }

  /** Null also where the disk does not tell any more: then nobody can say that it is ours. */
  #holder(): Owner | null {
    try {
      return readOwner(this.#request.stateDir);
    } catch {
      return null;
    }
  }

  /**
   * Throws `journal_locked` (halt) where the lock was lost. Cheap while it is fresh: to be called
   * before every request and every write. Either clock may stand still while we are stopped.
   */
  assertStillOwner(): void {
    if (this.#lost !== null) throw this.#lost;
    const [monotonicMs, nowMs] = this.#times();
    const isFresh =
      monotonicMs - this.#refreshedMs < this.#staleMs &&
      Math.abs(nowMs - this.#refreshedAtMs) < this.#staleMs;
    if (isFresh || this.#isOurs()) return;
    throw this.#lose('it was not refreshed in time');
  }

  #lose(why: string): ReconcilerError {
    const now = this.#holder();
    const by = now === null || now.token === this.owner.token ? '' : ` to ${describeOwner(now)}`;
    this.#lost = new ReconcilerError('journal_locked', `the journal's lock was lost${by}: ${why}`, {
      disposition: 'halt',
      hint: 'This process was stopped or starved too long; the other one goes on with its work.',
    });
    this.#request.onLost(this.#lost);
    return this.#lost;
  }

  /**
   * The lock first: until the owner file is gone too, whoever looks finds us, alive. The file stays,
   * and the next start takes over from us, where this one failed on what a poisoned owner left or on
   * the disk itself, or took over and begun no segment.
   */
  async release(): Promise<void> {
    const release = this.#release;
    this.#release = null;
    if (release === null || this.#lost !== null || !this.#isOurs()) return;
    await release();
    if (this.#isSuspect || this.#isUnsettled) return;
    await fs.promises.unlink(join(this.#request.stateDir, OWNER_NAME));
  }
}

function modifiedMs(path: string): number | null {
  return fs.statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? null;
}
