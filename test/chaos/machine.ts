/**
 * What this machine lets a chaos run do: mount a small disk (in a mount namespace of its own, so that
 * nothing is left of it however the run ends), and move the agent's clock.
 */
import { spawn, spawnSync } from 'node:child_process';
import {
  closeSync,
  globSync,
  mkdirSync,
  openSync,
  rmSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** Set for the run itself, which is started again inside the namespace. */
const INSIDE = 'PVE_RECONCILER_CHAOS_INSIDE';

/** As root, and else as root of a user namespace of its own. */
const NAMESPACES: readonly (readonly string[])[] = [
  ['--mount', '--propagation', 'private'],
  ['--user', '--map-root-user', '--mount', '--propagation', 'private'],
];

export type MountAbility =
  | { readonly kind: 'inside' }
  | { readonly kind: 'possible'; readonly flags: readonly string[] }
  | { readonly kind: 'impossible'; readonly why: string };

export function findMountAbility(): MountAbility {
  if (process.env[INSIDE] !== undefined) return { kind: 'inside' };
  let why = 'unshare is not there';
  for (const flags of NAMESPACES) {
    const trial = ['mount', '-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', tmpdir()];
    const { status, stderr, error } = spawnSync('unshare', [...flags, ...trial]);
    if (status === 0) return { kind: 'possible', flags };
    if (error === undefined) why = stderr.toString().trim().split('\n')[0] ?? why;
  }
  return { kind: 'impossible', why };
}

/** Runs this process's own command line again inside; resolves with its exit status. */
export function runInside(flags: readonly string[]): Promise<number> {
  const child = spawn('unshare', [...flags, process.execPath, ...process.argv.slice(1)], {
    stdio: 'inherit',
    env: { ...process.env, [INSIDE]: '1' },
  });
  // A terminal's Ctrl-C reaches both; what is sent to this process alone is passed on.
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(name, () => child.kill(name));
  }
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (exit) => resolve(exit ?? 1));
  });
}

/** A disk of memory that can be filled. Only inside. */
export class SmallDisk {
  readonly #folder: string;

  constructor(folder: string) {
    this.#folder = folder;
    mkdirSync(folder, { mode: 0o700 });
    const options = 'size=64m,mode=0700';
    const { status, stderr } = spawnSync('mount', ['-t', 'tmpfs', '-o', options, 'tmpfs', folder]);
    if (status !== 0) throw new Error(`no small disk: ${stderr.toString()}`);
  }

  get #filler(): string {
    return join(this.#folder, 'filler');
  }

  fill(): void {
    const file = openSync(this.#filler, 'a', 0o600);
    try {
      for (let size = 1024 * 1024; size >= 1024; size /= 2) fillUp(file, Buffer.alloc(size, 1));
    } finally {
      closeSync(file);
    }
  }

  free(): void {
    rmSync(this.#filler, { force: true });
  }

  unmount(): void {
    const { status, stderr } = spawnSync('umount', [this.#folder]);
    if (status !== 0) throw new Error(`the small disk stays: ${stderr.toString()}`);
  }
}

function fillUp(file: number, chunk: Buffer): void {
  try {
    while (writeSync(file, chunk) === chunk.length);
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ENOSPC')) throw error;
  }
}

/** Debian's package faketime. */
const LIBRARIES = '/usr/lib/*/faketime/libfaketime.so.1';

/** Null: the library is not there. */
export function findClockLibrary(): string | null {
  return globSync(LIBRARIES)[0] ?? null;
}

/** The clock of whoever is started with its environment: as real, but for an offset. */
export class MovableClock {
  readonly #file: string;
  readonly env: Readonly<Record<string, string>>;

  constructor(library: string, file: string) {
    this.#file = file;
    this.move(0);
    this.env = {
      LD_PRELOAD: library,
      FAKETIME_TIMESTAMP_FILE: file,
      // Seconds until a change of the file is seen.
      FAKETIME_CACHE_DURATION: '1',
      // A clock that is set does not touch these.
      FAKETIME_DONT_FAKE_MONOTONIC: '1',
      NO_FAKE_STAT: '1',
    };
  }

  move(offsetS: number): void {
    writeFileSync(this.#file, `${offsetS < 0 ? '' : '+'}${offsetS}\n`);
  }
}
