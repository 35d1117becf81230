/**
 * A disk in memory that models what a crash may leave: any part of what was not synced.
 *
 * - Bytes appended and not synced: any prefix of them, cut at any byte; or all of them with any
 *   sectors zeroed (blocks written out of order). What shares a sector with synced bytes loses only
 *   its own.
 * - Names made, renamed or removed and not synced by their folder: any prefix of these changes.
 * - A sync that failed has dropped the pages: they are read back, but no later sync saves them.
 *
 * Deterministic: it has no clock, no timers and no chance of its own.
 */
import type { AppendFile, Disk, ReadFile } from '../../src/journal/disk.ts';

export const SECTOR_BYTES = 512;

export type DiskCall =
  | 'list'
  | 'openRead'
  | 'read'
  | 'create'
  | 'openAppend'
  | 'append'
  | 'sync'
  | 'truncate'
  | 'rename'
  | 'remove'
  | 'syncFolder';

/**
 * - `crash`: the machine dies before the call does anything; no call does anything any more.
 * - `short`: an append takes half of its bytes.
 * - others: the call fails with that error; an append has taken half of its bytes.
 */
export type DiskFault = 'crash' | 'short' | 'EIO' | 'ENOSPC' | 'EPERM';

/** Asked before every call, `index` counting from 0. */
export type FaultPlan = (call: {
  readonly kind: DiskCall;
  readonly index: number;
}) => DiskFault | null;

interface Inode {
  readonly id: number;
  /** As read: what has been appended to `room`. A truncated file gets a room of its own. */
  bytes: Buffer;
  room: Buffer;
  /** As a crash leaves at least: a prefix of `bytes`, unless truncated since. */
  synced: Buffer;
  /** A failed sync dropped what lies before this: never durable, whatever is synced later. */
  droppedTo: number;
}

type NameChange = (names: Map<string, Inode>) => void;

/** Picks one of `count` possibilities, 0 to count - 1. */
export type Choose = (count: number) => number;

export class MemoryDisk implements Disk {
  #names = new Map<string, Inode>();
  #syncedNames = new Map<string, Inode>();
  #unsyncedChanges: NameChange[] = [];
  #calls = 0;
  #isDead = false;
  #nextId = 1;
  faults: FaultPlan = () => null;

  /** Calls so far. */
  get calls(): number {
    return this.#calls;
  }

  async list(): Promise<readonly string[]> {
    this.#begin('list');
    return [...this.#names.keys()];
  }

  async openRead(name: string): Promise<ReadFile> {
    this.#begin('openRead');
    const inode = this.#find(name);
    return {
      size: async () => inode.bytes.length,
      read: async (into, position) => {
        this.#begin('read');
        return inode.bytes.copy(into, 0, position);
      },
      close: async () => undefined,
    };
  }

  async create(name: string): Promise<AppendFile> {
    this.#begin('create');
    if (this.#names.has(name)) throw errno('EEXIST', name);
    const inode = inodeOf(this.#nextId++, Buffer.alloc(0));
    this.#change((names) => names.set(name, inode));
    return this.#append(inode);
  }

  async openAppend(name: string): Promise<AppendFile> {
    this.#begin('openAppend');
    return this.#append(this.#find(name));
  }

  async rename(from: string, to: string): Promise<void> {
    this.#begin('rename');
    const inode = this.#find(from);
    this.#change((names) => {
      names.delete(from);
      names.set(to, inode);
    });
  }

  async remove(name: string): Promise<void> {
    this.#begin('remove');
    this.#find(name);
    this.#change((names) => names.delete(name));
  }

  async syncFolder(): Promise<void> {
    this.#begin('syncFolder');
    this.#syncedNames = new Map(this.#names);
    this.#unsyncedChanges = [];
  }

  #append(inode: Inode): AppendFile {
    return {
      append: async (bytes) => {
        const fault = this.#fault('append');
        const half = Math.floor(bytes.length / 2);
        const taken = fault === null ? bytes.length : half;
        appendTo(inode, bytes.subarray(0, taken));
        if (fault !== null && fault !== 'short') throw errno(fault, 'append');
        return taken;
      },
      sync: async () => {
        const fault = this.#fault('sync');
        if (fault !== null) {
          inode.droppedTo = inode.bytes.length;
          throw errno(fault, 'sync');
        }
        if (inode.droppedTo === 0) inode.synced = inode.bytes;
      },
      truncate: async (size) => {
        this.#begin('truncate');
        inode.room = Buffer.from(inode.bytes.subarray(0, size));
        inode.bytes = inode.room;
      },
      close: async () => undefined,
    };
  }

