/**
 * Says that something under a path may have changed. Only a hint: events may be missed (a network
 * file system, a folder that is replaced), so whoever listens also looks from time to time.
 */
import { type FSWatcher, statSync, watch } from 'node:fs';
import { basename, dirname } from 'node:path';

export interface PathWatch {
  onChange(listener: () => void): () => void;
  /** Begins to watch, or begins again where the folder is another one now. */
  arm(): void;
  close(): void;
}

export function watchPath(path: string): PathWatch {
  const listeners = new Set<() => void>();
  let watcher: FSWatcher | null = null;
  let watched: string | null = null;

  const disarm = (): void => {
    watcher?.close();
    watcher = null;
    watched = null;
  };

  const arm = (): void => {
    if (listeners.size === 0) return;
    try {
      const target = findFolder(path);
      if (target?.identity === watched) return;
      disarm();
      if (target === null) return;
      // Not persistent: a hint must not keep the process alive.
      watcher = watch(target.folder, { persistent: false }, (_event, name) => {
        // The folder itself is gone, or something in it has its name: begin again in any case.
        if (name === basename(target.folder)) watched = null;
        if (target.only !== null && name !== null && name !== target.only) return;
        for (const listener of listeners) listener();
      });
      watcher.on('error', disarm);
      watched = target.identity;
    } catch {
      // No inotify watches left, the folder has just gone, or its path cannot be followed: the next
      // read tries again, and says what is wrong with the path.
      disarm();
    }
  };

  return {
    onChange(listener) {
      listeners.add(listener);
      arm();
      return () => {
        listeners.delete(listener);
        if (listeners.size === 0) disarm();
      };
    },
    arm,
    close() {
      listeners.clear();
      disarm();
    },
  };
}

interface Target {
  readonly folder: string;
  /** The one name in it that counts; null: all. */
  readonly only: string | null;
  readonly identity: string;
}

/**
 * A file is watched through its folder: an editor replaces the file, not its content. Throws what
 * the system says of a path that is there and cannot be followed.
 */
function findFolder(path: string): Target | null {
  const stats = statSync(path, { throwIfNoEntry: false, bigint: true });
  const isFolder = stats?.isDirectory() === true;
  const folder = isFolder ? path : dirname(path);
  const own = isFolder ? stats : statSync(folder, { throwIfNoEntry: false, bigint: true });
  if (own === undefined) return null;
  // A folder made right after another is gone gets its inode.
  const identity = `${own.dev}:${own.ino}:${own.birthtimeNs}`;
  return { folder, only: isFolder ? null : basename(path), identity };
}
