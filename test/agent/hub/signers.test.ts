import { generateKeyPairSync } from 'node:crypto';
import { chmodSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type Config, loadConfig } from '../../../src/agent/config/config.ts';
import { loadSigners, ReloadableSigners } from '../../../src/agent/hub/signers.ts';
import { ReconcilerError } from '../../../src/reconcile/errors.ts';
import { vmid } from './small-node.ts';

let dir = '';
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'signers-'));
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

function write(name: string, text: string, mode = 0o644): void {
  writeFileSync(join(dir, name), text);
  chmodSync(join(dir, name), mode);
}

const pem = (): string =>
  generateKeyPairSync('ed25519').publicKey.export({ type: 'spki', format: 'pem' }).toString();
const entry = (keyid: string, file: string, more = ''): string =>
  `  - { keyid: ${keyid}, public_key_file: ${file}, ${more}allow: { kinds: [start], vmids: "100-199,300" } }\n`;

function load(entries: string): Promise<Config> {
  write('config.yaml', entries === '' ? 'signers: []\n' : `signers:\n${entries}`);
  return loadConfig(join(dir, 'config.yaml'));
}

test('a signer may do what is allowed to it, and nothing else', async () => {
  write('hub.pem', pem());
  const [signer] = await loadSigners(
    await load(entry('hub', 'hub.pem', 'not_after: 2027-01-31T12:00:00+01:00, ')),
  );
  const may = (['start', 'stop'] as const).map((kind) =>
    [100, 200, 300].map((number) => signer?.mayDo(kind, vmid(number))),
  );
  expect(may).toEqual([
    [true, false, true],
    [false, false, false],
  ]);
  expect(signer?.notAfterMs).toBe(Date.UTC(2027, 0, 31, 11));
});

test.each([
  ['one key under two keyids', entry('a', 'a.pem') + entry('b', 'copy.pem'), 'are the same'],
  ['one keyid twice', entry('a', 'a.pem') + entry('a', 'other.pem'), 'are the same'],
  ['a private key', entry('a', 'private.pem'), 'expected an Ed25519 public key'],
  ['a key of another kind', entry('a', 'rsa.pem'), 'expected an Ed25519 public key'],
  ['a key others can write', entry('a', 'open.pem'), 'can be written by others'],
  ['a link', entry('a', 'link.pem'), 'symbolic link'],
  ['a file that is not there', entry('a', 'none.pem'), 'no such file'],
  ['a day without a time', entry('a', 'a.pem', 'not_after: 2027-01-31, '), 'expected a time'],
])('at start %s is config_invalid, with its place', async (_name, entries, message) => {
  const text = pem();
  write('a.pem', text);
  write('copy.pem', text);
  write('other.pem', pem());
  write('open.pem', pem(), 0o666);
  symlinkSync('a.pem', join(dir, 'link.pem'));
  const { privateKey } = generateKeyPairSync('ed25519');
  write('private.pem', privateKey.export({ type: 'pkcs8', format: 'pem' }).toString());
  const rsa = generateKeyPairSync('rsa', { modulusLength: 1024 }).publicKey;
  write('rsa.pem', rsa.export({ type: 'spki', format: 'pem' }).toString());
  const error: unknown = await load(entries)
    .then(loadSigners, (reason: unknown) => reason)
    .catch((reason: unknown) => reason);
  expect(error).toBeInstanceOf(ReconcilerError);
  expect(String(error)).toContain('config_invalid');
  expect(String(error)).toContain('config.yaml:2');
  expect(String(error)).toContain(message);
});

const reload = (): Promise<Config> => loadConfig(join(dir, 'config.yaml'));

describe('read again', () => {
  let ring: ReloadableSigners;
  const keyids = (): string[] => ring.signers().map(({ keyid }) => keyid);

  beforeEach(async () => {
    write('a.pem', pem());
    write('b.pem', pem());
    const config = await load(entry('a', 'a.pem') + entry('b', 'b.pem'));
    ring = new ReloadableSigners(config, await loadSigners(config));
  });

  test('a key taken out of config.yaml is out of force', async () => {
    await load(entry('b', 'b.pem'));
    expect(await ring.reload(reload)).toEqual([]);
    expect(keyids()).toEqual(['b']);
  });

  test('a key whose file is gone is out of force, and it is said', async () => {
    rmSync(join(dir, 'a.pem'));
    const problems = await ring.reload(reload);
    expect(problems.map(String).join()).toContain('a.pem: cannot be read: no such file');
    expect(keyids()).toEqual(['b']);
    expect(ring.problems()).toEqual(problems);
  });

  test('with config.yaml broken a key whose file is gone is out of force all the same', async () => {
    write('config.yaml', 'signers: [');
    rmSync(join(dir, 'b.pem'));
    expect(await ring.reload(reload)).toHaveLength(2);
    expect(keyids()).toEqual(['a']);
  });

  test('of two that have become the same key neither is in force', async () => {
    const text = pem();
    write('a.pem', text);
    write('b.pem', text);
    expect(await ring.reload(reload)).toHaveLength(2);
    expect(keyids()).toEqual([]);
  });

  test('a key exchanged under its keyid is the new one', async () => {
    const before = ring.signers().map(({ keySha256 }) => keySha256);
    write('a.pem', pem());
    expect(await ring.reload(reload)).toEqual([]);
    const now = ring.signers().map(({ keySha256 }) => keySha256);
    expect(now[0]).not.toBe(before[0]);
    expect(now[1]).toBe(before[1]);
  });

  test('one after the other: a slow reading of an older file puts no key back', async () => {
    const both = await reload();
    const slow = Promise.withResolvers<Config>();
    const first = ring.reload(() => slow.promise);
    const onlyA = await load(entry('a', 'a.pem'));
    const second = ring.reload(async () => onlyA);
    slow.resolve(both);
    await Promise.all([first, second]);
    expect(keyids()).toEqual(['a']);
    const broken = ring.reload(() => Promise.reject(new TypeError('broken')));
    const next = ring.reload(async () => both);
    await expect(broken).rejects.toThrow('broken');
    await next;
    expect(keyids()).toEqual(['a', 'b']);
  });
});
