/** Every API request that was received, for tests to compare with what a client says it sent. */
import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';

/** Older entries are dropped beyond this; the counts go on. */
const MAX_ENTRIES = 50_000;

export interface LoggedRequest {
  readonly n: number;
  /** RFC 3339, on the real clock, when the request had been read. */
  readonly at: string;
  readonly method: string;
  /** Below /api2/json, decoded, without the query. */
  readonly path: string;
  readonly params: Readonly<Record<string, unknown>>;
  /** `root@pam!root`; null where none was given or it was wrong. */
  readonly token: string | null;
  /** null: not answered, or not yet. */
  status: number | null;
  reason: string | null;
  ms: number | null;
  /** The kind of fault that was applied. */
  fault: string | null;
  /** When what it asks for had been done, whatever became of the answer; null: it was not. */
  effect_at: string | null;
  /** The task it started. */
  upid: string | null;
  /** With `--watch`: how long each file of that folder was when a write arrived. */
  readonly watched: Readonly<Record<string, number>> | null;
}

export class RequestLog {
  #entries: LoggedRequest[] = [];
  #count = 0;
  readonly #waiting = new Set<(entry: LoggedRequest) => void>();
  /** Called with each request as it arrives. */
  onAdd: (entry: LoggedRequest) => void = () => {};
  readonly #watchDir: string | null;

  constructor(watchDir: string | null = null) {
    this.#watchDir = watchDir;
  }

  get count(): number {
    return this.#count;
  }

  add(entry: Pick<LoggedRequest, 'method' | 'path' | 'params' | 'token'>): LoggedRequest {
    this.#count += 1;
    const logged: LoggedRequest = {
      n: this.#count,
      at: new Date().toISOString(),
      ...entry,
      status: null,
      reason: null,
      ms: null,
      fault: null,
      effect_at: null,
      upid: null,
      watched: this.#watchDir === null || entry.method === 'GET' ? null : fileSizes(this.#watchDir),
    };
    this.#entries.push(logged);
    if (this.#entries.length > 2 * MAX_ENTRIES) this.#entries = this.#entries.slice(-MAX_ENTRIES);
    this.onAdd(logged);
    for (const look of this.#waiting) look(logged);
    return logged;
  }

  /** Resolves with the first request, received already or to come, that matches. */
  whenReceived({ method, path }: { method?: string; path: RegExp }): Promise<LoggedRequest> {
    const matches = (entry: LoggedRequest): boolean =>
      path.test(entry.path) && (method === undefined || method === entry.method);
    const known = this.#entries.find(matches);
    if (known !== undefined) return Promise.resolve(known);
    return new Promise((resolve) => {
      const look = (entry: LoggedRequest): void => {
        if (!matches(entry)) return;
        this.#waiting.delete(look);
        resolve(entry);
      };
      this.#waiting.add(look);
    });
  }

  entries(): readonly LoggedRequest[] {
    return this.#entries.slice(-MAX_ENTRIES);
  }

  reset(): void {
    this.#entries = [];
    this.#count = 0;
  }
}

/** Of the files of a folder, by name; none where it is not there (yet). */
function fileSizes(dir: string): Record<string, number> {
  const sizes: Record<string, number> = {};
  for (const name of namesIn(dir)) {
    const stats = statSync(join(dir, name), { throwIfNoEntry: false });
    if (stats?.isFile() === true) sizes[name] = stats.size;
  }
  return sizes;
}

function namesIn(dir: string): string[] {
  const isThere = statSync(dir, { throwIfNoEntry: false })?.isDirectory() === true;
  return isThere ? readdirSync(dir) : [];
}
