import {
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { withCheapLooks } from '../../../src/agent/cheap-looks/cheap-looks.ts';
import { createSignReader } from '../../../src/agent/cheap-looks/host-signs.ts';
import type { Proxmox } from '../../../src/proxmox/node.ts';
import type { ActualState } from '../../../src/reconcile/guest.ts';
import { parseVmid, type Vmid } from '../../../src/reconcile/ids.ts';
import type { GuestApi } from '../../../src/reconcile/ports.ts';
import { type Simulator, startSimulator } from '../../simulator/start.ts';
import { going, nodeFor, realClock } from '../../support/pve-client.ts';

let dir: string;
let pve: Simulator;
let node: Proxmox;
let guests: GuestApi;
let requests: number;
let skippedMs: number;

beforeAll(async () => {
  pve = await startSimulator({ guests: 6, look: true });
});
afterAll(() => pve.stop());

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'pve-reconciler-look-'));
  mkdirSync(join(dir, 'mirror'));
  requests = 0;
  skippedMs = 0;
  node = nodeFor(pve, 'root', { onRequest: () => (requests += 1) });
  const clock = { ...realClock, monotonicMs: () => realClock.monotonicMs() + skippedMs };
  const readSigns = createSignReader(
    {
      mirror: join(dir, 'mirror'),
      qemuRun: join(pve.lookDir, 'run/qemu-server'),
      cgroup: join(pve.lookDir, 'cgroup'),
    },
    pve.node,
  );
  guests = withCheapLooks({ guests: node.guests, clock, readSigns });
  mirror();
});
afterEach(async () => {
  await node.close();
  rmSync(dir, { recursive: true, force: true });
});

/** What pve-reconciler-look.service does every second. */
function mirror(): void {
  for (const name of ['.vmlist', '.version']) {
    copyFileSync(join(pve.lookDir, 'etc-pve', name), join(dir, 'mirror', name));
  }
}

function vmid(id: number): Vmid {
  const parsed = parseVmid(id);
  if (parsed === null) throw new Error(`${id} is no vmid`);
  return parsed;
}

/** One look, as a pass has it, and how many requests it took. */
async function observe(...configs: number[]): Promise<ActualState & { readonly cost: number }> {
  const before = requests;
  const request = { configs: new Set(configs.map(vmid)), wanted: new Set<Vmid>() };
  const actual = await guests.observe(request, going);
  return { ...actual, cost: requests - before };
}

function cores(actual: ActualState, id: number): string | undefined {
  const config = actual.guests.get(vmid(id))?.config;
  return config?.kind === 'known' ? config.config.current.get('cores') : undefined;
}

function digest(actual: ActualState, id: number): string {
  const config = actual.guests.get(vmid(id))?.config;
  return config?.kind === 'known' ? config.config.digest : '';
}

test('while nothing changes a look costs no request, also one that asks for configs again', async () => {
  const first = await observe(100, 101);
  expect(first.cost).toBeGreaterThan(3);
  const again = await observe(100, 101);
  expect(again.cost).toBe(0);
  expect([...again.guests.keys()]).toEqual([...first.guests.keys()]);
  expect(cores(again, 101)).toBe(cores(first, 101));
  expect((await observe()).guests.get(vmid(100))?.config).toEqual({ kind: 'not_read' });
});

