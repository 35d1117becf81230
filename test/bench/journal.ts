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
import { parseArgs } from 'node:util';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import Database from 'better-sqlite3';
import { sealLine, ZERO_SUM } from '../../src/journal/line.ts';
import { openReader } from '../../src/journal/reader.ts';
import { verifyJournal } from '../../src/journal/verify.ts';
import type { OpRecordDraft } from '../../src/reconcile/op.ts';
import { openOnDisk } from '../support/journal-on-disk.ts';
import { opStory } from '../support/journal-script.ts';

const MIB = 1024 * 1024;
const ROUNDS = 5;
/** The first few warm up. */
const GROUP_ROUNDS = 15;
/** Written without waiting for each: one op after the other, as a quiet node writes them. */
const GROUP_RECORDS = 600;

const { values } = parseArgs({
  options: {
    folder: { type: 'string', default: '.' },
    history: { type: 'string', default: '1000000' },
    only: { type: 'string', default: 'all' },
  },
});
const historyRecords = Number(values.history);
const folder = fs.mkdtempSync(join(values.folder, '.bench-journal-'));
const path = (name: string): string => join(folder, name);

let isWithinGoals = true;
let nextOp = 0;

function report(name: string, measured: number, goal: string, isMet: boolean, detail = ''): void {
  isWithinGoals &&= isMet;
  const figure = measured.toFixed(2).padStart(8);
  console.log(`${isMet ? 'ok  ' : 'MISS'} ${name.padEnd(46)} ${figure}  goal ${goal}  ${detail}`);
}

function median(numbers: readonly number[]): number {
  return numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)] ?? Number.NaN;
}

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
  for (const draft of makeDrafts(6000)) {
    const sizeBefore = journal.stats().segmentBytes;
    const ms = await timed(() => journal.ledger.append(draft));
    const line = Buffer.alloc(journal.stats().segmentBytes - sizeBefore, 'x');
    ours.push(ms);
    bare.push(await timed(() => write(line)));
  }
  await journal.close();
  const ratio = median(ours) / median(bare);
  const detail = `${inMicroseconds(median(ours))} against ${inMicroseconds(median(bare))}`;
  report('one appender / bare write and fdatasync', ratio, '≤ 1.15', ratio <= 1.15, detail);
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

interface Group {
  /** Records per ms of the journal. */
  readonly rate: number;
  /** One bare write and sync of as many bytes as the appenders have between them. */
  readonly syncMs: number;
  readonly makingMs: number;
}

/** Each appender waits for one record before the next. All that is compared takes turns. */
async function measureGroup(appenders: number, recordsEach: number): Promise<Group> {
  const journal = await openOnDisk(path(`group-${appenders}`));
  const write = openBare(`bare-${appenders}`);
  const rates: number[] = [];
  const syncs: number[] = [];
  const makings: number[] = [];
  const run = async (drafts: readonly OpRecordDraft[]): Promise<void> => {
    for (const draft of drafts) await journal.ledger.append(draft);
  };
  for (let round = 0; round < GROUP_ROUNDS; round++) {
    const work = Array.from({ length: appenders }, () => makeDrafts(recordsEach));
    const bytesBefore = journal.stats().bytes;
    const ms = await timed(() => Promise.all(work.map(run)));
    const perRecord = (journal.stats().bytes - bytesBefore) / (appenders * recordsEach);
    rates.push((appenders * recordsEach) / ms);
    const block = Buffer.alloc(Math.round(perRecord * appenders), 'x');
    for (let turn = 0; turn < 20; turn++) syncs.push(await timed(() => write(block)));
    makings.push(measureMaking(work));
  }
  await journal.close();
  return { rate: median(rates), syncMs: median(syncs), makingMs: median(makings) };
}

