/** Looking at a simulated node through the GuestApi. */
import { describe, expect, it } from 'vitest';
import type { Upid } from '../../src/reconcile/ids.ts';
import { going, nodeFor } from '../support/pve-client.ts';
import {
  askedOf,
  look,
  lxc,
  NOTHING,
  proxmox,
  pve,
  qemu,
  upidOf,
  useGuestWorld,
  vmid,
} from './guest-world.ts';

useGuestWorld();

describe('observe', () => {
  it('finds the guests of both kinds, and says that it sees them all', async () => {
    const state = await proxmox.guests.observe({ configs: NOTHING, wanted: NOTHING }, going);
    expect([...state.guests.keys()].sort((a, b) => a - b)).toEqual([101, 102, 103, 104, 201, 202]);
    expect(state).toMatchObject({ qemu: { kind: 'complete' }, lxc: { kind: 'complete' } });
    expect(state.guests.get(vmid(101))).toMatchObject({
      kind: 'qemu',
      name: 'web',
      power: 'stopped',
      tags: ['a', 'b'],
      ha: { kind: 'not_read' },
      config: { kind: 'not_read' },
    });
    const bootedAtMs = state.guests.get(vmid(201))?.bootedAtMs ?? 0;
    expect(Math.abs(Date.now() - bootedAtMs)).toBeLessThan(60_000);
  });

  it('a quiet pass takes three requests, and one for each config that is due', async () => {
    const request = { configs: NOTHING, wanted: new Set([vmid(101)]) };
    await proxmox.guests.observe(request, going);
    await pve.resetRequests();
    await proxmox.guests.observe(request, going);
    expect(await askedOf(pve)).toHaveLength(3);
    await pve.resetRequests();
    const due = new Set([101, 201].map(vmid));
    const state = await proxmox.guests.observe({ ...request, configs: due }, going);
    expect(await askedOf(pve)).toHaveLength(5);
    expect(state.guests.get(vmid(201))?.config).toMatchObject({ kind: 'known' });
    expect(state.guests.get(vmid(102))?.config).toEqual({ kind: 'not_read' });
  });

  it('an empty list of a token without privileges is not absence', async () => {
    const blind = nodeFor(pve, 'nobody');
    const state = await blind.guests.observe({ configs: NOTHING, wanted: NOTHING }, going);
    const gone = await look(blind, qemu(101));
    await blind.close();
    expect(state.guests.size).toBe(0);
    expect(state).toMatchObject({
      qemu: { kind: 'unknown', problem: { code: 'forbidden' } },
      lxc: { kind: 'unknown' },
      tasksKnown: { kind: 'unknown' },
    });
    expect(gone).toMatchObject({ kind: 'unknown', problem: { code: 'forbidden' } });
  });

  it('a list that cannot be read is unknown, and the other one is not', async () => {
    await pve.addFault({ kind: 'wrong_types', path: '/qemu$', count: 0 });
    const state = await proxmox.guests.observe({ configs: NOTHING, wanted: NOTHING }, going);
    expect(state.qemu).toMatchObject({ kind: 'unknown', problem: { code: 'service_unavailable' } });
    expect(state.lxc).toEqual({ kind: 'complete' });
    expect([...state.guests.keys()].sort((a, b) => a - b)).toEqual([201, 202]);
  });

  it('a config that cannot be read is unknown', async () => {
    await pve.addFault({ kind: 'error', status: 500, reason: 'odd', path: '/101/pending' });
    const due = new Set([101, 102].map(vmid));
    const state = await proxmox.guests.observe({ configs: due, wanted: NOTHING }, going);
    expect(state.guests.get(vmid(101))?.config.kind).toBe('unknown');
    expect(state.guests.get(vmid(102))?.config.kind).toBe('known');
  });

  it('when a guest goes missing the privileges are read again, once', async () => {
    await pve.control('POST', '/guests', { vmid: 301, kind: 'qemu', config: { name: 'brief' } });
    const request = { configs: NOTHING, wanted: NOTHING };
    await proxmox.guests.observe(request, going);
    await pve.control('DELETE', '/guests/301');
    await pve.resetRequests();
    const state = await proxmox.guests.observe(request, going);
    expect(state.qemu.kind).toBe('complete');
    expect(await askedOf(pve)).toContain('GET /access/permissions');
    await pve.resetRequests();
    await proxmox.guests.observe(request, going);
    expect(await askedOf(pve)).toHaveLength(3);
  });

  it('a wanted guest that moved is found on its new node', async () => {
    await pve.control('POST', '/guests', { vmid: 302, kind: 'qemu', config: { name: 'nomad' } });
    await pve.control('PATCH', '/guests/302', { moved_to: 'pve2' });
    const wanted = new Set([101, 302].map(vmid));
    const state = await proxmox.guests.observe({ configs: NOTHING, wanted }, going);
    expect([...state.elsewhere]).toEqual([[302, 'pve2']]);
    expect(await look(proxmox, qemu(302))).toEqual({ kind: 'gone', node: 'pve2' });
  });

  it('a wanted guest that no node has is nowhere, as long as complete answers say so', async () => {
    const request = { configs: NOTHING, wanted: new Set([101, 302, 399].map(vmid)) };
    const state = await proxmox.guests.observe(request, going);
    expect([...state.nowhere]).toEqual([399]);
    const nobody = nodeFor(pve, 'nobody');
    const unseen = await nobody.guests.observe(request, going);
    await nobody.close();
    await pve.addFault({ kind: 'cut', path: '/cluster/resources', count: 2 });
    const unanswered = await proxmox.guests.observe(request, going);
    expect([...unseen.nowhere, ...unanswered.nowhere]).toEqual([]);
  });

  it('a guest that is hidden from the token is nowhere and gone for nobody', async () => {
    const barred = nodeFor(pve, 'barred');
    const wanted = new Set([101, 102, 399].map(vmid));
    const request = { configs: NOTHING, wanted };
    const state = await barred.guests.observe(request, going);
    expect(state).toMatchObject({ qemu: { kind: 'complete' }, lxc: { kind: 'complete' } });
    expect([...state.nowhere]).toEqual([399]);
    const message = 'the token lacks VM.Audit on /vms/101: what it cannot see may exist';
    expect([...state.unseen]).toEqual([[101, { code: 'forbidden', message }]]);
    expect(await look(barred, qemu(101))).toMatchObject({ kind: 'unknown', problem: { message } });
    expect(await look(barred, qemu(399))).toEqual({ kind: 'gone', node: null });
    await barred.guests.observe(request, going);
    await pve.resetRequests();
    const again = await barred.guests.observe(request, going);
    await barred.close();
    expect([again.nowhere, again.unseen]).toEqual([state.nowhere, state.unseen]);
    expect(await askedOf(pve)).not.toContain('GET /access/permissions');
  });

  it('whether the token would see a guest is asked each time the guest goes missing', async () => {
    await pve.control('POST', '/guests', { vmid: 304, kind: 'lxc', config: { hostname: 'back' } });
    const request = { configs: NOTHING, wanted: new Set([vmid(304)]) };
    const observe = async (): Promise<readonly string[]> => {
      await pve.resetRequests();
      await proxmox.guests.observe(request, going);
      return (await pve.requests()).map(({ path }) => path);
    };
    const isGone = async (): Promise<unknown> => pve.control('DELETE', '/guests/304');
    await observe();
    await isGone();
    const first = await observe();
    const second = await observe();
    await pve.control('POST', '/guests', { vmid: 304, kind: 'lxc', config: { hostname: 'back' } });
    await observe();
    await isGone();
    const third = await observe();
    const asked = (paths: readonly string[]): number =>
      paths.filter((path) => path === '/access/permissions').length;
    // With the first of them go the privileges as a whole: that a guest is missing is a surprise.
    expect([first, second, third].map(asked)).toEqual([2, 0, 2]);
  });

  it('what cannot be asked of a missing guest is unknown', async () => {
    await pve.addFault({ kind: 'cut', path: '/cluster/resources', count: 2 });
    const request = { configs: NOTHING, wanted: new Set([101, 399].map(vmid)) };
    const state = await proxmox.guests.observe(request, going);
    expect([...state.unseen.keys()]).toEqual([399]);
  });

  it('when a guest was replaced is told by tasks that succeeded', async () => {
    const tasks = [
      { type: 'qmrestore', id: '101', exit_status: 'WARNINGS: 1' },
      { type: 'vzdestroy', id: '201', exit_status: 'OK' },
      { type: 'qmdestroy', id: '102', exit_status: 'VM 102 is protected' },
      { type: 'qmclone', id: '103', exit_status: 'OK' },
      { type: 'qmrollback', id: '104', exit_status: 'OK' },
    ];
    for (const task of tasks) {
      await pve.control('POST', '/tasks', { ...task, user: 'eva@pam', duration_ms: 10 });
    }
    await pve.settle();
    const auditor = nodeFor(pve, 'auditor');
    const state = await auditor.guests.observe({ configs: NOTHING, wanted: NOTHING }, going);
    await auditor.close();
    expect(new Set(state.replaced.keys())).toEqual(new Set([101, 201]));
    for (const { endedAtMs } of state.replaced.values())
      expect(Math.abs(endedAtMs - Date.now())).toBeLessThan(5_000);
  });

  it('tasks of others are seen with Sys.Audit, and it says when they are not', async () => {
    await pve.control('POST', '/tasks', {
      type: 'vzdump',
      id: '101',
      user: 'eva@pam',
      duration_ms: 10_000,
    });
    const request = { configs: NOTHING, wanted: NOTHING };
    const auditor = nodeFor(pve, 'auditor');
    const seen = await auditor.guests.observe(request, going);
    const unseen = await proxmox.guests.observe(request, going);
    await auditor.close();
    expect(seen.tasksKnown).toEqual({ kind: 'complete' });
    expect(seen.tasks).toMatchObject([
      { type: 'vzdump', vmid: 101, user: 'eva@pam', isOurs: false },
    ]);
    expect(Math.abs((seen.tasks[0]?.startedAtMs ?? 0) - Date.now())).toBeLessThan(5_000);
    expect(unseen).toMatchObject({ tasks: [], tasksKnown: { kind: 'unknown' } });
  });

  it('an open console is no work on the guest', async () => {
    for (const type of ['vncproxy', 'spiceproxy', 'termproxy', 'qmsnapshot']) {
      const task = { type, id: '102', user: 'eva@pam', duration_ms: 10_000 };
      await pve.control('POST', '/tasks', task);
    }
    const auditor = nodeFor(pve, 'auditor');
    const seen = await look(auditor, qemu(102), { tasksSinceMs: performance.now() });
    await auditor.close();
    expect(seen).toMatchObject({ tasks: [{ type: 'qmsnapshot' }] });
  });

  it('tasks of others that have ended are told: not consoles, and not our own', async () => {
    await pve.control('PATCH', '/guests/202', { running: false });
    const auditor = nodeFor(pve, 'auditor');
    const own = upidOf(await auditor.guests.start(lxc(202), going));
    await auditor.guests.awaitTask(own, going);
    for (const type of ['vncproxy', 'qmconfig']) {
      await pve.control('POST', '/tasks', { type, id: '104', user: 'eva@pam', duration_ms: 10 });
    }
    const request = { configs: NOTHING, wanted: NOTHING };
    const ended = async (): Promise<readonly string[]> => {
      const { endedTasks } = await auditor.guests.observe(request, going);
      return endedTasks.map(({ upid }) => upid);
    };
    await expect.poll(ended).toContainEqual(expect.stringContaining(':qmconfig:104:eva@pam:'));
    expect(await ended()).not.toContainEqual(expect.stringContaining(':vncproxy:104:'));
    expect(await ended()).not.toContain(own);
    await auditor.close();
    await pve.control('PATCH', '/guests/202', { running: false });
  });

  it('a bulk task that began and ended since the last look is still told', async () => {
    const auditor = nodeFor(pve, 'auditor');
    const request = { configs: NOTHING, wanted: NOTHING };
    await auditor.guests.observe(request, going);
    await pve.control('POST', '/tasks', {
      type: 'stopall',
      id: '',
      user: 'root@pam',
      duration_ms: 10,
    });
    await expect
      .poll(async () => (await auditor.guests.observe(request, going)).bulkTasks)
      .toMatchObject([{ type: 'stopall' }]);
    await auditor.close();
  });

  it('also behind one that began before that look and ended later', async () => {
    const auditor = nodeFor(pve, 'auditor');
    const request = { configs: NOTHING, wanted: NOTHING };
    const spawn = async (type: string, duration_ms: number): Promise<Upid> => {
      const task = { type, id: '', user: 'root@pam', duration_ms };
      return ((await pve.control('POST', '/tasks', task)) as { upid: Upid }).upid;
    };
    const long = await spawn('vzdump', 60_000);
    await auditor.guests.observe(request, going);
    const bulk = await spawn('stopall', 1);
    await auditor.guests.awaitTask(bulk, going);
    await pve.control('POST', '/tasks/kill', { upid: long });
    const later = await Promise.all(Array.from({ length: 49 }, () => spawn('aptupdate', 1)));
    await Promise.all(later.map((upid) => auditor.guests.awaitTask(upid, going)));
    const { bulkTasks } = await auditor.guests.observe(request, going);
    expect(bulkTasks).toContainEqual(expect.objectContaining({ upid: bulk }));
    await auditor.close();
  });
});

