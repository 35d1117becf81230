import { spawn } from 'node:child_process';
import { once } from 'node:events';
import * as fs from 'node:fs';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { openReader } from '../../src/journal/reader.ts';
import { verifyJournal } from '../../src/journal/verify.ts';
import { openOnDisk } from '../support/journal-on-disk.ts';
import { opStory } from '../support/journal-script.ts';

let root = '';
let stateDir = '';
beforeEach(() => {
  root = fs.mkdtempSync(join(tmpdir(), 'journal-dir-'));
  stateDir = join(root, 'state');
});
afterEach(() => fs.rmSync(root, { recursive: true }));

const inState = (name: string): string => join(stateDir, name);
const modeOf = (path: string): string => (fs.statSync(path).mode & 0o777).toString(8);

async function openAndClose(): Promise<void> {
  await (await openOnDisk(stateDir)).close();
}

test('what is missing is made, for its owner alone', async () => {
  const journal = await openOnDisk(stateDir);
  const owner = inState('journal.owner.json');
  expect(JSON.parse(fs.readFileSync(owner, 'utf8'))).toMatchObject({ pid: process.pid });
  expect([stateDir, inState('journal')].map(modeOf)).toEqual(['700', '700']);
  const files = ['journal/00000001.jsonl', 'journal/newest', 'journal.key', 'journal.owner.json'];
  expect(files.map((name) => modeOf(inState(name)))).toEqual(['600', '600', '600', '600']);
  await journal.close();
  expect(fs.readdirSync(stateDir).toSorted()).toEqual(['journal', 'journal.key']);
});

describe('is refused as it is, and nothing is changed', () => {
  test.each<[string, () => void]>([
    ['a state_dir that others can read', () => fs.chmodSync(stateDir, 0o755)],
    ['a journal folder that others can read', () => fs.chmodSync(inState('journal'), 0o750)],
    ['a segment that others can write', () => fs.chmodSync(segment(), 0o622)],
    ['a key that others can read', () => fs.chmodSync(inState('journal.key'), 0o640)],
    ['a key that is cut short', () => fs.truncateSync(inState('journal.key'), 7)],
    ['a segment that is a link', () => swapForLink(segment())],
    ['a key that is a link', () => swapForLink(inState('journal.key'))],
    ['a journal that is a file', () => swapForFile(inState('journal'))],
  ])('%s', async (_, spoil) => {
    await openAndClose();
    const bytes = fs.readFileSync(segment());
    spoil();
    await expect(openOnDisk(stateDir)).rejects.toMatchObject({ code: 'config_invalid' });
    const left = fs.statSync(inState('journal')).isDirectory() ? fs.readFileSync(segment()) : bytes;
    expect(left).toEqual(bytes);
    expect(fs.existsSync(inState('journal.lock'))).toBe(false);
  });

  // Who is not root cannot give files away, and meets none that are another's.
  test.skipIf(process.geteuid?.() !== 0).each([
    ['state_dir', (): string => stateDir],
    ['the journal folder', (): string => inState('journal')],
    ['a segment', (): string => segment()],
    ['the key', (): string => inState('journal.key')],
  ])('%s of another owner (only root can try)', async (_, path) => {
    await openAndClose();
    const bytes = fs.readFileSync(segment());
    fs.chownSync(path(), 12_345, 12_345);
    await expect(openOnDisk(stateDir)).rejects.toMatchObject({
      code: 'forbidden',
      message: expect.stringContaining('belongs to uid 12345'),
    });
    expect(fs.readFileSync(segment())).toEqual(bytes);
    expect(fs.existsSync(inState('journal.lock'))).toBe(false);
  });

  test('a state_dir that is a file', async () => {
    fs.writeFileSync(stateDir, '');
    await expect(openOnDisk(stateDir)).rejects.toMatchObject({ code: 'config_invalid' });
  });
});

const segment = (): string => inState('journal/00000001.jsonl');

function swapForLink(path: string): void {
  const target = join(root, 'target');
  fs.renameSync(path, target);
  fs.symlinkSync(target, path);
}

function swapForFile(path: string): void {
  fs.rmSync(path, { recursive: true });
  fs.writeFileSync(path, '');
}

