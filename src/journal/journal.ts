/**
 * The journal, open for writing: `openJournal` on a state folder, with its lock and key;
 * `startJournal` on any disk, for tests and simulations that have neither.
 */
import type { Clock, Random } from '../reconcile/clock.ts';
import { type Problem, ReconcilerError, toProblem } from '../reconcile/errors.ts';
import { makeOpId } from '../reconcile/ids.ts';
import type { OpLedger } from '../reconcile/ports.ts';
import { Appender, type AppenderStats, type ChainState } from './appender.ts';
import { type AppendFile, type Disk, errnoOf } from './disk.ts';
import { Ledger } from './ledger.ts';
import { ZERO_SUM } from './line.ts';
import { acquireLock, type JournalLock } from './lock.ts';
import type { Newest } from './newest.ts';
import { NodeDisk } from './node-disk.ts';
import { JournalLedger } from './op-ledger.ts';
import { describeOwner } from './owner.ts';
import { FORMAT, type HubPlace, type Opened, type Opener } from './records.ts';
import { openingFailed, recoverNewest } from './recover.ts';
import { finishRepair } from './repair.ts';
import { type Retention, removeOld } from './retention.ts';
import { createSegment, draftSegment, segmentName } from './segments.ts';
import { type Hasher, openHasher, prepareJournalFolder, prepareStateDir } from './state-dir.ts';
import { type SyncedBatch, Writer } from './writer.ts';

/** A tenth of it is still a page of history; more would be slow to open. */
const SEGMENT_BYTES_MAX = 256 * 1024 * 1024;

export interface JournalHooks {
  /** The journal cannot be written any more (poisoned, or its lock lost): end the process. */
  readonly onHalt: (error: ReconcilerError) => void;
  /** After each sync: bytes, and write and sync together in ms. */
  readonly onSynced?: (batch: SyncedBatch) => void;
  /** Of old segments, which are history: nothing that counts is at risk. */
  readonly onProblem?: (problem: Problem) => void;
}

export interface OpenOptions extends Retention, JournalHooks {
  readonly stateDir: string;
  readonly clock: Clock;
  readonly random: Random;
  /** How long an owner that does not refresh is believed in; at least 2,000. */
  readonly lockStaleMs?: number;
}

export interface StartOptions extends Retention, JournalHooks {
  readonly disk: Disk;
  readonly clock: Clock;
  readonly random: Random;
  readonly opener: Opener;
  readonly hashSecret: (text: string) => string;
  /** Throws where the lock is lost. */
  readonly assertStillOwner: () => void;
  /** The last owner did not close it: a new segment is begun, so that its late lines land apart. */
  readonly isTakeover: boolean;
  /** It ended on a failed write or sync (recover.ts). */
  readonly isSuspect: boolean;
}

export interface JournalStats extends AppenderStats {
  /** Since opening, as all that follows. */
  readonly syncs: number;
  readonly bytes: number;
}

/** What opening found, to be said once. */
export interface OpeningReport {
  /** Bytes cut from the end of this segment and kept aside in NNNNNNNN.torn. */
  readonly torn: { readonly segment: number; readonly bytes: number } | null;
  /** Whose stale lock was taken over, or null. */
  readonly takenFrom: string | null;
  /** journal.key was missing: none of the hashes in the journal is one that we would make. */
  readonly isKeyLost: boolean;
}