async function benchGroups(): Promise<void> {
  for (const appenders of [8, 64, 1000]) {
    const recordsEach = Math.ceil(30_000 / appenders / 3) * 3;
    const { rate, syncMs, makingMs } = await measureGroup(appenders, recordsEach);
    const share = rate * (syncMs / appenders + makingMs);
    const parts = `F ${inMicroseconds(syncMs)}, c ${inMicroseconds(makingMs)}`;
    const detail = `${(rate * 1000).toFixed(0)}/s, ${parts}`;
    report(`${appenders} appenders / (1 / (F/N + c))`, share, '≥ 0.50', share >= 0.5, detail);
    if (appenders === 64) benchSqlite(rate);
  }
}

/** One row a transaction, as durable as ours. */
function benchSqlite(rate: number): void {
  const database = new Database(path('rows.sqlite'));
  database.pragma('journal_mode = WAL');
  database.pragma('synchronous = FULL');
  database.exec('create table records (seq integer primary key, body text not null)');
  const insert = database.prepare('insert into records (body) values (?)');
  const rates = Array.from({ length: ROUNDS }, () => {
    const bodies = makeDrafts(900).map((draft) => JSON.stringify(draft));
    const sinceMs = performance.now();
    for (const body of bodies) insert.run(body);
    return bodies.length / (performance.now() - sinceMs);
  });
  database.close();
  const ratio = rate / median(rates);
  const detail = `${(median(rates) * 1000).toFixed(0)} commits/s of better-sqlite3`;
  report('64 appenders / better-sqlite3 commits', ratio, '≥ 8   ', ratio >= 8, detail);
}

/** Writes the history, watching the heap on the way. */
async function writeHistory(): Promise<void> {
  setFlagsFromString('--expose-gc');
  const collect: () => void = runInNewContext('gc');
  const journal = await openOnDisk(path('history'));
  const heaps: number[] = [];
  for (let round = 0; round < 10; round++) {
    for (let done = 0; done < historyRecords / 10; done += GROUP_RECORDS) {
      await Promise.all(makeDrafts(GROUP_RECORDS).map((draft) => journal.ledger.append(draft)));
    }
    collect();
    heaps.push(process.memoryUsage().heapUsed / MIB);
  }
  await journal.close();
  // The first rounds fill what is remembered of ended ops and of each guest.
  const grown = Math.max(...heaps.slice(5)) - Math.max(...heaps.slice(1, 5));
  report(`MiB grown by ${historyRecords} appends`, grown, '≤ 2   ', grown <= 2);
}

interface Opening {
  readonly ms: number;
  readonly maxRssKib: number;
}

function openInChild(name: string): Opening {
  const script = join(import.meta.dirname, 'journal-open.ts');
  const child = spawnSync(process.execPath, [script, path(name)], { encoding: 'utf8' });
  if (child.status !== 0) throw new Error(child.stderr);
  return JSON.parse(child.stdout);
}

async function benchOpening(): Promise<void> {
  await (await openOnDisk(path('empty'))).close();
  const openings = Array.from({ length: ROUNDS }, () => ({
    empty: openInChild('empty'),
    full: openInChild('history'),
  }));
  const ms = median(openings.map(({ empty, full }) => full.ms - empty.ms));
  const mib = median(openings.map(({ empty, full }) => (full.maxRssKib - empty.maxRssKib) / 1024));
  const newest = fs.statSync(newestSegment('history')).size / MIB;
  const detail = `newest segment ${newest.toFixed(1)} MiB`;
  report('ms more to open the history than nothing', ms, '≤ 150 ', ms <= 150, detail);
  report('MiB more to open the history than nothing', mib, '≤ 20  ', mib <= 20);
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
  const ratios: number[] = [];
  const files = segmentsOf('history');
  for (let round = 0; round < 3; round++) {
    const baseMs = parseAndHash(files);
    const reader = openReader(path('history'));
    const sinceMs = performance.now();
    const { ok, records } = await verifyJournal(reader);
    ratios.push((performance.now() - sinceMs) / baseMs);
    if (!ok || records < historyRecords * 0.9) throw new Error('the history does not verify');
  }
  const ratio = median(ratios);
  report('verify / JSON.parse plus SHA-256', ratio, '≤ 2   ', ratio <= 2);
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
process.exitCode = isWithinGoals ? 0 : 1;
