import { afterEach, describe, expect, it } from 'vitest';
import { type TaskSource, TaskWatcher } from '../../src/proxmox/task-watcher.ts';
import { formatUpid } from '../../src/proxmox/upid.ts';
import type { Upid } from '../../src/reconcile/ids.ts';
import type { TaskEnd, TaskStatus } from '../../src/reconcile/ports.ts';
import { settle, VirtualClock } from './virtual-clock.ts';

const OK: TaskEnd = { kind: 'ok', exitStatus: 'OK' };
const going = new AbortController().signal;

function upid(pid: number, type = 'qmstart'): Upid {
  const made = formatUpid({
    node: 'pve1',
    pid,
    pstart: pid,
    startedS: 1_795_000_000,
    type,
    id: '100',
    user: 'agent@pve!agent',
  });
  if (made === null) throw new Error('no UPID');
  return made;
}

/** A node whose tasks end when told, on the clock of the test. */
class FakeNode implements TaskSource {
  readonly clock = new VirtualClock();
  readonly watcher = new TaskWatcher(this, this.clock);
  readonly asked: string[] = [];
  isDown = false;
  hasNoList = false;
  /** The daemon that would have written down the ends was killed. */
  hasStaleList = false;
  readonly #endsAtMs = new Map<Upid, number>();
  readonly #ends = new Map<Upid, TaskEnd>();

  run(task: Upid, forMs: number, end: TaskEnd = OK): Promise<TaskEnd> {
    this.#endsAtMs.set(task, this.clock.monotonicMs() + forMs);
    this.#ends.set(task, end);
    return this.watcher.follow(task, going);
  }

