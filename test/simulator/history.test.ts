/** What the simulator can tell afterwards: which writes had an effect, and what became of guests. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { type Asking, asking } from './asking.ts';
import { type Simulator, startSimulator } from './start.ts';

let watch: string;
let pve: Simulator;
let ask: Asking;
let close: () => void;

beforeAll(async () => {
  watch = mkdtempSync(join(tmpdir(), 'pve-simulator-watched-'));
  pve = await startSimulator({ guests: 2, speed: 50, watch, history: true });
  ({ ask, close } = asking(pve));
});

afterAll(async () => {
  close();
  await pve.stop();
  rmSync(watch, { recursive: true });
});

it.each([{ effect: true }, { effect: false }])(
  'of a write whose answer is cut it says whether it was done: $effect',
  async ({ effect }) => {
    await pve.resetRequests();
    await pve.addFault({ kind: 'cut', effect });
    await ask('PUT', '/nodes/pve1/qemu/100/config', { description: 'x' }).catch(() => null);
    const [entry] = await pve.requests();
    expect(entry).toMatchObject({ fault: 'cut', status: null });
    expect(typeof entry?.effect_at).toBe(effect ? 'string' : 'object');
  },
);

it('a write carries how long the files of the watched folder were, a read does not', async () => {
  writeFileSync(join(watch, 'a'), 'four');
  await pve.resetRequests();
  await ask('GET', '/version');
  await ask('PUT', '/nodes/pve1/qemu/100/config', { description: 'y' });
  expect(await pve.requests()).toMatchObject([{ watched: null }, { watched: { a: 4 } }]);
});

it('tells a task from its begin to its end, and the guest it left', async () => {
  await pve.control('PATCH', '/guests/100', { running: false });
  await pve.resetRequests();
  await ask('POST', '/nodes/pve1/qemu/100/status/start', {});
  await pve.settle();
  const [entry] = await pve.requests();
  const { guests, tasks } = await pve.history();
  const task = tasks.find(({ upid }) => upid === entry?.upid);
  expect(task).toMatchObject({ type: 'qmstart', id: '100', user: 'root@pam!lab' });
  expect(task).toMatchObject({ exit_status: 'OK' });
  expect(Date.parse(task?.ended_at ?? '')).toBeGreaterThanOrEqual(Date.parse(task?.began_at ?? ''));
  const own = guests.filter(({ vmid }) => vmid === 100);
  expect(own.slice(-2)).toMatchObject([
    { status: 'stopped', booted_at: null },
    { status: 'running', config: { description: 'y' } },
  ]);
});

it('a stranger who waits too long for a lock gives up', async () => {
  const task = { type: 'qmsnapshot', id: '100', holds_lock: true };
  await pve.control('POST', '/tasks', { ...task, duration_ms: 30_000 });
  const late = (await pve.control('POST', '/tasks', task)) as { upid: string };
  await pve.settle();
  const { tasks } = await pve.history();
  const ended = tasks.find(({ upid }) => upid === late.upid);
  expect(ended).toMatchObject({ exit_status: 'got timeout' });
});

it('a guest that is removed is gone from then on', async () => {
  await pve.control('DELETE', '/guests/101');
  const { guests } = await pve.history();
  expect(guests.at(-1)).toMatchObject({ vmid: 101, status: 'gone' });
});