  #begin(kind: DiskCall): void {
    const fault = this.#fault(kind);
    if (fault !== null) throw errno(fault, kind);
  }

  #fault(kind: DiskCall): DiskFault | null {
    const fault = this.#isDead ? 'crash' : this.faults({ kind, index: this.#calls });
    this.#calls += 1;
    if (fault === 'crash') {
      this.#isDead = true;
      throw new MachineDied();
    }
    return fault;
  }

  #find(name: string): Inode {
    const inode = this.#names.get(name);
    if (inode === undefined) throw errno('ENOENT', name);
    return inode;
  }

  #change(change: NameChange): void {
    change(this.#names);
    this.#unsyncedChanges.push(change);
  }

  /** What is on the platters after a power loss, by the given choices. */
  afterPowerLoss(choose: Choose): MemoryDisk {
    const names = new Map(this.#syncedNames);
    const kept = choose(this.#unsyncedChanges.length + 1);
    for (const change of this.#unsyncedChanges.slice(0, kept)) change(names);
    return MemoryDisk.of([...names].map(([name, inode]) => [name, leftOf(inode, choose)]));
  }

  /** Only the process died: all that was written is there. */
  afterKill(): MemoryDisk {
    const next = new MemoryDisk();
    next.#names = new Map(this.#names);
    next.#syncedNames = new Map(this.#syncedNames);
    next.#unsyncedChanges = [...this.#unsyncedChanges];
    next.#nextId = this.#nextId;
    return next;
  }

  /** A disk with these files, all durable. */
  static of(files: Iterable<readonly [string, Uint8Array]>): MemoryDisk {
    const disk = new MemoryDisk();
    for (const [name, content] of files) {
      disk.#names.set(name, inodeOf(disk.#nextId++, Buffer.from(content)));
    }
    disk.#syncedNames = new Map(disk.#names);
    return disk;
  }

  /** Name and content of every file, as read now. */
  files(): ReadonlyMap<string, Buffer> {
    return new Map([...this.#names].map(([name, { bytes }]) => [name, bytes]));
  }
}

export class MachineDied extends Error {
  constructor() {
    super('the machine has died');
  }
}

function inodeOf(id: number, bytes: Buffer): Inode {
  return { id, bytes, room: bytes, synced: bytes, droppedTo: 0 };
}

function appendTo(inode: Inode, bytes: Uint8Array): void {
  const from = inode.bytes.length;
  const size = from + bytes.length;
  if (size > inode.room.length) {
    inode.room = Buffer.alloc(2 * size);
    inode.bytes.copy(inode.room);
  }
  inode.room.set(bytes, from);
  inode.bytes = inode.room.subarray(0, size);
}

function leftOf({ bytes, synced }: Inode, choose: Choose): Buffer {
  const isGrown = bytes.length > synced.length && bytes.subarray(0, synced.length).equals(synced);
  if (!isGrown) return choose(2) === 0 ? synced : bytes;
  const fresh = bytes.length - synced.length;
  // Prefixes first: 0 is nothing of it, `fresh` all of it; then all with sectors zeroed.
  const length = choose(fresh + 2);
  if (length <= fresh) return bytes.subarray(0, synced.length + length);
  const left = Buffer.from(bytes);
  let start = synced.length;
  while (start < left.length) {
    const end = Math.min(left.length, start + SECTOR_BYTES - (start % SECTOR_BYTES));
    if (choose(2) === 1) left.fill(0, start, end);
    start = end;
  }
  return left;
}

function errno(code: string, what: string): Error {
  return Object.assign(new Error(`${code}: ${what}`), { code });
}
