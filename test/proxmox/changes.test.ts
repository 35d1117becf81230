/** Changing guests of a simulated node through the GuestApi, and following its tasks. */
import { describe, expect, it } from 'vitest';
import type { GuestRef } from '../../src/reconcile/guest.ts';
import type { Upid } from '../../src/reconcile/ids.ts';
import { startSimulator } from '../simulator/start.ts';
import { going, nodeFor } from '../support/pve-client.ts';
import { askedOf, look, lxc, proxmox, pve, qemu, upidOf, useGuestWorld } from './guest-world.ts';

useGuestWorld();

async function digestOf(guest: GuestRef): Promise<string> {
  const found = await look(proxmox, guest, { config: true });
  if (found.kind !== 'found' || found.guest.config.kind !== 'known') throw new Error('no config');
  return found.guest.config.config.digest;
}

describe('start and stop', () => {
  it('a start costs four requests: look, request, task, look', async () => {
    await look(proxmox, qemu(101));
    const upid = upidOf(await proxmox.guests.start(qemu(101), going));
    expect(await proxmox.guests.awaitTask(upid, going)).toEqual({ kind: 'ok', exitStatus: 'OK' });
    expect(await look(proxmox, qemu(101))).toMatchObject({ guest: { power: 'running' } });
    expect((await askedOf(pve)).length).toBeLessThanOrEqual(5);
    await proxmox.guests.awaitTask(
      upidOf(
        await proxmox.guests.stop(qemu(101), { mode: 'stop', timeout_s: 1, force: false }, going),
      ),
      going,
    );
  });

  it('a start with warnings keeps them', async () => {
    const upid = upidOf(await proxmox.guests.start(qemu(102), going));
    const end = await proxmox.guests.awaitTask(upid, going);
    expect(end).toMatchObject({ kind: 'warning', exitStatus: 'WARNINGS: 1' });
    if (end.kind === 'warning') expect(end.log.join('\n')).toContain('odd');
  });

  it('a start that fails says why, with its log', async () => {
    const upid = upidOf(await proxmox.guests.start(qemu(103), going));
    expect(await proxmox.guests.awaitTask(upid, going)).toMatchObject({
      kind: 'error',
      exitStatus: 'no such disk',
      problem: { code: 'task_failed', message: 'no such disk' },
      log: ['TASK ERROR: no such disk'],
    });
  });

  it('of two starts that end together a list tells the end of the one that went well', async () => {
    const good = upidOf(await proxmox.guests.start(lxc(202), going));
    const bad = upidOf(await proxmox.guests.start(qemu(103), going));
    const ends = [good, bad].map((upid) => proxmox.guests.awaitTask(upid, going));
    expect(await Promise.all(ends)).toMatchObject([
      { kind: 'ok', exitStatus: 'OK' },
      { kind: 'error', exitStatus: 'no such disk', log: ['TASK ERROR: no such disk'] },
    ]);
    const asked = (await askedOf(pve)).join('\n');
    expect(asked).toContain(bad);
    expect(asked).not.toContain(good);
    await pve.control('PATCH', '/guests/202', { running: false });
  });

  it('a graceful stop of a guest that ignores it times out, and says so', async () => {
    const params = { mode: 'shutdown', timeout_s: 2, force: false } as const;
    const upid = upidOf(await proxmox.guests.stop(qemu(104), params, going));
    expect(await proxmox.guests.awaitTask(upid, going)).toMatchObject({
      kind: 'error',
      problem: { code: 'timeout' },
    });
    expect(await look(proxmox, qemu(104))).toMatchObject({ guest: { power: 'running' } });
  });

  it('a graceful stop with force cuts the power when time is up', async () => {
    const params = { mode: 'shutdown', timeout_s: 2, force: true } as const;
    const upid = upidOf(await proxmox.guests.stop(qemu(104), params, going));
    expect(await proxmox.guests.awaitTask(upid, going)).toMatchObject({ kind: 'ok' });
    expect(await look(proxmox, qemu(104))).toMatchObject({ guest: { power: 'stopped' } });
    await pve.control('PATCH', '/guests/104', { running: true });
  });

  it('a start of a running container is refused at once, as a conflict', async () => {
    expect(await proxmox.guests.start(lxc(201), going)).toMatchObject({
      kind: 'refused',
      problem: { code: 'conflict' },
    });
  });

  it('a locked guest fails in its task, by name of the lock', async () => {
    await pve.control('PATCH', '/guests/202', { lock: 'backup' });
    const upid = upidOf(await proxmox.guests.start(lxc(202), going));
    expect(await proxmox.guests.awaitTask(upid, going)).toMatchObject({
      kind: 'error',
      problem: { code: 'guest_locked', message: 'CT is locked (backup)' },
    });
    await pve.control('PATCH', '/guests/202', { lock: null });
  });

  it.each([
    ['the connection is cut', { kind: 'cut', effect: true }],
    [
      'pveproxy gives up',
      { kind: 'error', status: 596, reason: 'Connection timed out', effect: true },
    ],
    ['pvedaemon is gone', { kind: 'error', status: 595, reason: 'Connection refused' }],
    ['no worker came up', { kind: 'no_worker_upid' }],
    [
      "the answer is another guest's task",
      {
        kind: 'body',
        body: '{"data":"UPID:pve1:00004ADE:00035351:6B00D64E:qmstart:102:agent@pve!agent:"}',
        effect: true,
      },
    ],
    ['the answer is no UPID', { kind: 'body', body: '{"data":"done"}', effect: true }],
  ] as const)('where %s it is unsure, and was sent once', async (_, fault) => {
    await pve.addFault({ method: 'POST', ...fault });
    expect(await proxmox.guests.start(qemu(101), going)).toMatchObject({ kind: 'unsure' });
    expect(await askedOf(pve)).toEqual(['POST /nodes/pve1/qemu/101/status/start']);
    await pve.settle();
    await pve.control('PATCH', '/guests/101', { running: false });
  });

  it('where no privilege allows it, it is refused with the privilege', async () => {
    const audit = nodeFor(pve, 'audit');
    const submission = await audit.guests.start(qemu(101), going);
    await audit.close();
    expect(submission).toMatchObject({ kind: 'refused', problem: { code: 'forbidden' } });
    if (submission.kind === 'refused') expect(submission.problem.message).toContain('VM.PowerMgmt');
  });
});

