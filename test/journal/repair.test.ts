import * as fs from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { sealLine, ZERO_SUM } from '../../src/journal/line.ts';
import { JournalReader, openReader } from '../../src/journal/reader.ts';
import { repairJournal } from '../../src/journal/repair.ts';
import { type SalvageReport, salvage } from '../../src/journal/salvage.ts';
import { verifyJournal } from '../../src/journal/verify.ts';
import type { OpRecordDraft } from '../../src/reconcile/op.ts';
import { openOnDisk, realClock } from '../support/journal-on-disk.ts';
import { NOTES, opId, opStory, START_MS, startOn, vmid } from '../support/journal-script.ts';
import { MemoryDisk } from '../support/memory-disk.ts';

const AT = new Date(START_MS + 1000).toISOString();

/** Several segments; op 2 is only received, op 4 under way. */
async function damagedFrom(): Promise<ReadonlyMap<string, Buffer>> {
  const disk = new MemoryDisk();
  const journal = await startOn(disk, { segmentBytes: 1200 });
  const { ledger } = journal;
  for (const record of opStory(1, { origin: 'hub' })) await ledger.append(record);
  for (const record of opStory(2, { origin: 'hub' }).slice(0, 1)) await ledger.append(record);
  for (const note of NOTES.slice(0, 3)) await ledger.note(note);
  for (const record of opStory(3, { end: 'failed' })) await ledger.append(record);
  for (const record of opStory(4, { end: null })) await ledger.append(record);
  await journal.close();
  return disk.files();
}

const files = await damagedFrom();
const segments = [...files.keys()].filter((name) => name.endsWith('.jsonl')).sort();

