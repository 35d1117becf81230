/**
 * How long the built program takes to answer, as ratios to a bare `node -e 0` of the same runtime,
 * run in turns. Exits with 1 when a goal is missed.
 *
 *   node test/bench/cli.ts [--rounds 25] [--ops 100000]
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { programFile } from '../agent/program.ts';
import { setup, teardown } from '../support/built-program.ts';
import { openOnDisk } from '../support/journal-on-disk.ts';
import { opStory } from '../support/journal-script.ts';
import { readOptions } from '../support/script-options.ts';

const GOAL = 2.5;
/** Appended without waiting for each. */
const GROUP_OPS = 500;

const USAGE = 'node test/bench/cli.ts [--rounds N] [--ops N]';
const { count } = readOptions(USAGE, {
  rounds: { type: 'string', default: '25' },
  ops: { type: 'string', default: '100000' },
});
const opCount = count('ops');
const rounds = count('rounds');

const folder = mkdtempSync(join(tmpdir(), 'pve-reconciler-bench-'));
try {
  await setup();
  await writeJournal(join(folder, 'state'));
  const config = join(folder, 'config.yaml');
  writeFileSync(
    config,
    'node: pve1\nproxmox: { url: "https://127.0.0.1:1", token_file: none }\nstate_dir: state\n',
  );
  const program = programFile();
  const newest = ['ops', 'list', '--config', config];
  const commands: readonly (readonly [string, readonly string[], number | null])[] = [
    ['node -e 0', ['-e', '0'], null],
    ['--help', [program, '--help'], GOAL],
    ['--version', [program, '--version'], null],
    [`ops list, of ${opCount} ops`, [program, ...newest], GOAL],
    ['ops list --json', [program, ...newest, '--json'], null],
    [
      'ops show',
      [program, 'ops', 'show', String(opCount).padStart(16, '0'), '--config', config],
      null,
    ],
    ['schema', [program, 'schema'], null],
  ];
  const tookMs = commands.map((): number[] => []);
  for (let round = 0; round < rounds; round++) {
    for (const [i, [, args]] of commands.entries()) tookMs[i]?.push(measure(args));
  }
  const base = median(tookMs[0] ?? []);
  let isWithinGoals = true;
  for (const [i, [name, , goal]] of commands.entries()) {
    const ms = median(tookMs[i] ?? []);
    const ratio = ms / base;
    if (goal !== null && ratio > goal) isWithinGoals = false;
    const aim = goal === null ? '' : `  goal ${goal} x`;
    console.log(`${name.padEnd(28)} ${ms.toFixed(0).padStart(5)} ms  ${ratio.toFixed(2)} x${aim}`);
  }
  process.exitCode = isWithinGoals ? 0 : 1;
} finally {
  rmSync(folder, { recursive: true });
  teardown();
}

async function writeJournal(stateDir: string): Promise<void> {
  const journal = await openOnDisk(stateDir);
  for (let done = 0; done < opCount; done += GROUP_OPS) {
    const stories = Array.from({ length: GROUP_OPS }, (_, i) =>
      opStory(done + i + 1, { guest: 100 + ((done + i) % 500) }),
    );
    await Promise.all(stories.flat().map((draft) => journal.ledger.append(draft)));
  }
  await journal.close();
}

function measure(args: readonly string[]): number {
  const sinceMs = performance.now();
  const { status, stderr } = spawnSync(process.execPath, args, { encoding: 'utf8' });
  if (status !== 0) throw new Error(`${args.join(' ')}: ${stderr}`);
  return performance.now() - sinceMs;
}

function median(numbers: readonly number[]): number {
  return numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)] ?? Number.NaN;
}
