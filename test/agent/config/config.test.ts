import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import {
  type Config,
  loadConfig,
  readTlsTrust,
  readToken,
} from '../../../src/agent/config/config.ts';
import { ReconcilerError } from '../../../src/reconcile/errors.ts';

let dir = '';
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'config-'));
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

function write(name: string, text: string, mode = 0o600): string {
  writeFileSync(join(dir, name), text, { mode });
  return join(dir, name);
}

function load(text: string): Promise<Config> {
  return loadConfig(write('config.yaml', text));
}

/** The error's code and text, with the temporary folder taken out. */
async function refusal(promise: Promise<unknown>): Promise<string> {
  const error: unknown = await promise.then(
    () => null,
    (reason: unknown) => reason,
  );
  if (!(error instanceof ReconcilerError)) return 'not refused';
  return error.message.replaceAll(`${dir}/`, '');
}

test('what is not said is as CONTRACT 3 shows it', async () => {
  const config = await load('node: pve7\n');
  expect(config).toMatchObject({
    agent: 'pve7',
    node: 'pve7',
    proxmox: {
      url: 'https://127.0.0.1:8006',
      tokenFile: '/etc/pve-reconciler/token',
      trust: { kind: 'ca_file', path: '/etc/pve/pve-root-ca.pem' },
      serverName: null,
    },
    stateDir: '/var/lib/pve-reconciler',
    journal: { segmentBytes: 16 * 1024 * 1024, keepSegments: 64, keepForMs: 90 * 86_400_000 },
    control: { socket: '/run/pve-reconciler/agent.sock', listen: null, public: null },
    desired: [],
    policy: {
      mode: 'enforce',
      unsigned: 'benign',
      operator: 'disruptive',
      irreversibleSignatures: 2,
      maxParallel: 4,
      intervalMs: 30_000,
      configIntervalMs: 300_000,
    },
    signers: [],
  });
});

test('relative paths are relative to the configuration', async () => {
  const config = await load('proxmox: { token_file: token }\ndesired: [{ file: desired.d }]\n');
  expect(config.proxmox.tokenFile).toBe(join(dir, 'token'));
  expect(config.desired).toEqual([join(dir, 'desired.d')]);
});

