/** Ops as they are drawn on a terminal: what ends stays, what runs is drawn again. */
import { PassThrough } from 'node:stream';
import { expect, test } from 'vitest';
import { createTaskLog } from '../../../src/agent/daemon/task-log.ts';
import { createOpView, type OpView } from '../../../src/agent/terminal/op-view.ts';
import { createTerminal } from '../../../src/agent/terminal/terminal.ts';
import type { OpRecord } from '../../../src/reconcile/op.ts';
import { opId, upid, vmid } from '../../support/journal-script.ts';
import { VIRTUAL_EPOCH_MS, VirtualClock } from '../../support/virtual-clock.ts';

const AT = new Date(VIRTUAL_EPOCH_MS).toISOString();

function recordOf(number: number, more: Partial<OpRecord>): OpRecord {
  return {
    type: 'op',
    seq: number,
    at: AT,
    op_id: opId(number),
    vmid: vmid(100 + number),
    guest_kind: 'qemu',
    kind: 'start',
    state: 'started',
    attempt: 1,
    origin: 'reconcile',
    ...more,
  };
}

function draw(
  size: { columns: number; rows: number },
  lastLine: (record: OpRecord) => Promise<string | null> = async () => null,
): { view: OpView; clock: VirtualClock; read: () => string } {
  const err = Object.assign(new PassThrough(), { isTTY: true, ...size });
  const env = { NO_COLOR: '1', LANG: 'C.UTF-8' };
  const terminal = createTerminal({ out: new PassThrough(), err }, env);
  const clock = new VirtualClock();
  const view = createOpView({ err: terminal.err, clock, nameOf: () => 'web', lastLine });
  return { view, clock, read: () => String(err.read() ?? '') };
}

test('more ops than the screen has rows leave the rows they have, and say how many more there are', () => {
  const { view, read } = draw({ columns: 80, rows: 5 });
  for (let number = 1; number <= 9; number++) view.record(recordOf(number, {}));
  const last = read().split('\u001B[J').at(-1) ?? '';
  expect(last.split('\n')).toEqual([
    expect.stringContaining('101 web'),
    expect.stringContaining('102 web'),
    expect.stringContaining('103 web'),
    '  and 6 more',
    '',
  ]);
  view.close();
});

test('an op that was taken up in the middle shows no time it did not take', () => {
  const { view, read } = draw({ columns: 80, rows: 24 });
  view.record(recordOf(1, { state: 'succeeded' }));
  view.record(recordOf(2, { state: 'task_running' }));
  view.record(recordOf(2, { state: 'succeeded' }));
  view.close();
  const err = new PassThrough();
  const { err: channel } = createTerminal({ out: new PassThrough(), err }, {});
  const createLines = { err: channel, clock: new VirtualClock(), nameOf: () => 'web' };
  const lines = createOpView({ ...createLines, lastLine: async () => null });
  lines.record(recordOf(1, { state: 'succeeded' }));
  lines.record(recordOf(2, { state: 'started' }));
  lines.record(recordOf(2, { state: 'succeeded' }));
  expect(read()).not.toMatch(/\d s/);
  expect(String(err.read())).toMatch(
    /^succeeded.*start\nstarted.*\nsucceeded.*start \(0\.00 s\)\n$/,
  );
});

test('an op that has ended is printed once, above those under way', () => {
  const { view, read } = draw({ columns: 80, rows: 24 });
  view.record(recordOf(1, {}));
  view.record(recordOf(2, {}));
  read();
  view.record(recordOf(1, { state: 'succeeded' }));
  view.record(recordOf(2, { attempt: 2 }));
  const [, first = '', second = ''] = read().split('\u001B[J');
  const [ended, running, back] = first.split('\n');
  expect(ended).toMatch(/^✓ succeeded .*101 web/);
  expect(running).toMatch(/^. started .*102 web/);
  expect(back).toBe('\u001B[1A\r');
  expect(second).not.toContain('101 web');
  view.close();
});

test('no line is wider than the terminal, whatever the log of a task says', async () => {
  const { view, clock, read } = draw({ columns: 60, rows: 24 }, async () => 'x'.repeat(300));
  view.record(recordOf(1, { state: 'task_running', upid: upid(1) }));
  await clock.until(clock.sleep(2_500, new AbortController().signal), 3_000);
  view.close();
  const lines = read()
    .split('\n')
    .map((line) => line.split('\u001B[J').at(-1) ?? '');
  expect(lines.some((line) => line.includes('xxx…'))).toBe(true);
  expect(Math.max(...lines.map((line) => line.length))).toBeLessThan(60);
});

test('a log is asked for every two seconds at most, from the last line seen, however many watch', async () => {
  const clock = new VirtualClock();
  const starts: number[] = [];
  const lines = ['one', 'two'];
  const readLine = createTaskLog({
    clock,
    proxmox: {
      async taskLog(_upid, start) {
        starts.push(start);
        return { lines: lines.slice(start), total: lines.length };
      },
    },
  });
  expect(await Promise.all([readLine(upid(1)), readLine(upid(1))])).toEqual(['two', 'two']);
  lines.push('three');
  expect(await readLine(upid(1))).toBe('two');
  await clock.until(clock.sleep(2_000, new AbortController().signal), 3_000);
  expect(await readLine(upid(1))).toBe('three');
  await clock.until(clock.sleep(2_000, new AbortController().signal), 3_000);
  expect(await readLine(upid(1))).toBe('three');
  expect(starts).toEqual([0, 1, 2]);
});
