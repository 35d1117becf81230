/**
 * A hunt in a process of its own, so that an input that never ends, eats all memory or ends the
 * process is a finding like any other.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { HEAD_BYTES, type HunterReport } from './hunter-report.ts';

const MEMORY_MAX_MB = 1_024;
/** No input at all in so long: it hangs. Many times what a run may take, for busy machines. */
const SILENCE_MAX_MS = 60_000;
const LOOK_EVERY_MS = 1_000;

export interface WatchedHunt {
  /** Of the target, a `file:` URL. */
  readonly file: string;
  readonly seed: number;
  readonly seconds: number;
}

export async function huntWatched({ file, seed, seconds }: WatchedHunt): Promise<HunterReport> {
  const folder = mkdtempSync(join(tmpdir(), 'fuzz-'));
  const inputFile = join(folder, 'input');
  const hunter = fork(
    new URL('hunter.ts', import.meta.url),
    [file, String(seed), String(seconds), inputFile],
    { execArgv: [`--max-old-space-size=${MEMORY_MAX_MB}`] },
  );
  try {
    const end = await awaitEnd(hunter, inputFile);
    return typeof end === 'string' ? reportLoss(end, inputFile) : end;
  } finally {
    hunter.kill('SIGKILL');
    rmSync(folder, { recursive: true });
  }
}

/** What it reports, or in a word how it came to none. */
async function awaitEnd(hunter: ChildProcess, inputFile: string): Promise<HunterReport | string> {
  const { promise, resolve, reject } = Promise.withResolvers<HunterReport | string>();
  let lastRuns = 0;
  let stillMs = 0;
  const timer = setInterval(() => {
    const { runs } = readInput(inputFile);
    stillMs = runs === lastRuns ? stillMs + LOOK_EVERY_MS : 0;
    lastRuns = runs;
    if (stillMs >= SILENCE_MAX_MS) resolve('it does not end');
  }, LOOK_EVERY_MS);
  hunter.once('message', (report: HunterReport) => resolve(report));
  hunter.once('error', reject);
  hunter.once('exit', (code, signal) => resolve(`the process ended with ${code ?? signal}`));
  try {
    return await promise;
  } finally {
    clearInterval(timer);
  }
}

function reportLoss(message: string, inputFile: string): HunterReport {
  const { runs, input } = readInput(inputFile);
  const finding = { base64: input.toString('base64'), message };
  return { runs, corpus: 0, blocks: 0, finding };
}

function readInput(inputFile: string): { readonly runs: number; readonly input: Buffer } {
  const bytes = readFileSync(inputFile, { flag: 'a+' });
  if (bytes.length < HEAD_BYTES) return { runs: 0, input: Buffer.alloc(0) };
  const input = bytes.subarray(HEAD_BYTES, HEAD_BYTES + bytes.readUInt32LE(4));
  return { runs: bytes.readUInt32LE(0), input };
}
