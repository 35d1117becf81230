/**
 * How fast the journal is, as ratios against what was run beside it on the same disk: bare write
 * and fdatasync, better-sqlite3, JSON.parse plus SHA-256, an empty journal. Exits 1 where a goal is
 * missed.
 *
 *   node test/bench/journal.ts [--folder .] [--history 1000000] [--only appending|history]
 */
import { spawnSync } from 'node:child_process';
import { hash } from 'node:crypto';
import * as fs from 'node:fs';
import { join } from 'node:path';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import Database from 'better-sqlite3';
import type { Journal } from '../../src/journal/journal.ts';
import { sealLine, ZERO_SUM } from '../../src/journal/line.ts';
import { openReader } from '../../src/journal/reader.ts';
import { verifyJournal } from '../../src/journal/verify.ts';
import type { OpRecordDraft } from '../../src/reconcile/op.ts';
import { bundleScript } from '../support/bundle.ts';
import { openOnDisk } from '../support/journal-on-disk.ts';
import { opStory } from '../support/journal-script.ts';
import { readOptions } from '../support/script-options.ts';
import { median, report } from './report.ts';

const MIB = 1024 * 1024;
const OPENINGS = 7;
const VERIFYINGS = 9;
/** What is compared takes turns this often, and of the ratios the median counts. */
const SLICES = 41;
/** Records each appender writes in a slice: whole ops. */
const RECORDS_EACH = 30;
/** Written without waiting for each: one op after the other, as a quiet node writes them. */
const GROUP_RECORDS = 600;
/** What a record of these ops takes on average, checked. */
const LINE_BYTES = 300;
/** As long as a segment gets where the writer rests now and then, and where it never does. */
const LONG_AT_REST = 1.9 * MIB;
const LONG_UNDER_LOAD = 15.5 * MIB;
/** Enough for a few segments; verifying is no faster or slower on more. */
const VERIFIED_RECORDS = 150_000;

const USAGE = 'node test/bench/journal.ts [--folder DIR] [--history N] [--only appending|history]';
const { values, count, refuse } = readOptions(USAGE, {
  folder: { type: 'string', default: '.' },
  history: { type: 'string', default: '1000000' },
  only: { type: 'string', default: 'all' },
});
const historyRecords = count('history');
if (!['all', 'appending', 'history'].includes(values.only)) refuse(`--only: no ${values.only}`);
const folder = fs.mkdtempSync(join(values.folder, '.bench-journal-'));
const path = (name: string): string => join(folder, name);

setFlagsFromString('--expose-gc');
const collect: () => void = runInNewContext('gc');

let nextOp = 0;

const inMicroseconds = (ms: number): string => `${(ms * 1000).toFixed(1)} µs`;

async function timed(work: () => Promise<unknown>): Promise<number> {
  const sinceMs = performance.now();
  await work();
  return performance.now() - sinceMs;
}

/** Ops as they come: started, running, succeeded. */
function makeDrafts(records: number): OpRecordDraft[] {
  const drafts: OpRecordDraft[] = [];
  while (drafts.length < records) {
    nextOp += 1;
    drafts.push(...opStory(nextOp, { guest: 100 + (nextOp % 500) }));
  }
  return drafts;
}

/** The bare minimum, by the same Node calls as node-disk.ts. */
function openBare(name: string): (line: Buffer) => Promise<void> {
  const fd = fs.openSync(path(name), 'ax', 0o600);
  return (line) =>
    new Promise((resolve, reject) => {
      fs.write(fd, line, (failed) => {
        if (failed !== null) reject(failed);
        else fs.fdatasync(fd, (error) => (error === null ? resolve() : reject(error)));
      });
    });
}

/** One appender and the bare calls take turns, so that both meet the same disk. */
async function benchAlone(): Promise<void> {
  const journal = await openOnDisk(path('alone'));
  const write = openBare('bare');
  const ours: number[] = [];
  const bare: number[] = [];
  for (const [index, draft] of makeDrafts(6000).entries()) {
    const append = async (): Promise<void> => {
      ours.push(await timed(() => journal.ledger.append(draft)));
    };
    if (index % 2 === 0) await append();
    const line = Buffer.alloc(LINE_BYTES, 'x');
    bare.push(await timed(() => write(line)));
    if (index % 2 === 1) await append();
  }
  const { bytes, records } = journal.stats();
  if (Math.abs(bytes / records - LINE_BYTES) > LINE_BYTES / 20)
    throw new Error('LINE_BYTES is wrong');
  await journal.close();
  const ratio = median(ours.map((ms, index) => ms / (bare[index] ?? Number.NaN)));
  const detail = `${inMicroseconds(median(ours))} against ${inMicroseconds(median(bare))}`;
  const name = 'one appender / bare write and fdatasync';
  report({ name, figure: ratio, atMost: 1.15, detail });
}