describe('a change shows in the next look', () => {
  test('of a config that was read before: it is read again, due or not, and no other', async () => {
    await observe(100, 101);
    await pve.control('PATCH', '/guests/101', { set: { cores: '7' } });
    mirror();
    const seen = await observe();
    expect(cores(seen, 101)).toBe('7');
    expect(seen.guests.get(vmid(100))?.config.kind).toBe('not_read');
    expect(seen.cost).toBeLessThanOrEqual(4);
    expect((await observe(100, 101)).cost).toBe(0);
  });

  test('of a config that was read before there were any signs', async () => {
    rmSync(join(dir, 'mirror/.version'));
    await observe(101);
    mirror();
    await observe();
    await pve.control('PATCH', '/guests/101', { set: { cores: '5' } });
    mirror();
    expect(cores(await observe(), 101)).toBe('5');
  });

  test("of a stranger's, made after a change of our own to another guest", async () => {
    const before = digest(await observe(100, 101), 101);
    const change = { set: { description: 'ours' }, delete: [], digest: before };
    await guests.setConfig({ vmid: vmid(101), kind: 'qemu' }, change, going);
    skippedMs = 5_000;
    mirror();
    await observe();
    await pve.control('PATCH', '/guests/100', { set: { cores: '6' } });
    mirror();
    expect(cores(await observe(), 100)).toBe('6');
  });

  test("of a stranger's, made right after a change of our own: our own is not waited for", async () => {
    const before = digest(await observe(100, 101), 101);
    const change = { set: { description: 'ours again' }, delete: [], digest: before };
    await guests.setConfig({ vmid: vmid(101), kind: 'qemu' }, change, going);
    await pve.control('PATCH', '/guests/100', { set: { cores: '8' } });
    mirror();
    expect(cores(await observe(), 100)).toBe('8');
  });

  test('of power, without a task and without the mirror', async () => {
    expect((await observe()).guests.get(vmid(100))?.power).toBe('running');
    await pve.control('PATCH', '/guests/100', { running: false });
    expect((await observe()).guests.get(vmid(100))?.power).toBe('stopped');
  });

  test('of a task that a stranger starts', async () => {
    await observe();
    await pve.control('POST', '/tasks', { type: 'vzdump', id: '100', duration_ms: 1_000 });
    mirror();
    expect((await observe()).tasks).toHaveLength(1);
    expect((await observe()).cost).toBeGreaterThan(0);
    await pve.settle();
  });

  test('of our own, before the mirror has caught up', async () => {
    const before = digest(await observe(101), 101);
    const change = { set: { description: 'new' }, delete: [], digest: before };
    await guests.setConfig({ vmid: vmid(101), kind: 'qemu' }, change, going);
    expect(digest(await observe(101), 101)).not.toBe(before);
  });
});

describe('what cannot be believed is not: the API is asked', () => {
  test('a mirror that nobody refreshes', async () => {
    await observe();
    const longAgo = new Date(Date.now() - 60_000);
    utimesSync(join(dir, 'mirror/.version'), longAgo, longAgo);
    expect((await observe()).cost).toBeGreaterThan(0);
  });

  test.each(['', '{', '[]', '{"starttime":1}', '{"starttime":1,"vmlist":1,"kvstore":{}}'])(
    'a file that is not understood: %j',
    async (text) => {
      await observe();
      writeFileSync(join(dir, 'mirror/.version'), text);
      expect((await observe()).cost).toBeGreaterThan(0);
    },
  );

  test('counters of another pmxcfs, though they are the same', async () => {
    await observe(101);
    const file = join(dir, 'mirror/.version');
    const version = JSON.parse(readFileSync(file, 'utf8')) as { starttime: number };
    writeFileSync(file, JSON.stringify({ ...version, starttime: version.starttime + 1 }));
    expect((await observe(101)).cost).toBeGreaterThan(3);
  });

  test('a look that did not get the list of running tasks', async () => {
    await pve.addFault({ kind: 'error', status: 400, reason: 'no', path: '/tasks', count: 1 });
    expect((await observe()).tasksKnown).toMatchObject({ kind: 'unknown' });
    const again = await observe();
    expect(again.cost).toBeGreaterThan(0);
    expect(again.tasksKnown).toEqual({ kind: 'complete' });
    expect((await observe()).cost).toBe(0);
  });

  test('a look that did not look for a guest that is wanted now and is not here', async () => {
    await pve.control('PATCH', '/guests/102', { moved_to: 'pve2' });
    mirror();
    await observe();
    const wanted = new Set([100, 102].map(vmid));
    const look = async (): Promise<number> => {
      const before = requests;
      const { elsewhere } = await guests.observe({ configs: new Set(), wanted }, going);
      expect([...elsewhere]).toEqual([[vmid(102), 'pve2']]);
      return requests - before;
    };
    expect(await look()).toBeGreaterThan(0);
    expect(await look()).toBe(0);
    expect((await observe()).cost).toBe(0);
  });

  test('a look that is ten minutes old', async () => {
    await observe();
    skippedMs = 10 * 60_000;
    expect((await observe()).cost).toBeGreaterThan(0);
  });
});
