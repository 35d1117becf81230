/** `validate`: what can be known of documents offline, each thing said once. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { stringify } from 'yaml';
import { runHere } from '../run-here.ts';

let folder = '';
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'validate-'));
});
afterAll(() => rmSync(folder, { recursive: true }));

function write(name: string, guest: object): string {
  const file = join(folder, name);
  writeFileSync(file, stringify({ version: 1, guests: { 101: guest } }));
  return file;
}

describe('of a guest whose kind is not said', () => {
  test.each([
    ['what no kind takes, once', { cores: 'many' }, "'many' is not an integer"],
    ['what each kind refuses, by kind', { net0: 'virtio,taag=20' }, /^as qemu: .*taag; as lxc: .+/],
    ['a key of VMs, as that', { numa: 'perhaps' }, "'perhaps' is not a boolean"],
    ['a key of containers, as that', { swap: 'much' }, "'much' is not an integer"],
    ['a key of neither', { coers: 4 }, 'PVE 9 has no option coers'],
  ])('%s', async (_name, config, message) => {
    const file = write('one.yaml', { config });
    const { exit, out } = await runHere('validate', '--json', file);
    expect(exit).toBe(65);
    const { findings } = JSON.parse(out).files[0];
    expect(findings).toEqual([expect.objectContaining({ message: expect.anything() })]);
    expect(findings[0].message).toEqual(
      typeof message === 'string' ? message : expect.stringMatching(message),
    );
  });

  test.each([{ cores: 4 }, { bios: 'ovmf' }, { swap: 512 }])('%j suits one', async (config) => {
    expect(await runHere('validate', write('one.yaml', { config }))).toMatchObject({ exit: 0 });
  });
});

test('a file that is named twice, or lies in a folder that is named too, is checked once', async () => {
  const named = join(folder, 'named');
  mkdirSync(named);
  const file = write('named/web.yaml', { power: 'running' });
  expect(await runHere('validate', file, named, `${named}/../named/web.yaml`)).toEqual({
    exit: 0,
    out: `${file}: ok, 1 guest\n`,
    err: '',
  });
});

test('two files that claim one guest are refused, the second naming the first', async () => {
  const first = write('first.yaml', {});
  const second = write('second.yaml', {});
  const { exit, err } = await runHere('validate', first, second);
  expect(exit).toBe(65);
  expect(err).toContain(`guests.101: also in ${first}`);
});

test('a folder without documents is in order, and said to be empty', async () => {
  const empty = join(folder, 'empty');
  mkdirSync(empty);
  writeFileSync(join(empty, 'notes.txt'), '');
  const out = `${empty}: ok, no *.yaml, *.yml or *.json in it\n`;
  expect(await runHere('validate', empty)).toEqual({ exit: 0, out, err: '' });
});
