/** The simulator as its users have it: a process, a wire, a control port. */
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Asking, asking } from './asking.ts';
import { type Simulator, startSimulator } from './start.ts';

let pve: Simulator;
let ask: Asking;
let close: () => void;

beforeAll(async () => {
  pve = await startSimulator({
    guests: 12,
    speed: 50,
    look: true,
    world: {
      auth_delay_ms: 100,
      resources_lag_ms: 0,
      tokens: { hub: { id: 'hub@pve!one', secret: 's3cret', acl: { '/vms/100': ['VM.Audit'] } } },
    },
  });
  ({ ask, close } = asking(pve));
});

afterAll(async () => {
  close();
  await pve.stop();
});

const pick = (data: unknown, key: string): unknown =>
  typeof data === 'object' && data !== null ? Reflect.get(data, key) : undefined;

const current = async (guest: string): Promise<unknown> =>
  (await ask('GET', `/nodes/pve1/${guest}/status/current`)).data;

const vmlist = (): { version: number; ids: Record<string, { node: string; version: number }> } =>
  JSON.parse(readFileSync(join(pve.lookDir, 'etc-pve/.vmlist'), 'utf8'));

describe('the simulator', () => {
  it('keeps its tokens to itself', () => {
    expect(statSync(pve.tokenFile('agent')).mode & 0o777).toBe(0o600);
    expect(pve.token('hub')).toBe('hub@pve!one=s3cret');
  });

  it('lets a token see what its ACL names and nothing else', async () => {
    const hub = asking(pve, { token: 'hub' });
    const list = await hub.ask('GET', '/nodes/pve1/qemu');
    const other = await hub.ask('GET', '/nodes/pve1/qemu/101/config');
    hub.close();
    expect(list.data).toEqual([expect.objectContaining({ vmid: 100 })]);
    expect(other.reason).toBe('Permission check failed (/vms/101, VM.Audit)');
  });

  it('counts every request and says who asked for what', async () => {
    await pve.resetRequests();
    await ask('GET', '/version');
    await ask('PUT', '/nodes/pve1/qemu/100/config', { description: 'counted' });
    expect(await pve.requests()).toMatchObject([
      { n: 1, method: 'GET', path: '/version', token: 'root@pam!lab', status: 200 },
      { n: 2, method: 'PUT', params: { description: 'counted' }, status: 200, fault: null },
    ]);
  });

  it('lets somebody start, stop and edit as another user', async () => {
    const stop = { user: 'alice@pam', method: 'POST', path: '/nodes/pve1/qemu/100/status/stop' };
    const { data } = (await pve.control('POST', '/somebody', stop)) as { data: string };
    expect(data).toMatch(/^UPID:pve1:[0-9A-F]{8}:[0-9A-F]{8}:[0-9A-F]{8}:qmstop:100:alice@pam:$/);
    await pve.settle();
    expect(await current('qemu/100')).toMatchObject({ status: 'stopped' });
  });

  it('changes a guest by hand, lock and all', async () => {
    await pve.control('PATCH', '/guests/200', {
      running: true,
      lock: 'backup',
      set: { tags: 'x' },
    });
    expect(await current('lxc/200')).toMatchObject({
      status: 'running',
      lock: 'backup',
      tags: 'x',
    });
    await pve.control('PATCH', '/guests/200', { lock: null, delete: ['tags'] });
    expect(await current('lxc/200')).not.toHaveProperty('lock');
  });

  it('runs a stranger task that is seen and that holds a lock', async () => {
    const task = { type: 'vzdump', id: '103', duration_ms: 600_000, holds_lock: true };
    const { upid } = (await pve.control('POST', '/tasks', task)) as { upid: string };
    const put = await ask('PUT', '/nodes/pve1/qemu/103/config', { description: 'late' });
    expect(put.reason).toBe("can't lock file '/var/lock/qemu-server/lock-103.conf' - got timeout");
    const active = await ask('GET', '/nodes/pve1/tasks?source=active');
    expect(active.data).toEqual([expect.objectContaining({ upid, status: 'RUNNING' })]);
    await pve.control('POST', '/tasks/kill', { upid });
    const status = await ask('GET', `/nodes/pve1/tasks/${upid}/status`);
    expect(pick(status.data, 'exitstatus')).toBe('unexpected status');
  });

  it('answers 595 without pvedaemon, and 596 while it hangs, and then it happens', async () => {
    await pve.control('POST', '/daemon', { down: true });
    expect((await ask('GET', '/nodes/pve1/qemu')).status).toBe(595);
    expect((await ask('GET', '/nodes/pve1/qemu/100/config')).status).toBe(200);
    await pve.control('POST', '/daemon', { down: false, stuck: 3 });
    const late = await ask('PUT', '/nodes/pve1/qemu/101/config', { description: 'late' });
    expect([late.status, late.reason]).toEqual([596, 'Connection timed out']);
    await pve.control('POST', '/daemon', { stuck: 0 });
    await ask('GET', '/nodes/pve1/qemu');
    const config = await ask('GET', '/nodes/pve1/qemu/101/config');
    expect(pick(config.data, 'description')).toBe('late');
  });

  it('forgets its tasks with a restart', async () => {
    await pve.control('POST', '/restart');
    expect((await ask('GET', '/nodes/pve1/tasks?source=all')).data).toEqual([]);
  });

  it('comes back from a reboot with the guests that start at boot', async () => {
    await pve.control('POST', '/reboot');
    await pve.settle();
    // Odd numbers have onboot.
    expect(await current('qemu/101')).toMatchObject({ status: 'running' });
    expect(await current('qemu/100')).toMatchObject({ status: 'stopped' });
    expect(pick((await ask('GET', '/nodes/pve1/status')).data, 'uptime')).toBeLessThan(60);
  });

  it('can be an hour off', async () => {
    await pve.control('POST', '/clock', { offset_s: 3600 });
    const { data, headers } = await ask('GET', '/nodes/pve1/time');
    await pve.control('POST', '/clock', { offset_s: 0 });
    expect(Number(pick(data, 'time')) - Date.now() / 1000).toBeGreaterThan(3500);
    expect(Date.parse(String(headers['date'])) - Date.now()).toBeGreaterThan(3_500_000);
  });

  it('takes a token that is wrong its time', async () => {
    const stranger = asking({ ...pve, token: () => 'root@pam!lab=wrong' });
    const start = performance.now();
    const { status, reason, text } = await stranger.ask('GET', '/version');
    stranger.close();
    expect([status, reason, text]).toEqual([401, 'Authentication failed!', '']);
    // 100 ms at speed 50.
    expect(performance.now() - start).toBeGreaterThan(1.9);
  });

  it('moves a guest away and shows it on the other node', async () => {
    await pve.control('PATCH', '/guests/107', { moved_to: 'pve2' });
    expect((await current('qemu/107')) ?? null).toBeNull();
    const { data } = await ask('GET', '/cluster/resources?type=vm');
    expect(data).toContainEqual(expect.objectContaining({ vmid: 107, node: 'pve2' }));
    expect(vmlist().ids['107']).toMatchObject({ node: 'pve2' });
  });

  it('puts an HA service into any state', async () => {
    const add = { method: 'POST', path: '/cluster/ha/resources', params: { sid: 'vm:102' } };
    await pve.control('POST', '/somebody', add);
    await pve.control('POST', '/ha/services/vm:102', { state: 'migrate' });
    expect(pick(await current('qemu/102'), 'ha')).toEqual({ managed: 1, state: 'migrate' });
    const remove = { method: 'DELETE', path: '/cluster/ha/resources/vm:102' };
    await pve.control('POST', '/somebody', remove);
  });
});

