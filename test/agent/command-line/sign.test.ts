/** `sign` refuses what every agent would refuse, before there is a signature on it. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { runHere } from '../run-here.ts';

let folder = '';
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'sign-'));
  await runHere('keys', 'generate', 'hub-1', '--out', folder);
});
afterAll(() => rmSync(folder, { recursive: true }));

function signConfig(params: object | string): ReturnType<typeof runHere> {
  const text = typeof params === 'string' ? params : JSON.stringify(params);
  const key = join(folder, 'hub-1.key.pem');
  const of = ['--agent', 'pve1', '--params', text, '--key', key];
  return runHere('sign', 'set_config', '101', ...of);
}

test.each([
  ['a secret', { set: { cipassword: 'x' } }, /refuse it: as qemu: cipassword: a secret/],
  ['a value neither kind takes', { set: { cores: 'many' } }, /cores: /],
  ['keys of two kinds', { set: { swap: 512, bios: 'ovmf' } }, /as qemu: swap: .*; as lxc: bios: /],
  ['nothing', {}, /names no key/],
])('%s is refused', async (_name, params, why) => {
  const { exit, out, err } = await signConfig(params);
  expect(err).toMatch(/^error \[invalid_request\] every agent would refuse it: /);
  expect(err).toMatch(why);
  expect({ exit, out }).toEqual({ exit: 64, out: '' });
});

test.each([
  ['{"set":{"description":1.10}}', 'the number 1.10 reads back as 1.1'],
  ['{"set":{"cores":1,"cores":2}}', 'twice'],
  ['{"set":', 'it is not JSON'],
])('--params %s would be signed as another text, and is refused', async (params, why) => {
  const { exit, out, err } = await signConfig(params);
  expect(err).toContain('--params: expected a JSON object: ');
  expect(err).toContain(why);
  expect({ exit, out }).toEqual({ exit: 64, out: '' });
});

test.each([
  ['both kinds', { set: { cores: 2 } }],
  ['VMs only', { set: { bios: 'ovmf' } }],
  ['containers only', { set: { swap: 512 } }],
  ['a key taken away', { delete: ['onboot'] }],
])('what suits %s is signed', async (_name, params) => {
  expect(await signConfig(params)).toMatchObject({ exit: 0 });
});
