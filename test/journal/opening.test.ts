/** Opening and halting on a real disk: whom the journal was taken from, and what the next is told. */
import * as fs from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type Journal, type OpenOptions, openJournal } from '../../src/journal/journal.ts';
import { LOCK_STALE_MS } from '../../src/journal/lock.ts';
import { describeSelf } from '../../src/journal/owner.ts';
import { repairJournal } from '../../src/journal/repair.ts';
import type { ReconcilerError } from '../../src/reconcile/errors.ts';
import { opStory, seededRandom, startOn, tickingClock } from '../support/journal-script.ts';
import { MemoryDisk } from '../support/memory-disk.ts';

let stateDir = '';
const halts: ReconcilerError[] = [];
beforeEach(() => {
  stateDir = fs.mkdtempSync(join(tmpdir(), 'journal-opening-'));
  halts.length = 0;
});
afterEach(() => fs.rmSync(stateDir, { recursive: true }));

const inState = (name: string): string => join(stateDir, name);
const clock = tickingClock(Date.now());

function open(options: Partial<OpenOptions> = {}): Promise<Journal> {
  return openJournal({
    stateDir,
    clock,
    random: seededRandom(1),
    segmentBytes: 1024 * 1024,
    keepSegments: 10,
    keepForMs: 86_400_000,
    onHalt: (error) => halts.push(error),
    ...options,
  });
}

function ownerOnDisk(): unknown {
  return JSON.parse(fs.readFileSync(inState('journal.owner.json'), 'utf8'));
}

function writeOwner(changes: object): void {
  fs.writeFileSync(
    inState('journal.owner.json'),
    JSON.stringify({ ...describeSelf(), ...changes }),
  );
}

/** Ours is late, and another has taken it. */
function loseLock(): void {
  clock.advance(2 * LOCK_STALE_MS);
  writeOwner({ pid: 4242 });
}

async function appendOne(journal: Journal): Promise<void> {
  for (const record of opStory(1).slice(0, 1)) await journal.ledger.append(record);
}

test('a journal taken from who had not said who it was says so', async () => {
  fs.mkdirSync(inState('journal.lock'));
  fs.writeFileSync(inState('journal.owner.json'), '{"pid":');
  const oldS = (Date.now() - 2 * LOCK_STALE_MS) / 1000;
  fs.utimesSync(inState('journal.lock'), oldS, oldS);
  const journal = await open();
  expect(journal.report.takenFrom).toBe('a process unknown');
  await journal.close();
});

test.each([
  ['segments too short', { segmentBytes: 1023 }],
  ['segments too long', { segmentBytes: 256 * 1024 * 1024 + 1 }],
  ['no segment kept', { keepSegments: 0 }],
  ['nothing kept at all', { keepForMs: 0 }],
])('%s: the settings are refused, and nothing is written', async (_, settings) => {
  const disk = new MemoryDisk();
  await expect(startOn(disk, settings)).rejects.toMatchObject({ code: 'config_invalid' });
  expect(disk.files().size).toBe(0);
});

describe('a journal that has to halt', () => {
  test('because its lock is lost says so once, though its writer fails on it, too', async () => {
    const journal = await open();
    loseLock();
    await expect(appendOne(journal)).rejects.toMatchObject({ code: 'journal_locked' });
    expect(halts).toMatchObject([{ code: 'journal_locked', disposition: 'halt' }]);
    await journal.close();
    expect(ownerOnDisk()).toMatchObject({ pid: 4242 });
    expect(ownerOnDisk()).not.toHaveProperty('poisoned');
    fs.rmSync(inState('journal.lock'), { recursive: true });
  });

  test('says so although the disk does not even give its owner file', async () => {
    let fails = false;
    const onSynced = (): void => {
      if (fails) throw new Error('the disk is gone');
    };
    const journal = await open({ onSynced });
    fs.rmSync(inState('journal.owner.json'));
    fs.mkdirSync(inState('journal.owner.json'));
    fails = true;
    await expect(appendOne(journal)).rejects.toMatchObject({ code: 'journal_poisoned' });
    expect(halts).toMatchObject([{ code: 'journal_poisoned' }]);
    await journal.close();
  });

  test('because what it wrote while opening failed leaves its mark for the next', async () => {
    const onSynced = (): never => {
      throw new Error('the disk is gone');
    };
    await expect(open({ onSynced })).rejects.toMatchObject({ code: 'journal_poisoned' });
    expect(halts).toMatchObject([{ code: 'journal_poisoned' }]);
    expect(ownerOnDisk()).toMatchObject({ pid: process.pid, poisoned: true });
  });
});

test('an opening that the disk fails before anything is appended leaves its mark, too', async () => {
  fs.mkdirSync(inState('journal.key.tmp'));
  await expect(open()).rejects.toMatchObject({ code: 'journal_poisoned' });
  expect(ownerOnDisk()).toMatchObject({ pid: process.pid, poisoned: true });
});

test('an opening that is refused for what it finds leaves no mark', async () => {
  fs.mkdirSync(inState('journal.key'));
  await expect(open()).rejects.toMatchObject({ code: 'config_invalid' });
  expect(fs.readdirSync(stateDir).toSorted()).toEqual(['journal', 'journal.key']);
});

describe('a takeover that has begun no segment is one for the next start, too:', () => {
  const ended = { boot_id: 'another' };

  async function openAfter(first: () => Promise<void>): Promise<Journal> {
    await appendOne(await open());
    writeOwner(ended);
    await first();
    // As if that process, too, had ended by now.
    writeOwner({ ...(ownerOnDisk() as object), ...ended });
    return open();
  }

  test.each<[string, () => Promise<void>]>([
    [
      'refused for what it found',
      async () => {
        fs.writeFileSync(inState('journal/notes.txt'), '', { mode: 0o644 });
        await expect(open()).rejects.toMatchObject({ code: 'config_invalid' });
        fs.unlinkSync(inState('journal/notes.txt'));
      },
    ],
    [
      'a repair that found nothing',
      async () => {
        expect(await repairJournal(stateDir, clock)).toEqual({ kind: 'sound' });
      },
    ],
  ])('%s', async (_, first) => {
    const journal = await openAfter(first);
    expect(journal.report.takenFrom).toContain(`process ${process.pid} on`);
    expect(journal.stats().segment).toBe(2);
    await journal.close();
    expect(fs.existsSync(inState('journal.owner.json'))).toBe(false);
  });
});
