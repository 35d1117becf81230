/** Keys, signatures and `push` as people use them: the built program and its files. */
import { readFileSync, statSync } from 'node:fs';
import { basename, join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { type Simulator, startSimulator } from '../../simulator/start.ts';
import { type Daemon, type Host, makeHost, startDaemon } from '../program.ts';
import { runHere } from '../run-here.ts';

const EVERYTHING = { kinds: ['start', 'stop', 'restart', 'set_config'], vmids: '100-199' };

let node: Simulator;
let host: Host;
let daemon: Daemon | null = null;

beforeAll(async () => {
  const guests = [101, 102].map((vmid) => ({
    vmid,
    kind: 'qemu' as const,
    config: { cores: '1' },
  }));
  node = await startSimulator({ speed: 20, world: { guests } });
});
afterAll(() => node.stop());
beforeEach(async () => {
  host = makeHost(node);
  host.write('desired.yaml', { version: 1, guests: {} });
  for (const keyid of ['hub-1', 'hub-2', 'stranger']) {
    await runHere('keys', 'generate', keyid, '--out', host.dir);
  }
});
afterEach(async () => {
  await daemon?.end('SIGTERM');
  daemon = null;
  host.remove();
});

const at = (name: string): string => join(host.dir, name);
const signer = (keyid: string): object => {
  return { keyid, public_key_file: `${keyid}.pub.pem`, allow: EVERYTHING };
};

/** Starts the agent with these signers; config.yaml may be written again. */
async function startAgent(keyids: readonly string[], more: object = {}): Promise<string> {
  const config = host.configure({ agent: 'pve1', signers: keyids.map(signer), ...more });
  daemon = startDaemon(config);
  await daemon.saw(/agent is up/);
  return config;
}

/** Signs; the envelope's file. */
async function sign(name: string, ...args: string[]): Promise<string> {
  const signed = await runHere('sign', '--agent', 'pve1', ...args);
  expect(signed).toMatchObject({ exit: 0 });
  return host.write(name, signed.out);
}

const key = (keyid: string): string[] => ['--key', at(`${keyid}.key.pem`)];

test('keys are made once, the private one for its owner alone', async () => {
  expect(statSync(at('hub-1.key.pem')).mode & 0o777).toBe(0o600);
  expect(statSync(at('hub-1.pub.pem')).mode & 0o777).toBe(0o644);
  const again = await runHere('keys', 'generate', 'hub-1', '--out', host.dir);
  expect(again).toMatchObject({ exit: 64, err: expect.stringContaining('it exists already') });
  const json = await runHere('keys', 'generate', 'x', '--out', host.dir, '--json');
  expect(JSON.parse(json.out)).toMatchObject({
    keyid: 'x',
    key_sha256: expect.stringMatching(/^[0-9a-f]{64}$/),
  });
});

test('push delivers once, however often, and waits for the end', async () => {
  const config = await startAgent(['hub-1']);
  const op = await sign('op.json', 'start', '101', ...key('hub-1'));
  const shown = await runHere('keys', 'show', '--config', config);
  const proof = ['--agent-key', host.write('agent.pub.pem', shown.out)];
  const first = await runHere('push', op, '--wait', ...proof, '--json', '--config', config);
  expect(first).toMatchObject({ exit: 0 });
  expect(JSON.parse(first.out)).toMatchObject({ kind: 'start', state: 'succeeded', vmid: 101 });
  const again = await runHere('push', op, '--wait', '--json', '--config', config);
  expect(JSON.parse(again.out)).toEqual(JSON.parse(first.out));
  const unmet = await sign('2.json', 'stop', '101', ...key('hub-1'), '--if-power', 'stopped');
  const failed = await runHere('push', unmet, '--wait', '--config', config);
  expect(failed).toMatchObject({ exit: 1, err: expect.stringMatching(/^error \[conflict\] /m) });
});

test('what cannot be undone takes a second signature, put on afterwards', async () => {
  const config = await startAgent(['hub-1', 'hub-2']);
  const params = ['--params', '{"set":{"scsi1":"local:4"}}'];
  const one = await sign('one.json', 'set_config', '102', ...params, ...key('hub-1'));
  const denied = await runHere('push', one, '--config', config);
  expect(denied).toMatchObject({
    exit: 77,
    err: expect.stringMatching(/gate_denied.*2 signatures/),
  });
  const twice = await runHere('sign', '--add', one, ...key('hub-1'));
  expect(twice.err).toContain('"vmid":102');
  const stillOne = await runHere('push', host.write('twice.json', twice.out), '--config', config);
  expect(stillOne.err).toContain('gate_denied');
  const both = host.write('both.json', (await runHere('sign', '--add', one, ...key('hub-2'))).out);
  const pushed = await runHere('push', both, '--config', config);
  expect(pushed).toMatchObject({ exit: 0, out: expect.stringMatching(/received\n$/) });
});

test('a key taken out of config.yaml is refused from the next SIGHUP on', async () => {
  const config = await startAgent(['hub-1', 'hub-2']);
  const op = await sign('op.json', 'start', '102', ...key('hub-2'));
  const { signers, ...rest } = parse(readFileSync(config, 'utf8'));
  host.write(basename(config), { ...rest, signers: signers.slice(0, 1) });
  process.kill(daemon?.pid ?? 0, 'SIGHUP');
  await daemon?.saw(/signers are read again/);
  const refused = await runHere('push', op, '--config', config);
  expect(refused).toMatchObject({ exit: 77, err: expect.stringContaining('signature_invalid') });
});

test('what a SIGHUP does not take is named', async () => {
  const config = await startAgent(['hub-1', 'hub-2']);
  const { signers, proxmox, ...rest } = parse(readFileSync(config, 'utf8'));
  host.write(basename(config), {
    ...rest,
    signers: signers.slice(0, 1),
    proxmox: { ...proxmox, server_name: 'pve1.example.com' },
    policy: { operator: 'benign' },
    hub: { url: 'https://127.0.0.1:1', ca_file: 'system' },
  });
  process.kill(daemon?.pid ?? 0, 'SIGHUP');
  await daemon?.saw(/again: proxmox\.server_name, policy\.operator, hub"/);
});

describe('is refused before anything is sent', () => {
  test.each<[string, () => string[], number, string]>([
    ['no key', () => ['sign', 'start', '101', '--agent', 'pve1'], 64, '--key'],
    ['no agent', () => ['sign', 'start', '101', ...key('hub-1')], 64, '--agent'],
    [
      'a kind that is none',
      () => ['sign', 'destroy', '101', '--agent', 'a', ...key('hub-1')],
      64,
      'KIND: expected one of start, stop, restart, set_config, found "destroy"',
    ],
    [
      'a vmid that is none',
      () => ['sign', 'start', 'web', '--agent', 'a', ...key('hub-1')],
      64,
      'VMID: expected a vmid, found "web"',
    ],
    [
      'a lifetime over a day',
      () => ['sign', 'start', '101', '--agent', 'a', '--expires', '25h', ...key('hub-1')],
      64,
      '--expires',
    ],
    [
      'params that do not fit',
      () => ['sign', 'stop', '101', '--agent', 'a', '--params', '{"now":1}', ...key('hub-1')],
      64,
      'now',
    ],
    [
      'a public key',
      () => ['sign', 'start', '101', '--agent', 'a', '--key', at('hub-1.pub.pem')],
      64,
      'hub-1.pub.pem: expected an Ed25519 private key in PEM',
    ],
    [
      'a key file that is not there',
      () => ['sign', 'start', '101', '--agent', 'a', '--key', at('nokey.pem')],
      64,
      'nokey.pem: cannot be read: no such file\nhint: `pve-reconciler keys generate`',
    ],
    [
      'a private key that others can read',
      () => {
        const file = host.write('open.key.pem', readFileSync(at('hub-1.key.pem'), 'utf8'), 0o644);
        return ['sign', 'start', '101', '--agent', 'a', '--key', file];
      },
      64,
      'can be read by others (mode 0644)\nhint: chmod 600',
    ],
    [
      'an envelope that is none',
      () => ['push', at('hub-1.pub.pem'), '--to', 'http://127.0.0.1:1'],
      64,
      '',
    ],
  ])('%s', async (_name, args, exit, words) => {
    const ended = await runHere(...args());
    expect(ended).toMatchObject({ exit, out: '' });
    expect(ended.err).toMatch(/^error \[\w+\] .+\nhint: /);
    expect(ended.err).toContain(words);
  });
});