/** What each of several appenders is to append. */
type Work = readonly (readonly OpRecordDraft[])[];

/** CPU of making one record, its text and its sum, in the order in which appenders take turns. */
function measureMaking(work: Work): number {
  let seq = 0;
  let sum = ZERO_SUM;
  const sinceMs = performance.now();
  for (const index of work[0]?.keys() ?? []) {
    for (const drafts of work) {
      seq += 1;
      const at = '2026-03-01T12:00:00.000Z';
      const json = JSON.stringify({ type: 'op', seq, at, ...drafts[index] });
      sum = sealLine(json, sum).sum;
    }
  }
  return (performance.now() - sinceMs) / seq;
}

/** One row a transaction, as durable as ours. Returns how long one takes. */
function openSqlite(name: string): (drafts: readonly OpRecordDraft[]) => number {
  const database = new Database(path(name));
  database.pragma('journal_mode = WAL');
  database.pragma('synchronous = FULL');
  database.exec('create table records (seq integer primary key, body text not null)');
  const insert = database.prepare('insert into records (body) values (?)');
  return (drafts) => {
    const bodies = drafts.map((draft) => JSON.stringify(draft));
    const sinceMs = performance.now();
    for (const body of bodies) insert.run(body);
    return (performance.now() - sinceMs) / bodies.length;
  };
}

/** One slice of some appenders, and of all they are compared with; ms per record, mean. */
interface Slice {
  readonly ours: number;
  /** F / N: a bare write and sync of as many bytes as the appenders have between them. */
  readonly sync: number;
  readonly making: number;
  readonly sqlite: number;
}

/** Each appender waits for one record before the next. */
async function measureGroup(appenders: number): Promise<readonly Slice[]> {
  const journal = await openOnDisk(path(`group-${appenders}`));
  const write = openBare(`bare-${appenders}`);
  const commit = openSqlite(`rows-${appenders}.sqlite`);
  const run = async (drafts: readonly OpRecordDraft[]): Promise<void> => {
    for (const draft of drafts) await journal.ledger.append(draft);
  };
  const records = appenders * RECORDS_EACH;
  const slices: Slice[] = [];
  for (let index = 0; index < SLICES; index++) {
    const work = Array.from({ length: appenders }, () => makeDrafts(RECORDS_EACH));
    // Else what was made for the measuring is moved about while it runs.
    collect();
    const bytesBefore = journal.stats().bytes;
    const oursMs = await timed(() => Promise.all(work.map(run)));
    const bytes = journal.stats().bytes - bytesBefore;
    const block = Buffer.alloc(Math.round(bytes / RECORDS_EACH), 'x');
    const syncMs = await timed(async () => {
      for (let turn = 0; turn < RECORDS_EACH; turn++) await write(block);
    });
    const making = measureMaking(work);
    const sqlite = commit(work[0] ?? []);
    slices.push({ ours: oursMs / records, sync: syncMs / records, making, sqlite });
  }
  await journal.close();
  return slices;
}

async function benchGroups(): Promise<void> {
  for (const appenders of [8, 64, 1000]) {
    const slices = await measureGroup(appenders);
    const of = (value: (slice: Slice) => number): number => median(slices.map(value));
    const share = of(({ ours, sync, making }) => (sync + making) / ours);
    const sync = inMicroseconds(of((slice) => slice.sync) * appenders);
    const detail = `F ${sync}, c ${inMicroseconds(of(({ making }) => making))}`;
    const rate = `${(1000 / of(({ ours }) => ours)).toFixed(0)}/s`;
    const name = `${appenders} appenders / (1 / (F/N + c))`;
    report({ name, figure: share, atLeast: 0.5, detail: `${rate}, ${detail}` });
    if (appenders !== 64) continue;
    report({
      name: '64 appenders / better-sqlite3 commits',
      figure: of(({ ours, sqlite }) => sqlite / ours),
      atLeast: 8,
      detail: `${(1000 / of(({ sqlite }) => sqlite)).toFixed(0)} commits/s of better-sqlite3`,
    });
  }
}

async function appendGroup({ ledger }: Journal): Promise<void> {
  await Promise.all(makeDrafts(GROUP_RECORDS).map((draft) => ledger.append(draft)));
}

