/** `ops list` on a journal that is not whole: what can be read is listed, and that is said. */
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { openOnDisk } from '../support/journal-on-disk.ts';
import { opId, opStory } from '../support/journal-script.ts';
import { runHere } from './run-here.ts';

let folder = '';
let configFile = '';
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'ops-list-'));
  configFile = join(folder, 'config.yaml');
  writeFileSync(configFile, 'node: pve1\nstate_dir: state\ncontrol: { socket: agent.sock }\n');
  const journal = await openOnDisk(join(folder, 'state'), { segmentBytes: 1024 });
  for (const op of [1, 2, 3, 4]) {
    for (const record of opStory(op)) await journal.ledger.append(record);
  }
  await journal.close();
});
afterEach(() => rmSync(folder, { recursive: true }));

const inJournal = (name: string): string => join(folder, 'state/journal', name);
const segments = (): string[] =>
  readdirSync(inJournal('')).filter((name) => name.endsWith('.jsonl'));
const list = (...args: string[]) => runHere('ops', 'list', ...args, '--config', configFile);

test('a whole journal is listed without a word', async () => {
  expect(await list()).toMatchObject({ exit: 0, err: '', out: expect.stringContaining(opId(1)) });
});

test.each<[string, (names: string[]) => string | undefined]>([
  ['the newest', (names) => names.at(-1)],
  ['one in the middle', (names) => names[1]],
])('a segment that is missing is named: %s', async (_, choose) => {
  expect(segments().length).toBeGreaterThan(2);
  const name = choose(segments()) ?? '';
  rmSync(inJournal(name));
  const { exit, err } = await list();
  expect(err).toBe(
    `note: the journal is not whole: ${name} is missing; see \`pve-reconciler journal verify\`\n`,
  );
  expect(exit).toBe(0);
});

test('a line that is no record is said, and the others are listed', async () => {
  const file = inJournal(segments()[0] ?? '');
  const text = readFileSync(file, 'utf8');
  writeFileSync(file, text.replace('"type":"op"', '"tipe":"op"'));
  const { out, err } = await list();
  expect(err).toMatch(/^note: the journal is not whole: 1 of its lines cannot be read; see .*\n$/);
  expect(out).toContain(opId(1));
});
