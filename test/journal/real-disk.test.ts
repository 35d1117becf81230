/**
 * What only a real kernel can show: a file system that is full, one that is read-only, and the
 * calls the writer makes, in their order.
 */
import { type SpawnSyncReturns, spawnSync } from 'node:child_process';
import * as fs from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { openReader } from '../../src/journal/reader.ts';
import { verifyJournal } from '../../src/journal/verify.ts';
import { programFile } from '../agent/program.ts';
import { bundleScript } from '../support/bundle.ts';
import { openOnDisk } from '../support/journal-on-disk.ts';
import { opStory } from '../support/journal-script.ts';

const scripts = fs.mkdtempSync(join(tmpdir(), 'journal-real-'));
let script = '';
let root = '';

beforeAll(async () => {
  script = await bundleScript(join(import.meta.dirname, '../support/journal-writer.ts'), scripts);
});
afterAll(() => fs.rmSync(scripts, { recursive: true }));
beforeEach(() => {
  root = fs.mkdtempSync(join(tmpdir(), 'journal-disk-'));
});
afterEach(() => fs.rmSync(root, { recursive: true }));

/** `SEQ SUM` of each record that a writer said was durable. */
function confirmedIn(text: string): string[] {
  return text.split('\n').filter((line) => / [0-9a-f]{32}$/.test(line));
}

/** In a namespace of its own, where anybody may mount: gone with the shell. */
function runMounted(commands: string, ...args: string[]): SpawnSyncReturns<string> {
  const shell = [
    '--user',
    '--map-root-user',
    '--mount',
    'bash',
    '--norc',
    '-euc',
    commands,
    'bash',
  ];
  return spawnSync('unshare', [...shell, ...args], { encoding: 'utf8' });
}

const mounts = runMounted('mount -t tmpfs none /mnt').status === 0;

describe.skipIf(!mounts)(
  'a tmpfs of 160 KiB (skipped where the kernel gives none to users)',
  () => {
    test('that is full halts the writer; what it confirmed is there when room is made', async () => {
      const commands = `
      node=$1 script=$2 root=$3
      mkdir $root/disk
      mount -t tmpfs -o size=160k none $root/disk
      "$node" "$script" $root/disk/state 2000 4096 > $root/said || echo "exit $?"
      mount -o remount,size=4m $root/disk
      cp -a $root/disk/state $root/state`;
      const { stdout, stderr } = runMounted(commands, process.execPath, script, root);
      expect(`${stdout}${stderr}`).toBe('exit 70\n');
      const said = fs.readFileSync(join(root, 'said'), 'utf8');
      expect(said.trimEnd().split('\n').at(-1)).toBe('error journal_poisoned halt');

      const stateDir = join(root, 'state');
      const journal = await openOnDisk(stateDir);
      expect(journal.report.takenFrom).not.toBeNull();
      for (const record of opStory(1)) await journal.ledger.append(record);
      await journal.close();
      const confirmed = confirmedIn(said);
      const text = readSegments(stateDir);
      expect(confirmed.filter((line) => !text.includes(`"sum":"${line.split(' ')[1]}"`))).toEqual(
        [],
      );
      expect(confirmed.length).toBeGreaterThan(100);
      expect((await verifyJournal(openReader(stateDir))).problems).toEqual([]);
    });

    test('that is read-only is refused to a writer, and read by those who only look', async () => {
      const stateDir = join(root, 'state');
      const journal = await openOnDisk(stateDir);
      for (const record of opStory(1)) await journal.ledger.append(record);
      await journal.close();
      fs.writeFileSync(join(root, 'config.yaml'), `node: pve1\nstate_dir: ${root}/disk/state\n`);
      const commands = `
      node=$1 script=$2 program=$3 root=$4
      mkdir $root/disk
      mount -t tmpfs -o size=160k none $root/disk
      cp -a $root/state $root/disk/state
      mount -o remount,ro $root/disk
      "$node" "$script" $root/disk/state || echo "exit $?"
      "$node" "$program" journal verify --config $root/config.yaml
      "$node" "$program" ops list --config $root/config.yaml --json`;
      const args = [process.execPath, script, programFile(), root];
      const { stdout, stderr } = runMounted(commands, ...args);
      const [refused, exit, ...read] = stdout.trimEnd().split('\n');
      expect({ refused, exit, stderr }).toEqual({
        refused: 'error config_invalid reject',
        exit: 'exit 70',
        stderr: '',
      });
      expect(read[0]).toMatch(/4 records/);
      expect(JSON.parse(read.slice(1).join('\n'))).toMatchObject({ ops: [{ state: 'succeeded' }] });
    });
  },
);

