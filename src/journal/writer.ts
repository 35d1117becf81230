/**
 * Puts lines on disk in the order they come: one batch at a time, one write and one sync a batch.
 * What arrives while a sync runs shares the next one (group commit).
 *
 * Invariants:
 * - a promise it gave resolves only after the sync of its line;
 * - a new segment is begun only when all before it is synced, and nothing is appended meanwhile;
 * - after one failed call nothing is ever written again (J3): a failed sync may have dropped the
 *   pages, so a second one that succeeds would prove nothing.
 */
import { ReconcilerError, toProblem } from '../reconcile/errors.ts';
import { Batch, type Line } from './batch.ts';
import { type AppendFile, appendAll, type Disk, errnoOf } from './disk.ts';
import { createSegment, type SegmentDraft, segmentName } from './segments.ts';

/** A batch that is longer was made by hundreds at once. */
const REST_BYTES = 64 * 1024;

export interface WriterEvents {
  /** Throws where the lock is not ours any more (J8): asked before every call to the disk. */
  readonly assertStillOwner: () => void;
  /** Once, with what poisoned the journal: the process has to end. */
  readonly onPoisoned: (error: ReconcilerError) => void;
  readonly onSynced: (batch: SyncedBatch) => void;
  /** A new segment is in place; may take its time. */
  readonly onSegment: (draft: SegmentDraft) => Promise<void>;
  readonly monotonicMs: () => number;
}

export interface SyncedBatch {
  readonly bytes: number;
  /** Write and sync together. */
  readonly durationMs: number;
}

type Work = Batch | { readonly kind: 'segment'; readonly draft: SegmentDraft };

export class Writer {
  readonly #disk: Disk;
  readonly #events: WriterEvents;
  #file: AppendFile;
  #queue: Work[] = [];
  /** The last of the queue, while lines may still join it. */
  #open: Batch | null = null;
  /** Durable, but those who wait for it have not been told. */
  #synced: Batch | null = null;
  /** A buffer that was written and is free again. */
  #spare: Buffer | null = null;
  #running: Promise<void> | null = null;
  /** Of the newest batch. */
  #lastBytes = 0;
  #poison: ReconcilerError | null = null;

  constructor(disk: Disk, file: AppendFile, events: WriterEvents) {
    this.#disk = disk;
    this.#file = file;
    this.#events = events;
  }

  /** What poisoned it, or null. */
  get poison(): ReconcilerError | null {
    return this.#poison;
  }

  /**
   * Nothing is being written, and nothing waits to be: not for the moment in which very many who
   * append at once have been told, and come back together.
   */
  get isAtRest(): boolean {
    return this.#running === null && this.#lastBytes <= REST_BYTES;
  }

  /**
   * Resolves when it is durable; rejects with `journal_poisoned`. Who appends asks
   * `poison` first, before the line has a number and a sum. `isJoined`: in one write with the line
   * pushed before it, in the same turn.
   */
  push(line: Line, isJoined: boolean): Promise<void> {
    let batch = this.#open;
    if (batch === null || !(isJoined || batch.hasRoomFor(line))) {
      batch = new Batch(this.#spare);
      this.#spare = null;
      this.#open = batch;
      this.#queue.push(batch);
    }
    batch.add(line);
    this.#start();
    return batch.done;
  }

  /** All lines pushed so far go to the old segment, all later ones to this. */
  beginSegment(draft: SegmentDraft): void {
    this.#open = null;
    this.#queue.push({ kind: 'segment', draft });
    this.#start();
  }

  /** Resolves when all that was pushed is durable. */
  async idle(): Promise<void> {
    while (this.#running !== null) await this.#running;
    if (this.#poison !== null) throw this.#poison;
  }

  /** Ends it when all is written; false where it was poisoned. */
  async close(): Promise<boolean> {
    while (this.#running !== null) await this.#running;
    const isSound = this.#poison === null;
    this.#poisonWith(new ReconcilerError('internal_error', 'the journal has been closed'));
    await this.#file.close();
    return isSound;
  }

  /** Stops all writing for good; what waits is rejected with `error`. */
  #poisonWith(error: ReconcilerError): void {
    this.#poison ??= error;
    const waiting = this.#queue;
    this.#queue = [];
    this.#open = null;
    for (const work of waiting) if (work.kind === 'lines') work.reject(this.#poison);
  }

  #start(): void {
    this.#running ??= this.#run();
  }

  async #run(): Promise<void> {
    // One turn of waiting: all who were woken by the last sync share the next.
    await Promise.resolve();
    for (let work = this.#queue.shift(); work !== undefined; work = this.#queue.shift()) {
      if (work === this.#open) this.#open = null;
      try {
        await (work.kind === 'lines' ? this.#write(work) : this.#replaceSegment(work.draft));
      } catch (error) {
        this.#fail(work, error);
      }
      if (this.#queue.length === 0) this.#tellSynced();
    }
    // At once, not in a callback: whoever pushes after this has to start it again.
    this.#running = null;
  }

  /**
   * Those whose lines are durable are told when the next sync has begun: with very many appenders
   * what they do then, most of it the next line, is done beside it and not before it.
   */
  async #write(batch: Batch): Promise<void> {
    const { bytes } = batch;
    this.#lastBytes = bytes.length;
    const sinceMs = this.#events.monotonicMs();
    this.#events.assertStillOwner();
    await appendAll(this.#file, bytes);
    const syncing = this.#file.sync();
    this.#tellSynced();
    await syncing;
    const durationMs = this.#events.monotonicMs() - sinceMs;
    this.#events.onSynced({ bytes: bytes.length, durationMs });
    this.#synced = batch;
  }

  async #replaceSegment(draft: SegmentDraft): Promise<void> {
    this.#tellSynced();
    await createSegment(this.#disk, draft, this.#events.assertStillOwner);
    this.#events.assertStillOwner();
    const old = this.#file;
    this.#file = await this.#disk.openAppend(segmentName(draft.number));
    await old.close();
    await this.#events.onSegment(draft);
  }

  #tellSynced(): void {
    if (this.#synced === null) return;
    this.#spare = this.#synced.resolve();
    this.#synced = null;
  }

  #fail(work: Work, error: unknown): void {
    // What was durable before the failure is.
    this.#tellSynced();
    const poison = toPoison(error);
    this.#poisonWith(poison);
    if (work.kind === 'lines') work.reject(poison);
    this.#events.onPoisoned(poison);
  }
}

function toPoison(error: unknown): ReconcilerError {
  if (error instanceof ReconcilerError) return error;
  const errno = errnoOf(error);
  return new ReconcilerError(
    'journal_poisoned',
    `writing the journal failed: ${toProblem(error).message}`,
    {
      disposition: 'halt',
      hint:
        errno === 'ENOSPC' || errno === 'EDQUOT'
          ? 'Make room on the file system of state_dir, then start the agent again.'
          : 'Check the disk under state_dir (dmesg), then start the agent again.',
      context: { errno: errno ?? 'none' },
      cause: error,
    },
  );
}