describe('a look at the host', () => {
  it('shows a write of a config by its counter, and a start by its pid file', async () => {
    const before = vmlist();
    await ask('PUT', '/nodes/pve1/qemu/103/config', { description: 'seen' });
    const after = vmlist();
    expect(after.ids['103']?.version).toBe(after.version);
    expect(after.version).toBeGreaterThan(before.version);
    expect(after.ids['104']).toEqual(before.ids['104']);
    const pidFile = join(pve.lookDir, 'run/qemu-server/100.pid');
    expect(existsSync(pidFile)).toBe(false);
    await ask('POST', '/nodes/pve1/qemu/100/status/start', {});
    await pve.settle();
    expect(existsSync(pidFile)).toBe(true);
    expect(vmlist()).toEqual(after);
  });
});

describe('a simulator of its own', () => {
  it('serves 1,000 guests', async () => {
    const big = await startSimulator({ guests: 1000 });
    const { ask: askBig, close: closeBig } = asking(big);
    const { data } = await askBig('GET', '/cluster/resources?type=vm');
    closeBig();
    await big.stop();
    expect(data).toHaveLength(1000);
  });

  it('refuses a world it does not understand, and names the field', async () => {
    const world = { guests: [{ vmid: 5, kind: 'qemu' }] } as const;
    await expect(startSimulator({ world: { guests: [...world.guests] } })).rejects.toThrow(
      /64: .*>=100/,
    );
  });

  it.each([
    ['with a signal', (child: ChildProcess) => child.kill('SIGTERM')],
    ['with its parent', (child: ChildProcess) => child.stdin?.end()],
  ])('ends %s and leaves nothing behind', async (_, end) => {
    const main = new URL('main.ts', import.meta.url).pathname;
    const child = spawn(process.execPath, [main, '--die-with-parent'], { stdio: 'pipe' });
    const line = await new Promise<string>((resolve) => {
      child.stdout.once('data', (chunk: Buffer) => resolve(chunk.toString('utf8')));
    });
    const { dir } = JSON.parse(line) as { dir: string };
    const ended = new Promise((resolve) => child.once('close', resolve));
    end(child);
    expect(await ended).toBe(0);
    expect(existsSync(dir)).toBe(false);
  });
});