describe('look', () => {
  it('two lanes that look at once share one list', async () => {
    const [one, two] = await Promise.all([look(proxmox, qemu(101)), look(proxmox, qemu(102))]);
    expect(one).toMatchObject({ kind: 'found', guest: { vmid: 101 } });
    expect(two).toMatchObject({ kind: 'found', guest: { vmid: 102 } });
    expect(await askedOf(pve)).toEqual(['GET /nodes/pve1/qemu']);
  });

  it('a look after an event is never answered from before it', async () => {
    await look(proxmox, qemu(101));
    await pve.control('PATCH', '/guests/101', { lock: 'backup' });
    expect(await look(proxmox, qemu(101))).toMatchObject({ guest: { lock: 'backup' } });
    await pve.control('PATCH', '/guests/101', { lock: null });
  });

  it('with details it is one request of its own, and has HA and the qmp status', async () => {
    await pve.control('PATCH', '/guests/104', { qmp_status: 'paused' });
    expect(await look(proxmox, qemu(104), { details: true })).toMatchObject({
      kind: 'found',
      guest: { power: 'running', qmpStatus: 'paused', ha: { kind: 'unmanaged' } },
    });
    await pve.control('PATCH', '/guests/104', { qmp_status: 'running' });
    expect(await askedOf(pve)).toEqual(['GET /nodes/pve1/qemu/104/status/current']);
  });

  it.each([true, false])(
    'a guest of the other kind is found as what it is (details: %s)',
    async (details) => {
      expect(await look(proxmox, lxc(101), { details })).toMatchObject({
        kind: 'found',
        guest: { vmid: 101, kind: 'qemu' },
      });
    },
  );

  it.each([true, false])('a guest that does not exist is gone (details: %s)', async (details) => {
    expect(await look(proxmox, qemu(999), { details })).toEqual({ kind: 'gone', node: null });
  });

  it('a look that fails is unknown', async () => {
    await pve.addFault({ kind: 'error', status: 595, reason: 'Connection refused', count: 0 });
    expect(await look(proxmox, qemu(101))).toMatchObject({ kind: 'unknown' });
    expect(await look(proxmox, qemu(101), { details: true })).toMatchObject({ kind: 'unknown' });
  });

  it('aborted, it rejects with the reason', async () => {
    const abort = new AbortController();
    const request = {
      guest: qemu(101),
      sinceMs: 0,
      tasksSinceMs: null,
      config: true,
      details: false,
    };
    const looking = proxmox.guests.look(request, abort.signal);
    abort.abort(new Error('shutting down'));
    await expect(looking).rejects.toThrow('shutting down');
  });
});