test('a file whose name is no text is none of ours', async () => {
  await openAndClose();
  const strange = Buffer.concat([Buffer.from(inState('journal/')), Buffer.of(0xff)]);
  fs.writeFileSync(strange, '');
  await openAndClose();
  expect(fs.existsSync(strange)).toBe(true);
});

test('hashes of secrets stay the same, and differ from one state_dir to the next', async () => {
  const hashIn = async (folder: string): Promise<string> => {
    const journal = await openOnDisk(join(root, folder));
    const hash = journal.ledger.hashSecret('swordfish');
    await journal.close();
    return hash;
  };
  const [first, again, other] = [await hashIn('a'), await hashIn('a'), await hashIn('b')];
  expect(first).toMatch(/^[0-9a-f]{64}$/);
  expect(again).toBe(first);
  expect(other).not.toBe(first);
});

test('a disk that takes only half of a line halts the writer, and nothing confirmed is lost', async () => {
  const script = join(import.meta.dirname, '../support/journal-writer.ts');
  // Files may have 24 KiB: the write that reaches it is cut short, the next one fails.
  const command = `ulimit -f 24; exec "$0" "$@"`;
  const args = ['-c', command, process.execPath, script, stateDir, '2000', '1048576'];
  const child = spawn('bash', args, { stdio: ['ignore', 'pipe', 'inherit'] });
  let said = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (said += text));
  const [code] = await once(child, 'close');
  expect(code).toBe(70);
  const lines = said.trimEnd().split('\n');
  expect(lines.at(-1)).toBe('error journal_poisoned halt');
  const owner = JSON.parse(fs.readFileSync(inState('journal.owner.json'), 'utf8'));
  expect(owner.poisoned).toBe(true);
  const journal = await openOnDisk(stateDir);
  expect(journal.report).toMatchObject({ torn: { segment: 1 }, takenFrom: expect.any(String) });
  expect(journal.stats().segment).toBe(2);
  await journal.ledger.append(opStory(1)[0] ?? failTest());
  await journal.close();
  const text = fs.readFileSync(segment(), 'utf8');
  const confirmed = lines.filter((line) => / [0-9a-f]{32}$/.test(line));
  expect(confirmed.filter((line) => !text.includes(`"sum":"${line.split(' ')[1]}"`))).toEqual([]);
  expect(confirmed.length).toBeGreaterThan(20);
  expect((await verifyJournal(openReader(stateDir))).problems).toEqual([]);
});

test('a start that fails on what a poisoned writer left keeps its mark; one that succeeds ends it', async () => {
  await openAndClose();
  const file = inState('journal.owner.json');
  const gone = { pid: 1, host: hostname(), started_at: 'x', boot_id: 'another', token: 'x' };
  const mark = { ...gone, start_ticks: 1, pid_namespace: 'x', poisoned: true };
  fs.writeFileSync(file, JSON.stringify(mark), { mode: 0o600 });
  const newest = fs.readFileSync(inState('journal/newest'));
  fs.writeFileSync(inState('journal/newest'), 'damaged');
  await expect(openOnDisk(stateDir)).rejects.toMatchObject({ code: 'journal_corrupt' });
  expect(JSON.parse(fs.readFileSync(file, 'utf8'))).toMatchObject({ poisoned: true });

  fs.writeFileSync(file, JSON.stringify(mark));
  fs.writeFileSync(inState('journal/newest'), newest);
  const journal = await openOnDisk(stateDir);
  expect(JSON.parse(fs.readFileSync(file, 'utf8'))).not.toHaveProperty('poisoned');
  await journal.close();
  expect(fs.existsSync(file)).toBe(false);
});

function failTest(): never {
  throw new TypeError('a story has records');
}

test('a key that was lost is made anew, and that is said; the first one is not', async () => {
  const isKeyLost = async (): Promise<boolean> => {
    const journal = await openOnDisk(stateDir);
    await journal.close();
    return journal.report.isKeyLost;
  };
  expect(await isKeyLost()).toBe(false);
  fs.unlinkSync(inState('journal.key'));
  expect(await isKeyLost()).toBe(true);
  expect(await isKeyLost()).toBe(false);
});