describe('every error names file, line, column, path and what was expected', () => {
  test.each([
    [
      'control: { listen: "127.0.0.1:9464", public: "0.0.0.0:9464" }',
      'config.yaml:1:46 control.public: expected another port than that of control.listen',
    ],
    [
      'nodes: pve1',
      'config.yaml:1:1 nodes: unknown key: expected one of agent, node, proxmox, state_dir, journal, control, desired, reconcile, policy, signers, hub, look',
    ],
    [
      'reconcile: { intervall: 30s }',
      'config.yaml:1:14 reconcile.intervall: unknown key: expected one of mode, interval, config_interval, max_parallel',
    ],
    [
      'reconcile:\n  interval: 30\n',
      'config.yaml:2:13 reconcile.interval: expected a duration like 500ms, 30s, 5m, 1h or 90d, found a number',
    ],
    [
      'journal: { segment_bytes: 16 }',
      'config.yaml:1:27 journal.segment_bytes: expected a size like 4KiB or 16MiB, found a number',
    ],
    [
      'reconcile:\n  interval: 30 s\n',
      'config.yaml:2:13 reconcile.interval: expected a duration like 500ms, 30s, 5m, 1h or 90d',
    ],
    [
      'reconcile: { interval: 0s }',
      'config.yaml:1:24 reconcile.interval: expected between 1s and 24h',
    ],
    [
      'journal: { segment_bytes: 16MB }',
      'config.yaml:1:27 journal.segment_bytes: expected a size like 4KiB or 16MiB',
    ],
    [
      'proxmox: { url: "http://pve1:8006" }',
      'config.yaml:1:17 proxmox.url: expected https://HOST:PORT and nothing more',
    ],
    [
      'proxmox: { url: "${PVE_URL}" }',
      'config.yaml:1:17 proxmox.url: expected https://HOST:PORT and nothing more',
    ],
    [
      'proxmox: { verify_tls: false }',
      'config.yaml:1:12 proxmox.verify_tls: unknown key: expected one of url, token_file, ca_file, fingerprint, server_name',
    ],
    [
      'control: { listen: 0.0.0.0:9000 }',
      'config.yaml:1:20 control.listen: expected an address of the loopback: 127.0.0.1:PORT',
    ],
    [
      'control: { public: 9000 }',
      'config.yaml:1:20 control.public: expected HOST:PORT, found a number',
    ],
    [
      'policy: { unsigned: irreversible }',
      'config.yaml:1:21 policy.unsigned: expected one of none, benign, disruptive, found "irreversible"',
    ],
    [
      'signers:\n  - { keyid: a, public_key_file: k, allow: { kinds: [start], vmids: 101 } }',
      'config.yaml:2:69 signers[0].allow.vmids: expected vmids like "100-199,300", found a number',
    ],
    [
      'signers:\n  - { keyid: a, public_key_file: k, allow: { kinds: [start], vmids: "1-5" } }',
      'config.yaml:2:69 signers[0].allow.vmids: expected vmids like "100-199,300"',
    ],
    [
      'hub: { url: "http://hub.example", ca_file: system }',
      'config.yaml:1:13 hub.url: expected https://HOST[:PORT][/PATH] and nothing more',
    ],
    [
      'hub: { url: "https://hub.example" }',
      'config.yaml:1:6 hub: expected either ca_file (or `ca_file: system`) or fingerprint',
    ],
    ['node: pve1\nnode: pve2\n', 'config.yaml:2:1 node: the key stands here twice'],
  ])('%s', async (text, message) => {
    expect(await refusal(load(text))).toBe(`config_invalid: ${message}`);
  });

  test('a file that is not there', async () => {
    expect(await refusal(loadConfig(join(dir, 'none.yaml')))).toBe(
      'config_invalid: none.yaml: cannot be read: no such file',
    );
  });

  test('a CA and a pinned certificate exclude each other', async () => {
    const fingerprint = Array.from({ length: 32 }, () => 'ab').join(':');
    const text = `proxmox: { ca_file: system, fingerprint: "${fingerprint}" }`;
    expect(await refusal(load(text))).toContain('expected ca_file or fingerprint, found both');
    const pinned = await load(`proxmox: { fingerprint: "${fingerprint}" }`);
    expect(await readTlsTrust(pinned)).toMatchObject({
      kind: 'fingerprint',
      fingerprint: fingerprint.toUpperCase(),
    });
  });
});

test.each([
  ['nothing', ''],
  ['something else', 'agent@pve!agent=5ecre7'],
  ['a broken one', '-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n'],
])('a CA file with %s in place of a certificate is named', async (_name, content) => {
  write('ca.pem', content);
  const refused = await refusal(
    load('proxmox: { ca_file: ca.pem }').then((it) => readTlsTrust(it)),
  );
  expect(refused).toBe(
    'config_invalid: config.yaml:1:21 proxmox.ca_file: ca.pem: no CA certificate that can be read',
  );
});

describe('the token', () => {
  const text = 'proxmox:\n  token_file: token\n';

  test('is read, and never printed', async () => {
    write('token', 'agent@pve!agent=5ecre7\n');
    const token = await readToken(await load(text));
    expect(token.user).toBe('agent@pve!agent');
    expect(JSON.stringify({ token })).not.toContain('5ecre7');
  });

  test('is refused where others can read it, naming the file and its place', async () => {
    write('token', 'agent@pve!agent=5ecre7\n', 0o644);
    expect(await refusal(load(text).then(readToken))).toBe(
      'config_invalid: config.yaml:2:15 proxmox.token_file: token: can be read by others (mode 0644)',
    );
  });

  test('is refused without repeating what stands there', async () => {
    write('token', '5ecre7\n');
    const message = await refusal(load(text).then(readToken));
    expect(message).toContain('USER@REALM!TOKENID=SECRET');
    expect(message).not.toContain('5ecre7');
  });
});
