/**
 * Real processes on a real disk, killed and stopped. `KILLS` says how often (npm run
 * test:journal-kills asks for 200).
 */
import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { once } from 'node:events';
import * as fs from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import type { Journal } from '../../src/journal/journal.ts';
import { openReader } from '../../src/journal/reader.ts';
import { tailJournal } from '../../src/journal/tail.ts';
import { verifyJournal } from '../../src/journal/verify.ts';
import { ReconcilerError } from '../../src/reconcile/errors.ts';
import { bundleScript } from '../support/bundle.ts';
import { openOnDisk, realClock } from '../support/journal-on-disk.ts';
import { opStory, seededRandom } from '../support/journal-script.ts';

const KILLS = Number(process.env['KILLS'] ?? 12);
/** The least the lock allows. */
const STALE_MS = 2000;

interface Writer {
  readonly process: ChildProcessByStdio<null, Readable, null>;
  /** Its lines, as they come. */
  readonly lines: AsyncIterator<string>;
  readonly exit: Promise<number | null>;
}

const scripts = fs.mkdtempSync(join(tmpdir(), 'journal-writer-'));
const running = new Set<Writer>();
let script = '';
let stateDir = '';

beforeAll(async () => {
  const source = join(import.meta.dirname, '../support/journal-writer.ts');
  script = await bundleScript(source, scripts);
});
afterAll(() => fs.rmSync(scripts, { recursive: true }));
beforeEach(() => {
  stateDir = fs.mkdtempSync(join(tmpdir(), 'journal-state-'));
});
afterEach(async () => {
  for (const writer of running) {
    writer.process.kill('SIGKILL');
    await writer.exit;
  }
  running.clear();
  fs.rmSync(stateDir, { recursive: true });
});

function startWriter(): Writer {
  const args = [script, stateDir, String(STALE_MS)];
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const exit = once(child, 'exit').then(([code]: (number | null)[]) => code ?? null);
  const writer: Writer = { process: child, lines, exit };
  running.add(writer);
  return writer;
}

async function nextLine(writer: Writer): Promise<string> {
  const { value, done } = await writer.lines.next();
  return done === true ? 'end' : value;
}

/** Lines until the process has ended. */
async function restOf(writer: Writer): Promise<string[]> {
  const lines: string[] = [];
  for (let line = await nextLine(writer); line !== 'end'; line = await nextLine(writer)) {
    lines.push(line);
  }
  running.delete(writer);
  return lines;
}

/** `SEQ SUM` of every numbered record in the journal, in their order. */
function recordsOnDisk(): Set<string> {
  const journal = join(stateDir, 'journal');
  const found = new Set<string>();
  for (const name of fs.readdirSync(journal).sort()) {
    if (!name.endsWith('.jsonl')) continue;
    const lines = fs.readFileSync(join(journal, name), 'utf8').split('\n').slice(0, -1);
    for (const line of lines) {
      const { seq, sum } = JSON.parse(line);
      if (seq !== undefined) found.add(`${seq} ${sum}`);
    }
  }
  return found;
}

async function until<Result>(attempt: () => Promise<Result | null>): Promise<Result> {
  for (;;) {
    const result = await attempt();
    if (result !== null) return result;
    await realClock.sleep(50, new AbortController().signal);
  }
}

test(
  `${KILLS} kills of a process that appends as fast as it can lose nothing it had confirmed`,
  async () => {
    const random = seededRandom(KILLS);
    const confirmed: string[] = [];
    for (let kill = 0; kill < KILLS; kill++) {
      const writer = startWriter();
      expect(await nextLine(writer)).toBe(`open ${kill + 1}`);
      for (let count = random.next() * 60; count > 0; count--) {
        confirmed.push(await nextLine(writer));
      }
      writer.process.kill('SIGKILL');
      // The last line may be cut off.
      confirmed.push(...(await restOf(writer)).filter((line) => / [0-9a-f]{32}$/.test(line)));
    }
    const found = recordsOnDisk();
    expect(confirmed.filter((line) => !found.has(line))).toEqual([]);
    expect(confirmed.length).toBeGreaterThan(KILLS * 10);
    const journal = await openOnDisk(stateDir);
    await journal.close();
    const report = await verifyJournal(openReader(stateDir));
    expect(report.problems).toEqual([]);
  },
  KILLS * 2000 + 10_000,
);

test('the tail follows a process that writes, over its changes of segment, and misses nothing', async () => {
  const writer = startWriter();
  await nextLine(writer);
  const aborter = new AbortController();
  const request = { lines: 0, follow: true, clock: realClock, signal: aborter.signal };
  const seen: string[] = [];
  const segments = new Set<number>();
  for await (const { segment, record, text } of tailJournal(openReader(stateDir), request)) {
    expect(record.kind).not.toBe('unreadable');
    if ('seq' in record) seen.push(`${record.seq} ${JSON.parse(text).sum}`);
    segments.add(segment);
    if (segments.size > 8) aborter.abort();
  }
  writer.process.kill('SIGKILL');
  await restOf(writer);
  const found = [...recordsOnDisk()];
  const from = found.indexOf(seen[0] ?? '');
  expect(seen.length).toBeGreaterThan(50);
  expect(seen).toEqual(found.slice(from, from + seen.length));
});

test('of processes that start at once on a stale lock, one gets it and the others name it', async () => {
  const dead = startWriter();
  await nextLine(dead);
  dead.process.kill('SIGKILL');
  await restOf(dead);
  const writers = Array.from({ length: 4 }, startWriter);
  const first = await Promise.all(writers.map(nextLine));
  expect(first.toSorted()).toEqual([
    'error journal_locked retry',
    'error journal_locked retry',
    'error journal_locked retry',
    'open 2',
  ]);
  const owner = writers[first.indexOf('open 2')];
  await expect(openOnDisk(stateDir)).rejects.toMatchObject({
    code: 'journal_locked',
    disposition: 'retry',
    context: { pid: owner?.process.pid },
    message: expect.stringContaining(`process ${owner?.process.pid} on `),
  });
});

test('a process that was stopped longer than its lock lives halts when it goes on', async () => {
  const stopped = startWriter();
  await nextLine(stopped);
  stopped.process.kill('SIGSTOP');
  const journal = await until(openIfFree);
  expect(journal.report.takenFrom).toContain(`process ${stopped.process.pid} on `);
  for (const draft of opStory(1)) await journal.ledger.append(draft);
  stopped.process.kill('SIGCONT');
  const lines = await restOf(stopped);
  expect(lines.at(-1)).toBe('error journal_locked halt');
  expect(await stopped.exit).toBe(70);
  // It has not taken our lock with it, and what it may have written late does not count.
  for (const draft of opStory(2)) await journal.ledger.append(draft);
  journal.assertStillOwner();
  await journal.close();
  const report = await verifyJournal(openReader(stateDir));
  expect(report.problems).toEqual([]);
});

test('a clock that was set back does not keep the lock of a stopped process', async () => {
  const stopped = startWriter();
  await nextLine(stopped);
  stopped.process.kill('SIGSTOP');
  const future = new Date(realClock.now() + 3_600_000);
  fs.utimesSync(join(stateDir, 'journal.lock'), future, future);
  const journal = await until(openIfFree);
  expect(journal.report.takenFrom).toContain(`process ${stopped.process.pid} on `);
  await journal.close();
}, 60_000);

async function openIfFree(): Promise<Journal | null> {
  try {
    return await openOnDisk(stateDir, { lockStaleMs: STALE_MS });
  } catch (error) {
    if (error instanceof ReconcilerError && error.code === 'journal_locked') return null;
    throw error;
  }
}
