import { describe, expect, test } from 'vitest';
import type { Journal, StartOptions } from '../../src/journal/journal.ts';
import { JournalReader } from '../../src/journal/reader.ts';
import { verifyJournal } from '../../src/journal/verify.ts';
import { everyChoice } from '../support/choices.ts';
import { NOTES, opStory, startOn } from '../support/journal-script.ts';
import { type DiskFault, MachineDied, MemoryDisk } from '../support/memory-disk.ts';

/** What a script had confirmed when it ended, and all that it had asked for. */
interface Told {
  readonly asked: string[];
  readonly confirmed: string[];
}

type Say = (what: string, done: Promise<unknown>) => Promise<void>;

/** Small enough for three rotations and a retention in a short script. */
const SMALL: Partial<StartOptions> = { segmentBytes: 1024, keepSegments: 2 };

/** Thousands of journals are opened: a few seconds, and many on a machine with other work. */
const OUTCOMES_MS = 90_000;

/** Ops of the checks themselves have numbers from here on. */
const CHECK_OP = 900;

async function runScript(disk: MemoryDisk): Promise<Told> {
  const told: Told = { asked: [], confirmed: [] };
  const say: Say = async (what, done) => {
    told.asked.push(what);
    await done;
    told.confirmed.push(what);
  };
  try {
    const journal = await startOn(disk, SMALL);
    await write(journal, say);
    await journal.close();
  } catch (error) {
    requireExpected(error);
  }
  return told;
}

async function write(journal: Journal, say: Say): Promise<void> {
  const { ledger } = journal;
  for (const record of opStory(1, { origin: 'hub' })) {
    await say(`op 1 ${record.state}`, ledger.append(record));
  }
  await say('hold', ledger.note(requireNote(0)));
  const [first, ...others] = opStory(2, { end: null });
  if (first === undefined) throw new TypeError('a story has a beginning');
  // The first goes alone, the others share a sync.
  await Promise.all([
    say(`op 2 ${first.state}`, ledger.append(first)),
    say('pause', ledger.note(requireNote(1))),
    say('late_effect', ledger.note(requireNote(3))),
  ]);
  for (const record of [...others, ...opStory(3, { end: 'failed' })]) {
    await say(`op ${Number(record.op_id)} ${record.state}`, ledger.append(record));
  }
}

function requireNote(index: number): (typeof NOTES)[number] {
  const note = NOTES[index];
  if (note === undefined) throw new TypeError('no such note');
  return note;
}

function requireExpected(error: unknown): void {
  if (error instanceof MachineDied) return;
  if (error instanceof Error && /^(journal_poisoned|EIO|ENOSPC)/.test(error.message)) return;
  throw error;
}

function readBack(disk: MemoryDisk): string[] {
  const told: string[] = [];
  const files = [...disk.files()].filter(([name]) => name.endsWith('.jsonl'));
  for (const [, bytes] of files.sort(([a], [b]) => (a < b ? -1 : 1))) {
    for (const line of bytes.toString().split('\n').slice(0, -1)) {
      const record = JSON.parse(line);
      if (Number(record.op_id) >= CHECK_OP) continue;
      if (record.type === 'op') told.push(`op ${Number(record.op_id)} ${record.state}`);
      if (['hold', 'pause', 'late_effect'].includes(record.type)) told.push(record.type);
    }
  }
  return told;
}

/** Opens what a crash left, and says whether it is what the script was told. */
async function check(disk: MemoryDisk, told: Told, isSuspect = false): Promise<void> {
  const journal = await startOn(disk, { ...SMALL, keepSegments: 100, isTakeover: true, isSuspect });
  const found = readBack(disk);
  // Retention may have taken the oldest; the rest is what was asked for, in order, up to a point.
  const end = told.asked.lastIndexOf(found.at(-1) ?? '') + 1;
  expect(told.asked.slice(end - found.length, end)).toEqual(found);
  expect(end).toBeGreaterThanOrEqual(told.confirmed.length);
  // And it goes on: an op of its own for each time it is opened.
  const [next] = opStory(CHECK_OP + journal.stats().epoch, { end: null });
  if (next !== undefined) await journal.ledger.append(next);
  await journal.close();
  const report = await verifyJournal(new JournalReader(disk));
  expect(report.problems).toEqual([]);
}