/** Takes the lock, may write nothing from then on, and says that the disk failed it. */
const POISONED_ON_FULL_DISK = `
  import { spawnSync } from 'node:child_process';
  const [lockModule, stateDir] = process.argv.slice(1);
  const { acquireLock } = await import(lockModule);
  const clock = { now: () => Date.now(), monotonicMs: () => performance.now() };
  const lock = await acquireLock({ stateDir, clock, onLost: () => undefined });
  process.on('SIGXFSZ', () => undefined);
  const { status } = spawnSync('prlimit', ['--pid', String(process.pid), '--fsize=0']);
  lock.markPoisoned();
  console.log(process.pid, status);
`;

const limits = spawnSync('prlimit', ['--version']).status === 0;

test.skipIf(!limits)(
  'a disk that does not take the mark of its failure still names the owner',
  () => {
    const lockModule = join(import.meta.dirname, '../../src/journal/lock.ts');
    const args = ['--input-type=module', '-e', POISONED_ON_FULL_DISK, lockModule, root];
    const { stdout } = spawnSync(process.execPath, args, { encoding: 'utf8' });
    const { pid, poisoned } = JSON.parse(
      fs.readFileSync(join(root, 'journal.owner.json'), 'utf8') || '{}',
    );
    expect({ said: stdout, poisoned }).toEqual({ said: `${pid} 0\n`, poisoned: undefined });
  },
);

function readSegments(stateDir: string): string {
  const folder = join(stateDir, 'journal');
  const names = fs.readdirSync(folder).filter((name) => name.endsWith('.jsonl'));
  return names.map((name) => fs.readFileSync(join(folder, name), 'utf8')).join('');
}

const traces = spawnSync('strace', ['-o', '/dev/null', 'true']).status === 0;

describe.skipIf(!traces)('under strace (skipped where there is none, or it may not trace)', () => {
  test('every record is synced, with the write before it, before it is confirmed', () => {
    const trace = join(root, 'trace');
    const options = ['-f', '--seccomp-bpf', '-s', '100000', '-e', 'trace=write,fsync,fdatasync'];
    const stateDir = join(root, 'state');
    // A file at its limit ends the writer, after some segments.
    const command = `ulimit -f 40; exec "$0" "$@"`;
    const node = [
      'bash',
      '--norc',
      '-c',
      command,
      process.execPath,
      script,
      stateDir,
      '2000',
      '65536',
    ];
    spawnSync('strace', ['-o', trace, ...options, ...node]);
    const { confirmed, early } = readTrace(fs.readFileSync(trace, 'utf8'));
    expect(early).toEqual([]);
    expect(confirmed).toBeGreaterThan(50);
  });
});

/** What was confirmed before the sync behind its write had returned; calls in the order they were made. */
function readTrace(trace: string): { readonly confirmed: number; readonly early: string[] } {
  const written = new Map<string, Set<string>>();
  const synced = new Set<string>();
  /** By thread: what the sync that runs there will have made durable. */
  const running = new Map<string, string[]>();
  const early: string[] = [];
  let confirmed = 0;
  for (const line of trace.split('\n')) {
    const [, thread = '', call = '', fd = ''] = /^(\d+) +(\w+)\((\d+)/.exec(line) ?? [];
    const said = /^\d+ +write\(1, "\d+ ([0-9a-f]{32})\\n"/.exec(line)?.[1];
    if (said !== undefined) {
      confirmed += 1;
      if (!synced.has(said)) early.push(line);
    } else if (call === 'write') {
      const sums = written.get(fd) ?? new Set();
      for (const [, sum = ''] of line.matchAll(/\\"sum\\":\\"([0-9a-f]{32})\\"\}\\n/g))
        sums.add(sum);
      written.set(fd, sums);
    } else if (call === 'fsync' || call === 'fdatasync') {
      running.set(thread, [...(written.get(fd) ?? [])]);
    }
    if (!/(fsync|fdatasync).*\) += 0$/.test(line)) continue;
    const [owner = ''] = line.split(' ');
    for (const sum of running.get(owner) ?? []) synced.add(sum);
  }
  return { confirmed, early };
}