describe('setConfig', () => {
  it.each([qemu(101), lxc(202)])('writes and deletes keys of $kind as text', async (guest) => {
    const set = { description: 'a=b;c=d & 100%41 ü', tags: 'b;a' };
    const first = await proxmox.guests.setConfig(
      guest,
      { set, delete: [], digest: await digestOf(guest) },
      going,
    );
    expect(first).toEqual({ kind: 'done' });
    const found = await look(proxmox, guest, { config: true });
    const config =
      found.kind === 'found' && found.guest.config.kind === 'known' && found.guest.config.config;
    if (config === false) throw new Error('no config');
    expect(config.current.get('description')?.trimEnd()).toBe(set.description);
    expect(config.current.get('tags')).toBe('a;b');
    const change = { set: {}, delete: ['description', 'tags'], digest: config.digest };
    expect(await proxmox.guests.setConfig(guest, change, going)).toEqual({ kind: 'done' });
    expect(await askedOf(pve)).toContain(
      guest.kind === 'qemu' ? 'POST /nodes/pve1/qemu/101/config' : 'PUT /nodes/pve1/lxc/202/config',
    );
  });

  it('a write that takes long is a task', async () => {
    const slow = await startSimulator({
      speed: 10,
      world: {
        guests: [{ vmid: 101, kind: 'qemu', config: { name: 'slow' } }],
        durations_ms: { qmconfig: 2_500 },
      },
    });
    const node = nodeFor(slow);
    const found = await look(node, qemu(101), { config: true });
    if (found.kind !== 'found' || found.guest.config.kind !== 'known') throw new Error('no config');
    const change = {
      set: { name: 'slower' },
      delete: [],
      digest: found.guest.config.config.digest,
    };
    const submission = await node.guests.setConfig(qemu(101), change, going);
    expect(await node.guests.awaitTask(upidOf(submission), going)).toMatchObject({ kind: 'ok' });
    await node.close();
    await slow.stop();
  });

  it.each([qemu(101), lxc(202)])('a stale digest of $kind is refused', async (guest) => {
    const change = { set: { description: 'x' }, delete: [], digest: 'f'.repeat(40) };
    expect(await proxmox.guests.setConfig(guest, change, going)).toMatchObject({
      kind: 'refused',
      problem: { code: 'digest_stale' },
    });
  });

  it('without a digest nothing is written: PVE would take it as "whatever is there"', async () => {
    const change = { set: { description: 'x' }, delete: [], digest: '' };
    expect(await proxmox.guests.setConfig(qemu(101), change, going)).toMatchObject({
      kind: 'refused',
      problem: { code: 'digest_stale' },
    });
    expect(await askedOf(pve)).toEqual([]);
  });

  it('a key that is a parameter of the request is refused, and nothing is sent', async () => {
    for (const key of ['delete', 'digest', 'skiplock', 'force', 'revert', 'a b']) {
      const change = { set: { [key]: '1' }, delete: [], digest: 'f'.repeat(40) };
      expect(await proxmox.guests.setConfig(qemu(101), change, going)).toMatchObject({
        kind: 'refused',
        problem: { code: 'invalid_request' },
      });
    }
    expect(await askedOf(pve)).toEqual([]);
  });
});