/** Throws `journal_locked`, `journal_corrupt`, `journal_poisoned`, `config_invalid`, `forbidden`. */
export async function openJournal(options: OpenOptions): Promise<Journal> {
  const { stateDir, clock } = options;
  let lock: JournalLock | null = null;
  let isHalted = false;
  const halt = (error: ReconcilerError): void => {
    if (isHalted) return;
    isHalted = true;
    lock?.markPoisoned();
    options.onHalt(error);
  };
  try {
    await prepareStateDir(stateDir);
    const staleMs = options.lockStaleMs === undefined ? {} : { staleMs: options.lockStaleMs };
    lock = await acquireLock({ stateDir, clock, onLost: halt, ...staleMs });
    await finishRepair(stateDir);
    const folder = await prepareJournalFolder(stateDir);
    const held = lock;
    const hasher = await openHasher(stateDir);
    const journal = await startJournal({
      ...options,
      disk: new NodeDisk(folder),
      opener: held.owner,
      hashSecret: hasher.hash,
      assertStillOwner: () => held.assertStillOwner(),
      isTakeover: held.takenFrom !== null,
      isSuspect: held.takenFrom !== null && held.takenFrom.poisoned,
      onHalt: halt,
    });
    await held.markSound();
    journal.hold(held, hasher);
    return journal;
  } catch (error) {
    const failure = openingFailed(error);
    // A sync may have failed before anything was appended: the next one must not trust what it reads.
    const isPoisoned = failure instanceof ReconcilerError && failure.code === 'journal_poisoned';
    if (isPoisoned) lock?.markPoisoned();
    await lock?.release();
    throw failure;
  }
}

/** Recovers what is on the disk and appends the `opened` record. */
export async function startJournal(options: StartOptions): Promise<Journal> {
  requireSettings(options);
  const recovered = await recoverNewest(options.disk, options.isSuspect);
  const start = recovered === null ? await startFirst(options) : startFrom(recovered, options);
  const file = await options.disk.openAppend(segmentName(start.state.segment));
  const journal = new Journal(start, file, options);
  await journal.begin();
  return journal;
}

/** Where writing begins. */
interface Start {
  readonly state: ChainState;
  readonly ledger: Ledger;
  readonly torn: OpeningReport['torn'];
  /** Nothing more goes into the newest segment there is. */
  readonly needsSegment: boolean;
  /** There was no journal. */
  readonly isFirst: boolean;
}

function requireSettings({ segmentBytes, keepSegments, keepForMs }: Retention): void {
  const isSound =
    segmentBytes >= 1024 && segmentBytes <= SEGMENT_BYTES_MAX && keepSegments >= 1 && keepForMs > 0;
  if (isSound) return;
  throw new ReconcilerError('config_invalid', 'the journal settings are out of their range', {
    hint: 'journal: segment_bytes 1KiB to 256MiB, keep_segments at least 1, keep_for above 0.',
  });
}

async function startFirst(options: StartOptions): Promise<Start> {
  const nowMs = options.clock.now();
  const journal = makeOpId(options.random);
  const at = new Date(nowMs).toISOString();
  const first = { prev_sum: ZERO_SUM, first_seq: 1, segment: 1, journal, epoch: 1, at };
  const draft = draftSegment(first, []);
  await createSegment(options.disk, draft, options.assertStillOwner);
  const state: ChainState = {
    journal,
    epoch: 1,
    segment: 1,
    nextSeq: 1,
    lastSum: draft.lastSum,
    bytes: draft.bytes,
    restatedBytes: draft.bytes,
    lastAtMs: nowMs,
  };
  return { state, ledger: new Ledger(), torn: null, needsSegment: false, isFirst: true };
}

function startFrom(recovered: Newest, { isTakeover }: StartOptions): Start {
  const { header, ledger, number, epoch, tornBytes } = recovered;
  const state: ChainState = {
    journal: header.journal,
    epoch: epoch + 1,
    segment: number,
    nextSeq: recovered.nextSeq,
    lastSum: recovered.lastSum,
    bytes: recovered.bytes,
    restatedBytes: recovered.restatedBytes,
    lastAtMs: recovered.lastAtMs,
  };
  const torn = tornBytes === 0 ? null : { segment: number, bytes: tornBytes };
  // A journal of an older format goes on in a segment of this one.
  const needsSegment = isTakeover || header.format < FORMAT;
  return { state, ledger, torn, needsSegment, isFirst: false };
}

