/**
 * The journal's port to the disk: one folder of files that only grow. The real make is
 * node-disk.ts; test/support/memory-disk.ts models what a crash may leave.
 *
 * Every method rejects with the operating system's error (`code` is `ENOSPC`, `EIO`, …). Nothing is
 * retried here: what a failure means is decided by the caller.
 */
export interface Disk {
  /** Names in the folder, in no order. */
  list(): Promise<readonly string[]>;
  openRead(name: string): Promise<ReadFile>;
  /** A new empty file; `EEXIST` where there is one. Its name is durable after `syncFolder`. */
  create(name: string): Promise<AppendFile>;
  openAppend(name: string): Promise<AppendFile>;
  /** Atomic, replaces; durable after `syncFolder`. */
  rename(from: string, to: string): Promise<void>;
  remove(name: string): Promise<void>;
  syncFolder(): Promise<void>;
}

export interface ReadFile {
  size(): Promise<number>;
  /** Fills from `position`; fewer bytes than asked for only at the end, 0 past it. */
  read(into: Uint8Array, position: number): Promise<number>;
  close(): Promise<void>;
}

export interface AppendFile {
  /**
   * Writes at the end of the file, wherever that is by now; returns how many bytes were taken,
   * which may be fewer. They are durable after `sync`.
   */
  append(bytes: Uint8Array): Promise<number>;
  sync(): Promise<void>;
  truncate(size: number): Promise<void>;
  close(): Promise<void>;
}

/** The operating system's code of a failed call, or null. */
export function errnoOf(error: unknown): string | null {
  if (!(error instanceof Error) || !('code' in error)) return null;
  return typeof error.code === 'string' ? error.code : null;
}

/** Appends all of it, going on after short writes. Rejects where the disk takes nothing more. */
export async function appendAll(file: AppendFile, bytes: Uint8Array): Promise<void> {
  let done = 0;
  while (done < bytes.length) {
    const taken = await file.append(done === 0 ? bytes : bytes.subarray(done));
    if (taken <= 0) throw new Error(`the disk took ${done} of ${bytes.length} bytes`);
    done += taken;
  }
}

/** Makes a file with this content under its final name, whole or not at all. */
export async function createWhole(
  disk: Disk,
  file: { readonly name: string; readonly temporary: string; readonly bytes: Uint8Array },
  beforeEachStep: () => void = () => undefined,
): Promise<void> {
  beforeEachStep();
  const handle = await disk.create(file.temporary);
  try {
    beforeEachStep();
    await appendAll(handle, file.bytes);
    beforeEachStep();
    await handle.sync();
  } finally {
    await handle.close();
  }
  beforeEachStep();
  await disk.rename(file.temporary, file.name);
  beforeEachStep();
  await disk.syncFolder();
}