/** Writes the history, watching the heap on the way. */
async function writeHistory(): Promise<void> {
  const journal = await openOnDisk(path('history'));
  const heaps: number[] = [];
  for (let round = 0; round < 10; round++) {
    for (let done = 0; done < historyRecords / 10; done += GROUP_RECORDS) {
      await appendGroup(journal);
    }
    collect();
    heaps.push(process.memoryUsage().heapUsed / MIB);
  }
  while (journal.stats().segmentBytes < LONG_AT_REST) await appendGroup(journal);
  copyNewest('history', 'at-rest');
  // The next records are there before these are written: the writer never rests.
  let written: Promise<unknown> = Promise.resolve();
  while (journal.stats().segmentBytes < LONG_UNDER_LOAD) {
    const next = appendGroup(journal);
    await written;
    written = next;
  }
  await written;
  copyNewest('history', 'under-load');
  await journal.close();
  // The first rounds fill what is remembered of ended ops and of each guest.
  const grown = Math.max(...heaps.slice(5)) - Math.max(...heaps.slice(1, 5));
  const detail = 'heap of the last rounds against the first';
  report({ name: `MiB grown by ${historyRecords} appends`, figure: grown, atMost: 2, detail });
}

/** All that an opening reads; without lock and owner, as nothing of the process that had them. */
function copyNewest(from: string, to: string): void {
  const newest = newestSegment(from);
  fs.cpSync(path(from), path(to), {
    recursive: true,
    filter: (name) => !/lock|owner/.test(name) && (name === newest || !name.endsWith('.jsonl')),
  });
}

interface Opening {
  readonly ms: number;
  readonly peakKib: number;
}

/** As it is installed: to strip types takes memory that would hide what opening takes. */
function openInChild(script: string, name: string): Opening {
  const child = spawnSync(process.execPath, [script, path(name)], { encoding: 'utf8' });
  if (child.status !== 0) throw new Error(child.stderr);
  return JSON.parse(child.stdout);
}

async function benchOpening(): Promise<void> {
  await (await openOnDisk(path('empty'))).close();
  const script = await bundleScript(join(import.meta.dirname, 'journal-open.ts'), folder);
  for (const [name, after] of [
    ['at-rest', 'a kill'],
    ['under-load', 'a kill under load'],
  ] as const) {
    const newest = fs.statSync(newestSegment(name)).size / MIB;
    const openings = Array.from({ length: OPENINGS }, (_, index) => {
      // Whoever opens a journal writes to it.
      const copy = `${name}-${index}`;
      copyNewest(name, copy);
      return { empty: openInChild(script, 'empty'), full: openInChild(script, copy) };
    });
    const ms = median(openings.map(({ empty, full }) => full.ms - empty.ms));
    const mib = median(openings.map(({ empty, full }) => (full.peakKib - empty.peakKib) / 1024));
    const detail = `newest segment ${newest.toFixed(1)} MiB`;
    // Longer only where the writer never rested.
    const goals = name === 'at-rest' ? [{ atMost: 150 }, { atMost: 20 }] : [];
    report({ name: `ms more to open after ${after}`, figure: ms, ...goals[0], detail });
    report({ name: `MiB more to open after ${after}`, figure: mib, ...goals[1], detail });
  }
}

function segmentsOf(name: string): string[] {
  const journal = join(path(name), 'journal');
  const names = fs.readdirSync(journal).filter((file) => file.endsWith('.jsonl'));
  return names.sort().map((file) => join(journal, file));
}

function newestSegment(name: string): string {
  return segmentsOf(name).at(-1) ?? '';
}

/** The least that checking the lines could cost: parse each, and hash each. */
function parseAndHash(files: readonly string[]): number {
  let ms = 0;
  for (const file of files) {
    const lines = fs.readFileSync(file, 'utf8').split('\n').slice(0, -1);
    const sinceMs = performance.now();
    for (const line of lines) {
      JSON.parse(line);
      hash('sha256', line, 'hex');
    }
    ms += performance.now() - sinceMs;
  }
  return ms;
}

async function benchVerify(): Promise<void> {
  const journal = await openOnDisk(path('verified'));
  for (let done = 0; done < VERIFIED_RECORDS; done += GROUP_RECORDS) await appendGroup(journal);
  await journal.close();
  const ratios: number[] = [];
  for (let round = 0; round < VERIFYINGS; round++) {
    const baseMs = parseAndHash(segmentsOf('verified'));
    collect();
    const sinceMs = performance.now();
    const { ok, records } = await verifyJournal(openReader(path('verified')));
    ratios.push((performance.now() - sinceMs) / baseMs);
    if (!ok || records < VERIFIED_RECORDS) throw new Error('it does not verify');
  }
  const detail = `${VERIFIED_RECORDS} records`;
  report({ name: 'verify / JSON.parse plus SHA-256', figure: median(ratios), atMost: 2, detail });
}

try {
  if (values.only !== 'history') {
    await benchAlone();
    await benchGroups();
  }
  if (values.only !== 'appending') {
    await writeHistory();
    await benchOpening();
    await benchVerify();
  }
} finally {
  fs.rmSync(folder, { recursive: true });
}