  status(task: Upid): Promise<TaskStatus> {
    this.asked.push('status');
    if (this.isDown) {
      const problem = { code: 'service_unavailable', message: 'down' } as const;
      return Promise.resolve({ kind: 'unreadable', problem });
    }
    return Promise.resolve(
      this.#isOver(task)
        ? { kind: 'ended', end: this.#ends.get(task) ?? { kind: 'vanished' } }
        : { kind: 'running' },
    );
  }

  listed(): Promise<ReadonlyMap<Upid, TaskStatus> | null> {
    this.asked.push('list');
    if (this.isDown || this.hasNoList) return Promise.resolve(null);
    const statuses = new Map<Upid, TaskStatus>();
    for (const [task, end] of this.#ends) {
      if (!this.#isOver(task) || this.hasStaleList) statuses.set(task, { kind: 'running' });
      else if (end.kind === 'ok') statuses.set(task, { kind: 'ended', end });
    }
    return Promise.resolve(statuses);
  }

  #isOver(task: Upid): boolean {
    return (this.#endsAtMs.get(task) ?? 0) <= this.clock.monotonicMs();
  }
}

/** When it resolved, on the clock of the node. */
async function endedAt(node: FakeNode, end: Promise<TaskEnd>, withinMs: number): Promise<number> {
  const ended = end.then(() => node.clock.monotonicMs());
  await node.clock.advance(withinMs);
  return Promise.race([ended, Promise.reject(new Error(`it did not end in ${withinMs} ms`))]);
}

describe('the task watcher', () => {
  const nodes: FakeNode[] = [];
  const make = (): FakeNode => {
    const node = new FakeNode();
    nodes.push(node);
    return node;
  };

  afterEach(() => {
    for (const node of nodes.splice(0)) {
      node.watcher.close();
      expect(node.clock.sleeping).toBe(0);
    }
  });

  it('a start of the usual length takes one request', async () => {
    const node = make();
    expect(await endedAt(node, node.run(upid(1), 190), 1_000)).toBeLessThan(250);
    expect(node.asked).toEqual(['status']);
  });

  it('several tasks end though the list is all that fails', async () => {
    const node = make();
    node.hasNoList = true;
    const ends = Promise.all([1, 2, 3].map((n) => node.run(upid(n), 300)));
    await endedAt(
      node,
      ends.then(() => OK),
      10_000,
    );
    // Each asks for itself after one list in vain, not in every round.
    expect(node.asked.filter((what) => what === 'status').length).toBeLessThan(12);
  });

  it('learns how long a type takes: later ones are asked for once', async () => {
    const node = make();
    for (let n = 1; n <= 30; n++) await endedAt(node, node.run(upid(n), 650), 2_000);
    const first = node.asked.splice(0).length;
    expect(first).toBeGreaterThan(30);
    for (let n = 31; n <= 60; n++) await endedAt(node, node.run(upid(n), 650), 2_000);
    expect(node.asked.length).toBeLessThanOrEqual(50);
  });

  it('what it learned never delays an end by more than a second', async () => {
    const node = make();
    for (let n = 1; n <= 20; n++) {
      await endedAt(node, node.run(upid(n, 'qmshutdown'), 60_000), 90_000);
    }
    const atMs = node.clock.monotonicMs();
    const end = await endedAt(node, node.run(upid(99, 'qmshutdown'), 10), 5_000);
    expect(end - atMs).toBeLessThanOrEqual(1_000);
  });

  it('asks less and less often, and at least every 2 s', async () => {
    const node = make();
    const end = await endedAt(node, node.run(upid(1), 60_000), 70_000);
    expect(end).toBeLessThanOrEqual(62_000);
    expect(node.asked.length).toBeLessThan(50);
  });

  it('many are followed and settled with one list per tick', async () => {
    const node = make();
    const ends = [1, 2, 3, 4, 5, 6].map((n) => node.run(upid(n), 3_000));
    await node.clock.advance(10_000);
    expect(await Promise.all(ends)).toEqual(ends.map(() => OK));
    expect(new Set(node.asked)).toEqual(new Set(['list']));
    expect(node.asked.length).toBeLessThan(15);
  });

  it('of those that end together one that failed is asked for, with its log', async () => {
    const node = make();
    const failed: TaskEnd = { kind: 'unknown', exitStatus: 'unexpected status', log: [] };
    const ends = [node.run(upid(1), 190), node.run(upid(2), 190, failed), node.run(upid(3), 190)];
    await node.clock.advance(1_000);
    expect(await Promise.all(ends)).toEqual([OK, failed, OK]);
    expect(node.asked).toEqual(['list', 'status']);
  });

  it('a list for one that is due tells the end of another before that is due', async () => {
    const node = make();
    for (let n = 1; n <= 20; n++) {
      await endedAt(node, node.run(upid(n, 'qmshutdown'), 60_000), 90_000);
    }
    const atMs = node.clock.monotonicMs();
    const start = node.run(upid(98), 190);
    const end = await endedAt(node, node.run(upid(99, 'qmshutdown'), 10), 5_000);
    expect(end - atMs).toBeLessThan(250);
    expect(await start).toEqual(OK);
  });

  it('a list that never shows the ends delays them by half a minute, not for ever', async () => {
    const node = make();
    node.hasStaleList = true;
    const ends = [1, 2, 3].map((n) => node.run(upid(n), 1_000));
    const all = Promise.all(ends).then(() => OK);
    expect(await endedAt(node, all, 60_000)).toBeLessThan(35_000);
    expect(node.asked.filter((what) => what === 'status')).toHaveLength(3);
  });

  it('gives up on nothing while the node is down, and asks ever less often', async () => {
    const node = make();
    node.isDown = true;
    const end = node.run(upid(1), 1_000);
    await node.clock.advance(600_000);
    expect(node.asked.length).toBeLessThan(70);
    node.isDown = false;
    await node.clock.advance(11_000);
    expect(await end).toEqual(OK);
  });

  it('tells apart two tasks that had the same pid', async () => {
    const node = make();
    const old = upid(7);
    const recycled = formatUpid({
      node: 'pve1',
      pid: 7,
      pstart: 999,
      startedS: 1_795_000_500,
      type: 'qmstart',
      id: '100',
      user: 'agent@pve!agent',
    });
    if (recycled === null) throw new Error('no UPID');
    const failed: TaskEnd = { kind: 'vanished' };
    const ends = [node.run(old, 100, failed), node.run(recycled, 5_000)];
    await node.clock.advance(10_000);
    expect(await Promise.all(ends)).toEqual([failed, OK]);
  });

  it('two who follow the same task share its requests', async () => {
    const node = make();
    const first = node.run(upid(1), 150);
    const second = node.watcher.follow(upid(1), going);
    await node.clock.advance(1_000);
    expect(await Promise.all([first, second])).toEqual([OK, OK]);
    expect(node.asked).toEqual(['status']);
  });

  it('one who leaves ends the following, and nothing is asked any more', async () => {
    const node = make();
    const abort = new AbortController();
    const left = node.watcher.follow(upid(1), abort.signal);
    await node.clock.advance(10);
    abort.abort(new Error('leaving'));
    await expect(left).rejects.toThrow('leaving');
    await settle();
    node.asked.length = 0;
    await node.clock.advance(60_000);
    expect(node.asked).toEqual([]);
  });
});