describe('tasks', () => {
  it('a task whose worker was killed is unknown, a forgotten one has vanished', async () => {
    const auditor = nodeFor(pve, 'root');
    const started = (await pve.control('POST', '/tasks', {
      type: 'qmstart',
      id: '101',
      user: 'agent@pve!agent',
      duration_ms: 10_000,
    })) as { upid: Upid };
    expect(await auditor.guests.taskStatus(started.upid, going)).toEqual({ kind: 'running' });
    await pve.control('POST', '/tasks/kill', { upid: started.upid });
    expect(await auditor.guests.awaitTask(started.upid, going)).toMatchObject({
      kind: 'unknown',
      exitStatus: 'unexpected status',
    });
    await pve.control('POST', '/tasks/forget');
    expect(await auditor.guests.awaitTask(started.upid, going)).toEqual({ kind: 'vanished' });
    await auditor.close();
  });

  it('of a long log the first and last 50 lines are kept', async () => {
    const log = Array.from({ length: 300 }, (_, n) => `line ${n}`);
    const { upid } = (await pve.control('POST', '/tasks', {
      type: 'qmstart',
      id: '101',
      user: 'agent@pve!agent',
      duration_ms: 10,
      exit_status: 'it broke',
      log,
    })) as { upid: Upid };
    const end = await proxmox.guests.awaitTask(upid, going);
    expect(end.kind).toBe('error');
    if (end.kind !== 'error') return;
    expect(end.log).toHaveLength(100);
    expect(end.log.slice(0, 2)).toEqual(['line 0', 'line 1']);
    expect(end.log.slice(49, 51).map((line) => line.split(' ')[1])).toEqual(['49', '251']);
    expect(end.log.at(-1)).toBe('TASK ERROR: it broke');
  });

  it('a task is followed through a node that does not answer', async () => {
    const upid = upidOf(await proxmox.guests.start(qemu(101), going));
    await pve.addFault({ kind: 'cut', path: '/tasks/', count: 2 });
    expect(await proxmox.guests.awaitTask(upid, going)).toMatchObject({ kind: 'ok' });
    await pve.control('PATCH', '/guests/101', { running: false });
  });

  it.each([
    [401, 0],
    [402, 3_600],
    [403, -3_600],
  ])('guest %d: with a clock %d s ahead, tasks are found by our time', async (number, offset_s) => {
    await pve.control('POST', '/guests', { vmid: number, kind: 'qemu', config: { name: 'x' } });
    const guest = qemu(number);
    await pve.control('POST', '/clock', { offset_s });
    const auditor = nodeFor(pve, 'auditor');
    const beganMs = Date.now();
    const old = upidOf(await auditor.guests.start(guest, going));
    await auditor.guests.awaitTask(old, going);
    const params = { mode: 'stop', timeout_s: 1, force: false } as const;
    const upid = upidOf(await auditor.guests.stop(guest, params, going));
    await auditor.guests.awaitTask(upid, going);
    const search = { guest, sinceMs: beganMs, newerThan: old };
    const fresh = nodeFor(pve, 'auditor');
    const found = await fresh.guests.findTasks(search, going);
    const future = await fresh.guests.findTasks(
      { ...search, sinceMs: beganMs + 1_800_000, newerThan: null },
      going,
    );
    await Promise.all([
      auditor.close(),
      fresh.close(),
      pve.control('POST', '/clock', { offset_s: 0 }),
    ]);
    expect(found).toMatchObject({
      kind: 'found',
      tasks: [{ upid, role: 'stop', isOurs: true, state: 'succeeded' }],
    });
    if (found.kind === 'found') {
      expect(Math.abs((found.tasks[0]?.startedAtMs ?? 0) - beganMs)).toBeLessThan(5_000);
    }
    expect(future).toEqual({ kind: 'found', tasks: [] });
  });

  it.each([
    ['qmrestore', 'OK', 'replaces', 'succeeded'],
    ['vzdestroy', 'WARNINGS: 1', 'replaces', 'succeeded'],
    ['qmdestroy', 'VM 404 is protected', 'replaces', 'failed'],
    ['vzcreate', 'unexpected status', 'replaces', 'failed'],
    ['vzrollback', 'OK', 'reverts', 'succeeded'],
    // Filed under the guest that is cloned from.
    ['qmclone', 'OK', 'other', 'succeeded'],
    ['vzclone', 'OK', 'other', 'succeeded'],
    // What a guest is, and where, a look tells.
    ['qmtemplate', 'OK', 'other', 'succeeded'],
    ['qmigrate', 'OK', 'other', 'succeeded'],
  ])('a %s that ended %s is found as one that %s and has %s', async (type, exit, role, state) => {
    const user = 'agent@pve!agent';
    const task = { type, id: '404', user, duration_ms: 1, exit_status: exit };
    const { upid } = (await pve.control('POST', '/tasks', task)) as { upid: Upid };
    await proxmox.guests.awaitTask(upid, going);
    const search = { guest: qemu(404), sinceMs: Date.now() - 10_000, newerThan: null };
    const found = await proxmox.guests.findTasks(search, going);
    const tasks = found.kind === 'found' ? found.tasks : [];
    expect(tasks.find((one) => one.upid === upid)).toMatchObject({ role, state });
  });

  it('of a busy node the list that lanes share is asked first, and tells as far back as it goes', async () => {
    const spawn = async (id: string): Promise<void> => {
      const user = 'agent@pve!agent';
      const task = { type: 'qmstart', id, user, duration_ms: 1, exit_status: 'OK' };
      const { upid } = (await pve.control('POST', '/tasks', task)) as { upid: Upid };
      await proxmox.guests.awaitTask(upid, going);
    };
    const listsRead = async (): Promise<number> =>
      (await askedOf(pve)).filter((line) => line.endsWith('/tasks')).length;
    const search = { guest: qemu(405), sinceMs: Date.now(), newerThan: null };
    const ask = async (listSinceMs?: number) => {
      const node = nodeFor(pve);
      const before = await listsRead();
      const bound = listSinceMs === undefined ? {} : { listSinceMs };
      const found = await node.guests.findTasks({ ...search, ...bound }, going);
      await node.close();
      return { found, requests: (await listsRead()) - before };
    };
    await spawn('405');
    const { found } = await ask();
    expect(found).toMatchObject({ kind: 'found', tasks: [{ role: 'start', state: 'succeeded' }] });
    expect(await ask(0)).toEqual({ found, requests: 1 });
    await Promise.all(Array.from({ length: 50 }, () => spawn('406')));
    expect(await ask(0)).toEqual({ found, requests: 2 });
  });

  it("a stranger's task is found too, and is not ours", async () => {
    await pve.control('POST', '/somebody', {
      user: 'eva@pam',
      method: 'POST',
      path: '/nodes/pve1/qemu/101/status/start',
    });
    const auditor = nodeFor(pve, 'auditor');
    const search = { guest: qemu(101), sinceMs: Date.now() - 10_000, newerThan: null };
    const found = await auditor.guests.findTasks(search, going);
    await auditor.close();
    await pve.settle();
    await pve.control('PATCH', '/guests/101', { running: false });
    expect(found.kind === 'found' && found.tasks[0]).toMatchObject({
      role: 'start',
      isOurs: false,
    });
  });
});