async function countCalls(): Promise<number> {
  const disk = new MemoryDisk();
  await runScript(disk);
  return disk.calls;
}

function failingAt(index: number, fault: DiskFault): MemoryDisk {
  const disk = new MemoryDisk();
  disk.faults = (call) => (call.index === index ? fault : null);
  return disk;
}

/** What makes two disks different to whoever opens them: half-built files are removed unread. */
function fingerprint(disk: MemoryDisk): string {
  const files = [...disk.files()].map(([name, bytes]) =>
    name.endsWith('.tmp') ? name : `${name} ${bytes.toString('latin1')}`,
  );
  return files.sort().join('\n');
}

/** Every different disk that a power loss may leave. */
function* everyPowerLoss(disk: MemoryDisk): Generator<MemoryDisk> {
  const seen = new Set<string>();
  for (const choose of everyChoice()) {
    const left = disk.afterPowerLoss(choose);
    const print = fingerprint(left);
    if (!seen.has(print)) yield left;
    seen.add(print);
  }
}

test(
  'a power loss at any call to the disk loses nothing confirmed, whatever was kept',
  async () => {
    const calls = await countCalls();
    let outcomes = 0;
    for (let index = 0; index < calls; index++) {
      const disk = failingAt(index, 'crash');
      const told = await runScript(disk);
      for (const left of everyPowerLoss(disk)) {
        await check(left, told);
        outcomes += 1;
      }
    }
    expect(outcomes).toBeGreaterThan(1000);
  },
  OUTCOMES_MS,
);

test('a kill at any call to the disk, and a power loss after the next start, lose nothing', async () => {
  const calls = await countCalls();
  for (let index = 0; index < calls; index++) {
    const disk = failingAt(index, 'crash');
    const told = await runScript(disk);
    const next = disk.afterKill();
    await check(next, told);
    await check(
      next.afterPowerLoss(() => 0),
      told,
    );
  }
});

/** What the first power loss that tears a line has left. */
async function tornJournal(): Promise<{ readonly left: MemoryDisk; readonly told: Told }> {
  for (let index = 0; ; index++) {
    const disk = failingAt(index, 'crash');
    const told = await runScript(disk);
    const left = disk.afterPowerLoss((count) => Math.floor(count / 2));
    const journal = await startOn(MemoryDisk.of(left.files()), SMALL);
    await journal.close();
    if (journal.report.torn !== null) return { left, told };
  }
}

test('a power loss while a torn journal is opened is no worse than before', async () => {
  const { left, told } = await tornJournal();
  const whole = MemoryDisk.of(left.files());
  await check(whole, told);
  for (let index = 0; index < whole.calls; index++) {
    const again = MemoryDisk.of(left.files());
    again.faults = (call) => (call.index === index ? 'crash' : null);
    await startOn(again, { ...SMALL, keepSegments: 100 }).catch(requireExpected);
    for (const leftAgain of everyPowerLoss(again)) await check(leftAgain, told);
  }
});

describe.each(['EIO', 'ENOSPC'] as const)('%s at any call to the disk', (fault) => {
  test('halts the journal, and the next start and a power loss after it lose nothing', async () => {
    const calls = await countCalls();
    for (let index = 0; index < calls; index++) {
      const disk = failingAt(index, fault);
      const told = await runScript(disk);
      const next = disk.afterKill();
      await check(next, told, true);
      await check(
        next.afterPowerLoss(() => 0),
        told,
      );
    }
  });
});

test('short writes are gone on with, and change nothing', async () => {
  const whole = new MemoryDisk();
  await runScript(whole);
  const short = new MemoryDisk();
  short.faults = ({ kind, index }) => (kind === 'append' && index % 2 === 0 ? 'short' : null);
  const told = await runScript(short);
  expect(told.confirmed).toEqual(told.asked);
  expect(fingerprint(short)).toBe(fingerprint(whole));
});
