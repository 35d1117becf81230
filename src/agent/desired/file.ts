/**
 * Desired state from a file, or from a folder of *.yaml, *.yml and *.json.
 *
 * Invariants:
 * - A half-written file is never taken: a file is read only after it has been left alone for
 *   `SETTLE_MS`, and only if it is the same file before and after the read.
 * - A document with any error is refused whole, and its last good version stays in force, also
 *   while the path cannot be read at all. A file that is gone from its folder is gone, once it
 *   has been so for `SETTLE_MS`: some writers remove it before they write it anew.
 * - An unchanged file costs one stat, and unchanged files are the same desired state.
 */
import type { BigIntStats } from 'node:fs';
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Clock } from '../../reconcile/clock.ts';
import type { DesiredGuest, DesiredState, RejectedDocument } from '../../reconcile/desired.ts';
import type { DesiredProvider } from '../../reconcile/ports.ts';
import { wholeFile } from '../config/positioned-yaml.ts';
import { describeIoError } from '../config/text-file.ts';
import { mergeDesired } from './composite.ts';
import { type DesiredFile, documentProblem, readDesiredFile } from './document.ts';
import { watchPath } from './watch.ts';

/** Longer than the pauses of an editor or a copy that writes in place. */
const SETTLE_MS = 300;
/** A file that never rests is reported instead of waited for. */
const SETTLE_TRIES = 10;
/** Bounds what a folder can make us hold. */
const FILES_MAX = 10_000;

const DOCUMENT_NAME = /^[^.].*\.(?:yaml|yml|json)$/;

/** What is remembered of a file between reads. */
interface KnownDocument {
  /** Null: read it again, whatever it looks like. */
  readonly stamp: string | null;
  readonly good: readonly DesiredGuest[] | null;
  readonly problem: RejectedDocument['problem'] | null;
}

export interface FileProviderOptions {
  readonly path: string;
  readonly clock: Clock;
  readonly readFile?: FileReader;
}

type FileReader = (file: string) => Promise<DesiredFile>;

export function createFileProvider({
  path,
  clock,
  readFile = readDesiredFile,
}: FileProviderOptions): DesiredProvider {
  const known = new Map<string, KnownDocument>();
  const watch = watchPath(path);
  /** Of what is known; null once that has changed. */
  let assembled: DesiredState | null = null;

  const refresh = async (file: string, signal: AbortSignal): Promise<void> => {
    const before = known.get(file);
    const document = await readSettled(file, { before, clock, signal, readFile });
    if (document === null) return;
    known.set(file, document);
    if (!saysTheSame(document, before)) assembled = null;
  };

  const listSettled = async (signal: AbortSignal): Promise<Listing> => {
    const listing = await listDocuments(path);
    if (listing.kind === 'unreadable') return listing;
    const listed = new Set(listing.files);
    if ([...known.keys()].every((file) => listed.has(file))) return listing;
    await clock.sleep(SETTLE_MS, signal);
    return await listDocuments(path);
  };

  const dropAllBut = (files: ReadonlySet<string>): void => {
    for (const file of known.keys()) {
      if (files.has(file)) continue;
      known.delete(file);
      assembled = null;
    }
  };

  return {
    async read(signal) {
      watch.arm();
      const listing = await listSettled(signal);
      if (listing.kind === 'unreadable') {
        const problem = documentProblem([wholeFile(path, listing.reason)]);
        const isInForce = [...known.values()].some(({ good }) => good !== null);
        const inForce = assemble(known);
        return {
          ...inForce,
          rejected: [...inForce.rejected, { source: path, problem, isInForce }],
        };
      }
      if (!signal.aborted) dropAllBut(new Set(listing.files));
      for (const file of listing.files) await refresh(file, signal);
      assembled ??= assemble(known);
      return assembled;
    },
    onChange: (listener) => watch.onChange(listener),
    async close() {
      watch.close();
    },
  };
}

type Listing =
  | { readonly kind: 'listed'; readonly files: readonly string[] }
  | { readonly kind: 'unreadable'; readonly reason: string };

/** The documents a path stands for, sorted by name. */
export async function listDocuments(path: string): Promise<Listing> {
  try {
    if (!(await stat(path)).isDirectory()) return { kind: 'listed', files: [path] };
    const names = (await readdir(path)).filter((name) => DOCUMENT_NAME.test(name)).sort();
    if (names.length > FILES_MAX) {
      return { kind: 'unreadable', reason: `more than ${FILES_MAX} documents in one folder` };
    }
    return { kind: 'listed', files: names.map((name) => join(path, name)) };
  } catch (error) {
    return { kind: 'unreadable', reason: `cannot be read: ${describeIoError(error)}` };
  }
}

/** The file once it rests, or null where nothing is new (or the signal ends the wait). */
async function readSettled(
  file: string,
  {
    before,
    clock,
    signal,
    readFile,
  }: {
    readonly before: KnownDocument | undefined;
    readonly clock: Clock;
    readonly signal: AbortSignal;
    readonly readFile: FileReader;
  },
): Promise<KnownDocument | null> {
  for (let i = 0; i < SETTLE_TRIES && !signal.aborted; i++) {
    const stats = await statFile(file);
    if (stats.stamp === before?.stamp) return null;
    const restMs = SETTLE_MS - (clock.now() - stats.changedAtMs);
    // A change time in the future means a clock that stepped: wait once, then compare.
    if (restMs > 0) {
      await clock.sleep(Math.min(restMs, SETTLE_MS), signal);
      if (restMs <= SETTLE_MS || (await statFile(file)).stamp !== stats.stamp) continue;
    }
    const document = await readFile(file);
    if ((await statFile(file)).stamp !== stats.stamp) continue;
    return judge(document, stats.stamp, before);
  }
  if (signal.aborted) return null;
  const problem = documentProblem([wholeFile(file, 'is being written to all the time')]);
  return { stamp: null, good: before?.good ?? null, problem };
}

function judge(
  document: DesiredFile,
  stamp: string,
  before: KnownDocument | undefined,
): KnownDocument {
  if (document.kind === 'valid') return { stamp, good: document.guests, problem: null };
  const problem = documentProblem(document.findings);
  // A disk or a server that failed once leaves no trace in the file when it is back.
  const isFinal = document.isIoError !== true;
  return { stamp: isFinal ? stamp : null, good: before?.good ?? null, problem };
}

function saysTheSame(document: KnownDocument, before: KnownDocument | undefined): boolean {
  const { good, problem } = document;
  return good === before?.good && problem?.message === before?.problem?.message;
}

/** What tells one state of a file from another, and when it last changed. */
async function statFile(file: string): Promise<{ stamp: string; changedAtMs: number }> {
  try {
    const stats: BigIntStats = await stat(file, { bigint: true });
    const { dev, ino, size, mtimeNs, ctimeNs } = stats;
    return {
      stamp: [dev, ino, size, mtimeNs, ctimeNs].join(':'),
      // The change time, not the modification time: a copy may bring the latter along.
      changedAtMs: Number(stats.ctimeMs),
    };
  } catch (error) {
    return { stamp: `unreadable: ${describeIoError(error)}`, changedAtMs: 0 };
  }
}

function assemble(known: ReadonlyMap<string, KnownDocument>): DesiredState {
  const parts = [...known].map(([source, { good, problem }]): DesiredState => {
    return {
      guests: new Map(good?.map((guest) => [guest.vmid, guest])),
      claimedTwice: new Map(),
      rejected: problem === null ? [] : [{ source, problem, isInForce: good !== null }],
    };
  });
  return mergeDesired(parts);
}
