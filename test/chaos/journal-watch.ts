/** Watches the journal's folder from outside: when its segments grew, and by what. */
import {
  closeSync,
  type FSWatcher,
  openSync,
  readdirSync,
  readSync,
  statSync,
  watch,
} from 'node:fs';
import { join } from 'node:path';
import type { Growth } from './evidence.ts';

export class JournalWatch {
  readonly growth: Growth[] = [];
  readonly #folder: string;
  readonly #watcher: FSWatcher;
  readonly #listeners = new Set<(text: string) => void>();

  constructor(folder: string) {
    this.#folder = folder;
    this.#watcher = watch(folder, () => this.look());
  }

  look(): void {
    const sizes: Record<string, number> = {};
    for (const name of readdirSync(this.#folder)) {
      if (!/^\d{8}\.jsonl$/.test(name)) continue;
      sizes[name] = statSync(join(this.#folder, name), { throwIfNoEntry: false })?.size ?? 0;
    }
    const before = this.growth.at(-1)?.sizes ?? {};
    const grown = Object.entries(sizes).filter(([name, size]) => size > (before[name] ?? 0));
    if (grown.length === 0) return;
    this.growth.push({ atMs: Date.now(), sizes });
    if (this.#listeners.size === 0) return;
    const text = grown.map(([name]) => this.#readFrom(name, before[name] ?? 0)).join('');
    for (const heed of this.#listeners) heed(text);
  }

  #readFrom(name: string, from: number): string {
    const file = openSync(join(this.#folder, name), 'r');
    try {
      const bytes = Buffer.alloc(1024 * 1024);
      return bytes.toString('utf8', 0, readSync(file, bytes, 0, bytes.length, from));
    } finally {
      closeSync(file);
    }
  }

  /** Resolves when something with that text is appended, or when it takes too long. */
  async appended(text: string, signal: AbortSignal): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const heed = (grown: string): void => {
      if (grown.includes(text)) resolve();
    };
    this.#listeners.add(heed);
    signal.addEventListener('abort', () => resolve(), { once: true });
    await promise;
    this.#listeners.delete(heed);
  }

  close(): void {
    this.#watcher.close();
  }
}