export class Journal {
  readonly ledger: OpLedger;
  readonly #options: StartOptions;
  readonly #start: Start;
  readonly #appender: Appender;
  readonly #writer: Writer;
  #lock: JournalLock | null = null;
  #isKeyLost = false;
  /** Of old segments (retention.ts). */
  readonly #sizes = new Map<number, number>();
  #syncs = 0;
  #bytes = 0;

  /** `file`: the newest segment, open for appending. */
  constructor(start: Start, file: AppendFile, options: StartOptions) {
    const { disk, clock, hashSecret, segmentBytes } = options;
    const { state, ledger } = start;
    this.#options = options;
    this.#start = start;
    this.#writer = new Writer(disk, file, {
      assertStillOwner: options.assertStillOwner,
      onPoisoned: options.onHalt,
      onSynced: (batch) => this.#countSync(batch),
      onSegment: () => this.#removeOld(),
      monotonicMs: () => clock.monotonicMs(),
    });
    this.#appender = new Appender(state, { writer: this.#writer, ledger, clock, segmentBytes });
    const appender = this.#appender;
    const lastLifeAtMs = state.lastAtMs;
    this.ledger = new JournalLedger({ ledger, appender, clock, hashSecret, lastLifeAtMs });
  }

  /** How far it has come with the hub, as of what was appended last. */
  hub(): HubPlace {
    return this.#start.ledger.hub();
  }

  /** Wall clock ms of the last record before this opening: a clock behind it has gone back. */
  get lastAtMsBefore(): number {
    return this.#start.state.lastAtMs;
  }

  /** Writes that the journal is open; durable when it resolves. */
  async begin(): Promise<void> {
    const { opener } = this.#options;
    this.#appender.now();
    if (this.#start.needsSegment) this.#appender.beginSegment();
    const { pid, host, boot_id, started_at } = opener;
    const { epoch } = this.#appender.stats;
    const fields: Omit<Opened, 'type' | 'seq' | 'at'> = { epoch, pid, host, boot_id, started_at };
    await this.#appender.append(this.#appender.compose('opened', fields)).done;
  }

  #countSync(batch: SyncedBatch): void {
    this.#syncs += 1;
    this.#bytes += batch.bytes;
    this.#options.onSynced?.(batch);
  }

  hold(lock: JournalLock, hasher: Hasher): void {
    this.#lock = lock;
    this.#isKeyLost = hasher.isNew && !this.#start.isFirst;
  }

  get report(): OpeningReport {
    const from = this.#lock?.takenFrom ?? null;
    const takenFrom = from?.owner ? describeOwner(from.owner) : from && 'a process unknown';
    return { torn: this.#start.torn, takenFrom, isKeyLost: this.#isKeyLost };
  }

  stats(): JournalStats {
    return { ...this.#appender.stats, syncs: this.#syncs, bytes: this.#bytes };
  }

  /** Throws where the lock was lost (J8): to be called before every request to PVE. */
  assertStillOwner(): void {
    if (this.#writer.poison !== null) throw this.#writer.poison;
    this.#options.assertStillOwner();
  }

  /** Resolves when everything appended so far is durable, also by others. */
  flushed(): Promise<void> {
    return this.#writer.idle();
  }

  /** Old segments that cannot be read or removed stay. */
  async #removeOld(): Promise<void> {
    const { disk, clock, onProblem } = this.#options;
    const state = { nowMs: clock.now(), ackedSeq: this.hub().ackedSeq, sizes: this.#sizes };
    try {
      await removeOld(disk, this.#options, state);
    } catch (error) {
      const errno = errnoOf(error);
      if (errno === null) throw error;
      const code = errno === 'EPERM' || errno === 'EACCES' ? 'forbidden' : 'journal_corrupt';
      const message = `old segments stay, they cannot be removed: ${toProblem(error).message}`;
      onProblem?.({ code, message });
    }
  }

  /**
   * Waits for what is under way and lets go of the lock. A poisoned journal keeps it: the next
   * start then sees that this one did not end well, and begins a new segment.
   */
  async close(): Promise<void> {
    if (await this.#writer.close()) await this.#lock?.release();
  }
}
