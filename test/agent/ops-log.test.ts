/** `ops log`: an op's steps as people read them, from the files alone. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { openOnDisk } from '../support/journal-on-disk.ts';
import { opId, opStory, START_MS, tickingClock, upid } from '../support/journal-script.ts';
import { programFile } from './program.ts';
import { runHere } from './run-here.ts';

let folder = '';
let configFile = '';
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'ops-log-'));
  configFile = join(folder, 'config.yaml');
  writeFileSync(configFile, 'node: pve1\nstate_dir: state\ncontrol: { socket: agent.sock }\n');
});
afterEach(() => rmSync(folder, { recursive: true }));

/** Each record of the op comes that many seconds after the one before. */
async function write(story: ReturnType<typeof opStory>, stepsS: readonly number[]): Promise<void> {
  let nowMs = START_MS;
  const clock = { ...tickingClock(), now: () => nowMs, monotonicMs: () => performance.now() };
  const journal = await openOnDisk(join(folder, 'state'), { clock });
  for (const [index, record] of story.entries()) {
    nowMs += 1000 * (stepsS[index] ?? 0);
    await journal.ledger.append(record);
  }
  await journal.close();
}

test('tells each step, the time between them, the UPID, and how it ended', async () => {
  await write(opStory(1, { origin: 'hub' }), [0, 2, 1, 95]);
  const { exit, out, err } = await runHere('ops', 'log', opId(1), '--config', configFile);
  expect({ exit, err }).toEqual({ exit: 0, err: '' });
  expect(out.trimEnd().split('\n')).toEqual([
    '2026-03-01T12:00:00.000Z              received',
    '2026-03-01T12:00:02.000Z     +2.00 s  started       guest was stopped',
    `2026-03-01T12:00:03.000Z     +1.00 s  task_running  ${upid(1)}`,
    '2026-03-01T12:01:38.000Z   +1 m 35 s  succeeded     PVE: OK',
  ]);
});

test('of an op in flight says whom to ask why it waits, where no agent runs', async () => {
  await write(opStory(1, { end: null }), [0, 1]);
  const { exit, out, err } = await runHere('ops', 'log', opId(1), '--config', configFile);
  expect(exit).toBe(0);
  expect(out).toContain(upid(1));
  expect(err).toBe('no agent to ask why it waits\n');
});

test('goes on over a failed attempt that is tried again, to the end of the op', async () => {
  const journal = await openOnDisk(join(folder, 'state'));
  const [received, started, running, failed] = opStory(1, { origin: 'hub', end: 'failed' });
  const [, , , succeeded] = opStory(1, { origin: 'hub' });
  if (!received || !started || !running || !failed || !succeeded) throw new Error('no story');
  for (const record of [received, started, running]) await journal.ledger.append(record);
  const args = [programFile(), 'ops', 'log', opId(1), '--follow', '--config', configFile];
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'ignore'] });
  const exit = once(child, 'close');
  const states: string[] = [];
  for await (const line of createInterface({ input: child.stdout })) {
    const state = /received|started|task_running|succeeded|failed/.exec(line)?.[0] ?? line;
    states.push(state);
    const { upid: _, ...again } = { ...succeeded, attempt: 2 };
    // As the engine writes them: in one breath.
    if (state === 'task_running') {
      const ended = journal.ledger.append(failed);
      await Promise.all([ended, journal.ledger.append({ ...started, attempt: 2 })]);
    }
    if (states.filter((each) => each === 'started').length === 2 && state === 'started') {
      await journal.ledger.append(again);
    }
  }
  await journal.close();
  expect(states).toEqual(['received', 'started', 'task_running', 'failed', 'started', 'succeeded']);
  expect(await exit).toEqual([0, null]);
});
