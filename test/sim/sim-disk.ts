/**
 * The disk as one process sees it: a memory disk that takes time, fails as the script says, and
 * answers nothing any more once the process is dead. What it has synced is told to the archive.
 */
import type { AppendFile, Disk, ReadFile } from '../../src/journal/disk.ts';
import type { DiskCall, DiskFault, MemoryDisk } from '../support/memory-disk.ts';
import type { VirtualClock } from '../support/virtual-clock.ts';
import type { Archive } from './archive.ts';
import type { Dice } from './dice.ts';

const NEVER = new Promise<never>(() => undefined);
const UNABORTED = new AbortController().signal;

/** What a script may do to the disk; it outlives the process. */
export interface DiskMood {
  /** The next such call fails so. */
  readonly faults: { readonly call: DiskCall; readonly fault: DiskFault }[];
  /** A sync takes up to this long. */
  maxSyncMs: number;
}

export class SimDisk implements Disk {
  readonly #memory: MemoryDisk;
  readonly #mood: DiskMood;
  readonly #clock: VirtualClock;
  readonly #dice: Dice;
  readonly #archive: Archive;
  readonly #onStep: () => void;
  /** A fault has struck: the journal is poisoned or was not opened. */
  hasFailed = false;
  isDead = false;

  constructor(parts: {
    readonly memory: MemoryDisk;
    readonly mood: DiskMood;
    readonly clock: VirtualClock;
    readonly dice: Dice;
    readonly archive: Archive;
    readonly onStep: () => void;
  }) {
    this.#memory = parts.memory;
    this.#mood = parts.mood;
    this.#clock = parts.clock;
    this.#dice = parts.dice;
    this.#archive = parts.archive;
    this.#onStep = parts.onStep;
    this.#memory.faults = ({ kind }) => this.#takeFault(kind);
  }

  #takeFault(kind: DiskCall): DiskFault | null {
    const { faults } = this.#mood;
    const index = faults.findIndex(({ call }) => call === kind);
    const fault = index === -1 ? null : (faults.splice(index, 1)[0]?.fault ?? null);
    // A short write is no failure: the rest is written next.
    if (fault === 'short' && kind !== 'append') return this.#fail('EIO');
    return fault === null || fault === 'short' ? fault : this.#fail(fault);
  }

  #fail(fault: DiskFault): DiskFault {
    this.hasFailed = true;
    return fault;
  }

  /** A dead process makes no call, and sees no answer. */
  async #alive<Result>(call: () => Promise<Result>): Promise<Result> {
    if (this.isDead) return NEVER;
    this.#onStep();
    if (this.isDead) return NEVER;
    const [outcome] = await Promise.allSettled([call()]);
    if (this.isDead) return NEVER;
    this.#onStep();
    if (this.isDead) return NEVER;
    if (outcome.status === 'rejected') throw outcome.reason;
    return outcome.value;
  }

  list(): Promise<readonly string[]> {
    return this.#alive(() => this.#memory.list());
  }

  openRead(name: string): Promise<ReadFile> {
    return this.#alive(() => this.#memory.openRead(name));
  }

  async create(name: string): Promise<AppendFile> {
    return this.#wrap(name, await this.#alive(() => this.#memory.create(name)));
  }

  async openAppend(name: string): Promise<AppendFile> {
    return this.#wrap(name, await this.#alive(() => this.#memory.openAppend(name)));
  }

  rename(from: string, to: string): Promise<void> {
    return this.#alive(() => this.#memory.rename(from, to));
  }

  remove(name: string): Promise<void> {
    return this.#alive(() => {
      const bytes = this.#memory.files().get(name);
      if (bytes !== undefined) this.#archive.keep(name, bytes);
      return this.#memory.remove(name);
    });
  }

  syncFolder(): Promise<void> {
    return this.#alive(() => this.#memory.syncFolder());
  }

  #wrap(name: string, file: AppendFile): AppendFile {
    let unsynced = Buffer.alloc(0);
    return {
      append: (bytes) =>
        this.#alive(async () => {
          const taken = await file.append(bytes);
          unsynced = Buffer.concat([unsynced, bytes.subarray(0, taken)]);
          return taken;
        }),
      sync: () =>
        this.#alive(async () => {
          const { maxSyncMs } = this.#mood;
          if (maxSyncMs > 0) await this.#clock.sleep(this.#dice.whole(0, maxSyncMs), UNABORTED);
          if (this.isDead) return NEVER;
          await file.sync();
          // What is made under another name counts when it has its own.
          if (name.endsWith('.jsonl')) this.#archive.synced(unsynced.toString('utf8'));
          unsynced = Buffer.alloc(0);
          return undefined;
        }),
      truncate: (size) => this.#alive(() => file.truncate(size)),
      close: () => file.close(),
    };
  }
}