/** Every numbered line of ops and notes, as `NAME LINE`, with its text but for the sum. */
function numberedLines(disk: ReadonlyMap<string, Buffer>): string[] {
  return [...disk]
    .filter(([name]) => name.endsWith('.jsonl'))
    .flatMap(([, bytes]) => bytes.toString().split('\n'))
    .filter((line) => /^\{"type":"\w+","seq":/.test(line) && !line.startsWith('{"type":"lost"'))
    .map((line) => line.slice(0, -42));
}

async function repaired(
  broken: ReadonlyMap<string, Buffer>,
): Promise<{ report: SalvageReport; disk: MemoryDisk }> {
  const disk = new MemoryDisk();
  const report = await salvage(MemoryDisk.of(broken), disk, AT);
  return { report, disk };
}

function flipped(name: string, index: number): Map<string, Buffer> {
  const bytes = Buffer.from(files.get(name) ?? '');
  bytes[index] = (bytes[index] ?? 0) ^ (1 << (index % 8));
  return new Map(files).set(name, bytes);
}

describe.each(segments)('with a flipped bit in %s', (name) => {
  test('the repaired copy is sound, opens, and lacks at most the lines that were hit', async () => {
    const all = numberedLines(files);
    for (let index = 0; index < (files.get(name)?.length ?? 0); index += 11) {
      const { report, disk } = await repaired(flipped(name, index));
      const verified = await verifyJournal(new JournalReader(disk));
      expect(verified.problems).toEqual([]);
      expect(report.leftOut.length).toBeGreaterThan(0);
      const kept = new Set(numberedLines(disk.files()));
      // The line that was hit, the one it ran into, and what cannot follow without them.
      expect(all.filter((line) => !kept.has(line)).length).toBeLessThanOrEqual(4);
      const journal = await startOn(disk);
      // Received before something was lost: never sent, whatever it was.
      expect(journal.ledger.findOp(opId(2))?.latest.state).not.toBe('started');
      expect(journal.ledger.findOp(opId(4)) ?? 'lost').toBeTruthy();
      await journal.close();
    }
  });
});

test('an op whose end is lost stays in flight', async () => {
  const { line, name } = findLine((text) => text.includes('"state":"failed"'));
  const { disk, report } = await repaired(withDamagedLine(name, line));
  expect(report.leftOut).toMatchObject([{ segment: name, line: line + 1 }]);
  const journal = await startOn(disk);
  expect(journal.ledger.findOp(opId(3))?.latest.state).toBe('task_running');
  await journal.close();
});

test('a record that cannot follow what is lost still counts', async () => {
  const { line, name } = findLine(
    (text) => text.includes(`"op_id":"${opId(4)}"`) && text.includes('"state":"started"'),
  );
  const { disk } = await repaired(withDamagedLine(name, line));
  const journal = await startOn(disk);
  expect(journal.ledger.opsInFlight().map(({ opId: id }) => id)).toContain(opId(4));
  expect(journal.ledger.findOp(opId(4))?.latest.state).toBe('task_running');
  await journal.close();
});

test('an op that is tried again stays in flight where the beginning of that is lost', async () => {
  const disk = new MemoryDisk();
  const journal = await startOn(disk);
  const [started, running, failed] = opStory(1, { end: 'failed' });
  const again = [started, running].map((record) => ({ ...record, attempt: 2 }));
  for (const record of [started, running, failed, ...again]) {
    await journal.ledger.append(record as OpRecordDraft);
  }
  await journal.close();
  const text = disk.files().get('00000001.jsonl')?.toString() ?? '';
  const lost = text.replace('"state":"started","attempt":2', '"state":"started","attempt":3');
  const { disk: copy } = await repaired(new Map([['00000001.jsonl', Buffer.from(lost)]]));
  const reopened = await startOn(copy);
  expect(reopened.ledger.opsInFlight()).toMatchObject([
    { opId: opId(1), latest: { state: 'task_running', attempt: 2 } },
  ]);
  await reopened.close();
});

describe('a failed op of a hub, with a loss behind it', () => {
  const story = opStory(1, { end: 'failed', origin: 'hub' });
  const started = story.find(({ state }) => state === 'started');
  if (started === undefined) throw new Error('it was never started');
  const [note] = NOTES;

  /** What is in flight after `lost` has become unreadable. */
  const inFlight = async (
    write: (journal: Awaited<ReturnType<typeof startOn>>) => Promise<unknown>,
    lost: RegExp,
  ): Promise<string[]> => {
    const disk = new MemoryDisk();
    const journal = await startOn(disk, { segmentBytes: 1024 * 1024 });
    for (const record of story) await journal.ledger.append(record);
    await write(journal);
    await journal.close();
    const text = disk.files().get('00000001.jsonl')?.toString() ?? '';
    expect(text).toMatch(lost);
    const damaged = Buffer.from(text.replace(lost, '"damaged"'));
    const { disk: copy } = await repaired(new Map([['00000001.jsonl', damaged]]));
    expect((await verifyJournal(new JournalReader(copy))).problems).toEqual([]);
    const reopened = await startOn(copy);
    const views = reopened.ledger.opsInFlight();
    await reopened.close();
    return views.map(({ latest }) => `${latest.state} ${latest.attempt}`);
  };

  test('was tried again for all anybody knows: it stays in flight', async () => {
    const write = async (journal: Awaited<ReturnType<typeof startOn>>): Promise<void> => {
      await journal.ledger.append({ ...started, attempt: 2 });
      if (note !== undefined) await journal.ledger.note(note);
    };
    expect(await inFlight(write, /"state":"started","attempt":2/)).toEqual(['started 2']);
  });

  test('has ended where another record stands right behind it', async () => {
    const write = async (journal: Awaited<ReturnType<typeof startOn>>): Promise<void> => {
      for (const each of NOTES.slice(0, 3)) await journal.ledger.note(each);
    };
    expect(await inFlight(write, new RegExp(`"type":"${NOTES[1]?.kind}"`))).toEqual([]);
  });
});

test('a journal that was opened more than once is repaired to one that verifies', async () => {
  const disk = new MemoryDisk();
  for (const op of [1, 2]) {
    const journal = await startOn(disk, { segmentBytes: 1024 * 1024 });
    for (const record of opStory(op)) await journal.ledger.append(record);
    await journal.close();
  }
  const { disk: copy } = await repaired(disk.files());
  expect((await verifyJournal(new JournalReader(copy))).problems).toEqual([]);
});

test('notes survive, and segments in the wrong order are put right', async () => {
  const [a = '', b = ''] = segments.slice(-2);
  const swapped = new Map(files);
  swapped.set(a, files.get(b) ?? Buffer.alloc(0)).set(b, files.get(a) ?? Buffer.alloc(0));
  const { disk, report } = await repaired(swapped);
  expect(report.leftOut).toEqual([]);
  const journal = await startOn(disk);
  expect(journal.ledger.holds().get(vmid(101))?.reason).toBe('by hand');
  await journal.close();
});

function findLine(matches: (text: string) => boolean): { name: string; line: number } {
  for (const name of segments) {
    const lines = (files.get(name)?.toString() ?? '').split('\n');
    const line = lines.findIndex(
      (text) => text.startsWith('{"type":"') && isNumbered(text) && matches(text),
    );
    if (line >= 0) return { name, line };
  }
  throw new TypeError('no such line');
}

/** The lines of a first segment, sealed anew. */
function resealText(text: string): string {
  const lines = text.split('\n').slice(0, -1);
  const bodies = lines.map((line) => `${line.slice(0, -42)}}`);
  let sum = ZERO_SUM;
  return bodies
    .map((body) => {
      const sealed = sealLine(body, sum);
      sum = sealed.sum;
      return sealed.text;
    })
    .join('');
}

function isNumbered(text: string): boolean {
  return /^\{"type":"\w+","seq":/.test(text);
}

function withDamagedLine(name: string, line: number): Map<string, Buffer> {
  const lines = (files.get(name)?.toString() ?? '').split('\n');
  const damaged = lines.with(line, (lines[line] ?? '').replace('"at"', '"AT"'));
  return new Map(files).set(name, Buffer.from(damaged.join('\n')));
}

describe('on a real disk', () => {
  let stateDir = '';
  beforeEach(async () => {
    stateDir = fs.mkdtempSync(join(tmpdir(), 'journal-repair-'));
    const journal = await openOnDisk(stateDir, { segmentBytes: 2048 });
    for (let op = 1; op < 8; op++) {
      for (const record of opStory(op)) await journal.ledger.append(record);
    }
    await journal.close();
  });
  afterEach(() => fs.rmSync(stateDir, { recursive: true }));

  const damage = (): void => {
    const path = join(stateDir, 'journal', '00000002.jsonl');
    const bytes = fs.readFileSync(path);
    bytes[900] = (bytes[900] ?? 0) ^ 1;
    fs.writeFileSync(path, bytes);
  };

  test('a sound journal is left as it is', async () => {
    expect(await repairJournal(stateDir, realClock)).toEqual({ kind: 'sound' });
    expect(fs.readdirSync(stateDir).toSorted()).toEqual(['journal', 'journal.key']);
  });

  test('a damaged one is replaced by its repaired copy and kept beside it', async () => {
    damage();
    const before = fs.readFileSync(join(stateDir, 'journal', '00000002.jsonl'));
    const report = await repairJournal(stateDir, realClock);
    expect(report).toMatchObject({ kind: 'repaired', ended: [] });
    const original = join(stateDir, 'journal.damaged-1');
    expect(fs.readFileSync(join(original, '00000002.jsonl'))).toEqual(before);
    expect((await verifyJournal(openReader(stateDir))).problems).toEqual([]);
    await (await openOnDisk(stateDir)).close();
  });

  test('one that is damaged again is kept beside what was kept the first time', async () => {
    damage();
    await repairJournal(stateDir, realClock);
    damage();
    const original = join(stateDir, 'journal.damaged-2');
    expect(await repairJournal(stateDir, realClock)).toMatchObject({ original });
    expect(fs.readdirSync(stateDir).toSorted()).toEqual([
      'journal',
      'journal.damaged-1',
      'journal.damaged-2',
      'journal.key',
    ]);
  });

  test.each([
    ['a newer format', '"format":1', '"format":2'],
    ['a type of record that nobody knows', '"type":"opened"', '"type":"fenced"'],
  ])('one with %s is left as it is', async (_, from, to) => {
    const path = join(stateDir, 'journal', '00000001.jsonl');
    const segment = fs.readFileSync(path, 'utf8').replace(from, to);
    // Its last line is damaged, too.
    const newer = resealText(segment).replace(/.{9}\n$/, 'damaged!\n');
    fs.writeFileSync(path, newer);
    const hint = expect.stringContaining('Install the version that wrote it');
    const refusal = { code: 'journal_corrupt', hint, context: { rule: 'format' } };
    await expect(repairJournal(stateDir, realClock)).rejects.toMatchObject(refusal);
    expect(fs.readFileSync(path, 'utf8')).toBe(newer);
    expect(fs.readdirSync(stateDir)).not.toContain('journal.damaged-1');
  });

  test('a running writer keeps it from being repaired', async () => {
    damage();
    const writer = await openOnDisk(stateDir);
    await expect(repairJournal(stateDir, realClock)).rejects.toMatchObject({
      code: 'journal_locked',
    });
    await writer.close();
  });

  test('a repair cut off between its renames is finished by the next opening', async () => {
    damage();
    await repairJournal(stateDir, realClock);
    const folder = join(stateDir, 'journal');
    const records = (await verifyJournal(openReader(stateDir))).records;
    fs.renameSync(folder, `${folder}.repaired`);
    await (await openOnDisk(stateDir)).close();
    expect((await verifyJournal(openReader(stateDir))).records).toBe(records + 1);
  });
});
