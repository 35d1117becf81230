/**
 * The commands from outside: exit statuses, stdout and stderr, over HTTPS. They run in this process,
 * but where what the process makes of them is the point.
 */
import { spawn } from 'node:child_process';
import { closeSync, mkdirSync, openSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { type Simulator, startSimulator } from '../../simulator/start.ts';
import {
  type Daemon,
  type Host,
  makeHost,
  programFile,
  runProgram,
  startDaemon,
} from '../program.ts';
import { runHere } from '../run-here.ts';

let node: Simulator;
let host: Host;
beforeAll(async () => {
  node = await startSimulator({ guests: 12, speed: 20 });
});
afterAll(() => node.stop());
beforeEach(async () => {
  host = makeHost(node);
  await node.resetRequests();
});
afterEach(() => host.remove());

const WANTED = {
  version: 1,
  guests: {
    100: { power: 'running', config: { tags: ['prod', 'web'], description: 'front\n' } },
    102: { power: 'running', config: { cores: 2 } },
    203: { kind: 'lxc', power: 'running' },
  },
};

/** Requests that change something, without the node's name and the task ids. */
async function writes(): Promise<string[]> {
  const seen = await node.requests();
  return seen
    .filter(({ method }) => method !== 'GET')
    .map(({ method, path }) => `${method} ${path.replace(`/nodes/${node.node}`, '')}`);
}

test('plan shows, agent --once closes, plan is empty, and the journal tells it all', async () => {
  host.write('desired.yaml', WANTED);
  const before = await runProgram('plan', '--config', host.configFile);
  expect(before.exit).toBe(2);
  expect(before.out).toMatch(/~ cores {2}3 → 2\n/);
  expect(before.out).toMatch(/3 guests: 3 differ; to do: 2 start, 2 set_config\n$/);
  expect(await writes()).toEqual([]);

  const once = await runHere('--config', host.configFile, 'agent', '--once', '--json');
  expect(once).toMatchObject({ exit: 0 });
  expect(once.err).toMatch(/^succeeded +102 mail-3 +start \(\d\.\d\d s\): PVE: OK; seen running$/m);
  expect(JSON.parse(once.out)).toMatchObject({
    summary: { guests: 3, status: { in_sync: 3, drift: 0 } },
  });
  expect((await writes()).toSorted()).toEqual([
    'POST /lxc/203/status/start',
    'POST /qemu/100/config',
    'POST /qemu/102/config',
    'POST /qemu/102/status/start',
  ]);

  const list = await runHere('ops', 'list', '--json', '--config', host.configFile);
  const { ops } = JSON.parse(list.out) as { ops: { op_id: string; kind: string }[] };
  expect(ops.map(({ kind }) => kind).toSorted()).toEqual([
    'set_config',
    'set_config',
    'start',
    'start',
  ]);
  const id = ops.find(({ kind }) => kind === 'start')?.op_id ?? '';
  const story = await runHere('ops', 'show', id.slice(0, 12), '--config', host.configFile);
  expect(story.out).toMatch(/^ .*started +guest was stopped$/m);
  expect(story.out).toMatch(/^ .*\+\d\.\d\d s {2}succeeded +PVE: OK; seen running$/m);
  const verified = await runHere('journal', 'verify', '--config', host.configFile);
  expect(verified).toMatchObject({ exit: 0, out: expect.stringMatching(/^sound: \d+ records/) });
  const after = await runHere('plan', '--config', host.configFile);
  expect(after).toMatchObject({ exit: 0, err: '' });
  const status = await runHere('status', '100', '--json', '--config', host.configFile);
  expect(JSON.parse(status.out)).toMatchObject({
    guests: [{ vmid: 100, status: 'in_sync', phase: 'steady', last_op: { state: 'succeeded' } }],
  });
});

test('apply closes what the refs name and nothing else', async () => {
  host.write('desired.yaml', {
    version: 1,
    guests: { 101: { config: { cores: 4, onboot: false } }, 107: { config: { onboot: false } } },
  });
  const applied = await runHere('apply', 'metr', '--config', host.configFile);
  expect(applied.exit).toBe(0);
  expect(await writes()).toEqual(['POST /qemu/107/config']);
});

test('an op that failed is an error line with its id, of apply and of agent --once', async () => {
  host.write('desired.yaml', { version: 1, guests: { 104: { power: 'running' } } });
  await node.control('PATCH', '/guests/104', { running: false, start_error: 'boom happened' });
  for (const command of [
    ['apply', '--yes'],
    ['agent', '--once'],
  ]) {
    const { exit, err } = await runHere(...command, '--config', host.configure({}));
    expect({ command, exit }).toEqual({ command, exit: 1 });
    const [op] =
      err.match(/(?<=^error \[task_failed\] start of 104: boom happened \(op_id )\w+/m) ?? [];
    expect(err).toContain(`\nhint: \`pve-reconciler ops show ${op}\` has`);
    const { out } = await runHere('ops', 'show', op ?? '', '--config', host.configFile);
    expect(out).toContain('boom happened');
    expect(out).not.toContain('next:');
  }
  await node.control('PATCH', '/guests/104', { start_error: null });
});

describe('bad input: one error with its code, a hint, its exit status, and nothing changed', () => {
  const bad: readonly [string, () => string[], number, RegExp][] = [
    [
      'an unknown configuration key',
      () => ['plan', '--config', host.configure({ nods: 1 })],
      78,
      /^error \[config_invalid\] .*config-2\.yaml:\d+:1 nods: unknown key: expected one of agent, node, .*$/m,
    ],
    [
      'a token file others can read',
      () => {
        const token_file = host.write('token', node.token('agent'), 0o644);
        return ['plan', '--config', host.configure({ proxmox: { token_file } })];
      },
      78,
      /^error \[config_invalid\] .*config-2\.yaml:\d+:\d+ proxmox\.token_file: .*can be read by others/m,
    ],
    [
      'an untrusted certificate',
      () => {
        const fingerprint = Array.from({ length: 32 }, () => 'AB').join(':');
        const { ca_file: _, ...rest } = {
          ca_file: '',
          url: node.url,
          token_file: node.tokenFile('agent'),
        };
        const file = host.write('pinned.yaml', {
          node: node.node,
          proxmox: { ...rest, fingerprint },
          state_dir: 'state',
        });
        return ['agent', '--once', '--config', file];
      },
      69,
      /^error \[tls_untrusted\] /m,
    ],
    [
      'a certificate that no CA of the system has signed',
      () => {
        const proxmox = { url: node.url, token_file: node.tokenFile('agent'), ca_file: 'system' };
        return ['plan', '--config', host.configure({ proxmox })];
      },
      69,
      /^error \[tls_untrusted\] .*certificate \[GET .*\]\nhint: .*`ca_file: system` does not know/m,
    ],
    [
      "a node name that is not PVE's",
      () => {
        host.write('desired.yaml', WANTED);
        return ['plan', '--config', host.configure({ node: 'pve9' })];
      },
      1,
      /^error \[not_found\] .*hostname lookup.*\nhint: is `node: pve9` .*pvesh get \/nodes/m,
    ],
    [
      'an unreachable node',
      () => [
        'agent',
        '--once',
        '--config',
        host.configure({ proxmox: { url: 'https://127.0.0.1:1' } }),
      ],
      69,
      /^error \[service_unavailable\] https:\/\/127\.0\.0\.1:1: /m,
    ],
    [
      'a token PVE refuses',
      () => {
        const token_file = host.write(
          'token',
          'agent@pve!agent=00000000-0000-0000-0000-000000000000',
        );
        return ['agent', '--once', '--config', host.configure({ proxmox: { token_file } })];
      },
      77,
      /^error \[unauthorized\] /m,
    ],
    [
      'a desired file that is half valid',
      () => {
        host.write(
          'desired.yaml',
          'version: 1\nguests:\n  100: { power: stopped }\n  102: { power: runing }\n',
        );
        return ['agent', '--once', '--config', host.configFile];
      },
      1,
      /^error \[desired_invalid\] .*desired\.yaml:4:17 guests\.102\.power: expected one of/m,
    ],
    [
      'a desired file that is not there',
      () => ['plan', '--config', host.configFile],
      1,
      /^error \[desired_invalid\] .*desired\.yaml: cannot be read: no such file$/m,
    ],
    [
      'a desired file that validate is asked about',
      () => ['validate', host.write('d.yaml', 'version: 2\nguests: {}\n')],
      65,
      /^error \[desired_invalid\] .*d\.yaml:1:10 version: expected 1, found 2$/m,
    ],
    [
      'a ref that names nothing',
      () => {
        host.write('desired.yaml', WANTED);
        return ['plan', 'nobody', '--config', host.configFile];
      },
      1,
      /^error \[not_found\] no guest is called "nobody"$/m,
    ],
    [
      'a ref that could be several',
      () => {
        host.write('desired.yaml', WANTED);
        return ['plan', 'ct-', '--config', host.configFile];
      },
      64,
      /^error \[ambiguous_ref\] "ct-" could be 200 \(ct-cache-1\), 201/m,
    ],
    [
      'a number that is too large',
      () => ['ops', 'list', '--limit', '99999999', '--config', host.configFile],
      64,
      /^error \[invalid_request\] --limit: expected a number from 1 to 9999999\nhint: see `pve-reconciler ops list --help`$/m,
    ],
    [
      'an argument that is missing',
      () => ['--config', host.configFile, 'guest', 'start'],
      64,
      /^error \[invalid_request\] missing .*\nhint: see `pve-reconciler guest start --help`$/m,
    ],
    [
      'no name of a configuration',
      () => ['plan', '--config', ''],
      64,
      /^error \[invalid_request\] .*--config.* expected a file\nhint: see `pve-reconciler plan --help`$/m,
    ],
    ['an unknown command', () => ['pln'], 64, /^error \[invalid_request\] unknown command 'pln'$/m],
    [
      'an op nobody knows',
      () => ['ops', 'show', 'zzz', '--config', host.configFile],
      1,
      /^error \[not_found\] no op has the id zzz$/m,
    ],
  ];
  test.each(bad)('%s', async (_name, make, exit, message) => {
    const ended = await runHere(...make());
    expect(ended.err).toMatch(message);
    expect(ended.err).toMatch(/^hint: .+$/m);
    expect(ended.exit).toBe(exit);
    expect(await writes()).toEqual([]);
  });
});

test.each([
  [500, 'boom'],
  [596, 'Connection timed out'],
])('a node that answers every look with %s is one that cannot be seen', async (status, reason) => {
  host.write('desired.yaml', WANTED);
  await node.addFault({ kind: 'error', status, reason, path: '.*', count: 0 });
  for (const command of [['plan'], ['agent', '--once'], ['status']]) {
    const { exit, err } = await runHere(...command, '--config', host.configFile);
    expect({ command, exit }).toEqual({ command, exit: 69 });
    expect(err).toMatch(/^error \[service_unavailable\] https:.*\nhint: check `proxmox\.url`/m);
  }
  await node.control('DELETE', '/faults');
});

test('no journal yet is an empty list', async () => {
  const list = await runHere('ops', 'list', '--json', '--config', host.configFile);
  expect(list).toEqual({ exit: 0, out: '{"ops":[]}\n', err: '' });
  expect(await runHere('journal', 'verify', '--config', host.configFile)).toMatchObject({
    exit: 0,
  });
});

test.each(['state', 'state/journal'])('a file in the place of the folder %s', async (name) => {
  if (name !== 'state') mkdirSync(join(host.dir, 'state'), { mode: 0o700 });
  const file = host.write(name, '');
  for (const command of ['ops list', 'journal verify', 'plan']) {
    const ended = await runHere(...command.split(' '), '--config', host.configFile);
    expect({ command, ...ended }).toEqual({
      command,
      exit: 78,
      out: '',
      err: `error [config_invalid] ${file} is not a folder\nhint: Move it out of the way.\n`,
    });
  }
});

test('a reader that goes away ends the output, not the program', async () => {
  const child = spawn(process.execPath, [programFile(), 'schema'], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  child.stdout.destroy();
  let err = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => (err += text));
  const exit = await new Promise((resolve) => child.once('close', resolve));
  expect({ exit, err }).toEqual({ exit: 0, err: '' });
});

test('a disk that is full fails a command that had nothing else to fail on', async () => {
  const full = openSync('/dev/full', 'w');
  const child = spawn(process.execPath, [programFile(), 'schema'], {
    stdio: ['ignore', full, 'pipe'],
  });
  closeSync(full);
  let err = '';
  child.stderr?.setEncoding('utf8').on('data', (text: string) => (err += text));
  const exit = await new Promise((resolve) => child.once('close', resolve));
  expect(err).toMatch(/^error \[interrupted\] the output cannot be written: ENOSPC.*\nhint: .*\n$/);
  expect(exit).toBe(1);
});

describe('the daemon', () => {
  let daemon: Daemon | null = null;
  afterEach(async () => {
    await daemon?.end('SIGKILL');
    daemon = null;
  });

  test('closes drift as it comes, holds the journal, and ends on SIGTERM with 0', async () => {
    host.write('desired.yaml', { version: 1, guests: { 103: { power: 'running' } } });
    daemon = startDaemon(host.configFile);
    await daemon.saw(/1 guest is in sync/);
    const second = await runHere('agent', '--once', '--config', host.configFile);
    expect(second.exit).toBe(75);
    expect(second.err).toMatch(new RegExp(`^error \\[journal_locked\\] .*${daemon.pid}`));
    await node.control('PATCH', '/guests/103', { running: false });
    await daemon.saw(/"vmid":103.*start succeeded/);
    host.write('desired.yaml', 'version: 1\nguests: [');
    await daemon.saw(/"code":"desired_invalid".*desired\.yaml/);
    expect(await daemon.end('SIGTERM')).toBe(0);
  });

  test('ends in order on SIGTERM while the node does not answer', async () => {
    host.write('desired.yaml', WANTED);
    await node.addFault({ kind: 'hang', count: 0 });
    daemon = startDaemon(host.configFile);
    await daemon.saw(/agent is up/);
    await expect.poll(async () => (await node.requests()).length).toBeGreaterThan(0);
    const status = await runHere('status', '--config', host.configFile);
    expect(status).toMatchObject({ exit: 69, out: '' });
    expect(status.err).toMatch(
      /^error \[service_unavailable\] the node has not been looked at yet$/m,
    );
    // The request that hangs is let go of: its own limit is the test's.
    expect(await daemon.end('SIGTERM')).toBe(0);
    await daemon.saw(/agent has stopped/);
    await node.control('DELETE', '/faults');
  });

  test('killed in the middle, the next start ends in sync and sends nothing twice', async () => {
    mkdirSync(join(host.dir, 'd'));
    for (const vmid of [100, 101, 103, 104, 200, 201]) {
      await node.control('PATCH', `/guests/${vmid}`, { running: false });
      host.write(`d/${vmid}.yaml`, { version: 1, guests: { [vmid]: { power: 'running' } } });
    }
    const file = host.configure({ desired: [{ file: 'd' }] });
    daemon = startDaemon(file);
    await daemon.saw(/start task_running/);
    await daemon.end('SIGKILL');
    daemon = startDaemon(file);
    await daemon.saw(/all 6 guests are in sync/);
    expect(await daemon.end('SIGTERM')).toBe(0);
    const sent = await writes();
    expect(sent.toSorted()).toEqual([...new Set(sent)].toSorted());
    expect(sent).toHaveLength(6);
    const verified = await runHere('journal', 'verify', '--config', file);
    expect(verified.exit).toBe(0);
  });
});