describe('the node', () => {
  it('tells quorum and HA to a token that may see them, and only the managed guests to others', async () => {
    const auditor = nodeFor(pve, 'auditor');
    expect(await auditor.guests.lookAtNode(going)).toMatchObject({ quorate: true, ha: 'absent' });
    expect(await proxmox.guests.lookAtNode(going)).toEqual({
      quorate: null,
      ha: 'unknown',
      managed: new Map(),
    });
    await auditor.close();
  });

  it('tells its version, the privileges and its clock', async () => {
    expect(await proxmox.version(going)).toMatchObject({ value: { version: '9.2.11' } });
    expect(await proxmox.permissions(going)).toMatchObject({ kind: 'value' });
    expect(await proxmox.clockOffsetMs(going)).toBeNull();
  });

  it('an HA-managed guest is told by its own look and by the node', async () => {
    await pve.control('POST', '/guests', {
      vmid: 303,
      kind: 'qemu',
      running: true,
      config: { name: 'ha' },
      ha: 'started',
    });
    await expect
      .poll(async () => (await proxmox.guests.lookAtNode(going)).managed?.has(vmid(303)), {
        timeout: 10_000,
      })
      .toBe(true);
    expect(await look(proxmox, qemu(303), { details: true })).toMatchObject({
      guest: { ha: { kind: 'managed' } },
    });
    await pve.control('DELETE', '/guests/303');
  });
});
