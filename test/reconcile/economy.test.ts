/** What work costs in requests to PVE, on top of a pass that finds nothing to do. */
import { describe, expect, it } from 'vitest';
import { ModelWorld } from '../support/model-world.ts';

interface Cost {
  readonly total: number;
  readonly counts: Readonly<Record<string, number>>;
}

async function converge(setUp: (world: ModelWorld) => void): Promise<Cost> {
  const world = new ModelWorld();
  setUp(world);
  await world.start({ intervalMs: null });
  await world.clock.until(world.life.engine.converge(), 60_000);
  const { counts, total } = world.api.wire;
  await world.stop();
  return { total, counts: Object.fromEntries(counts) };
}

const running = { 101: { power: 'running' } };
const configured = { 101: { config: { description: 'new' } } };

async function quiet(isConfigManaged: boolean): Promise<Cost> {
  return converge(({ node, desired }) => {
    node.add(101, { running: true, config: { description: 'new' } });
    desired.put('desired.yaml', isConfigManaged ? configured : running);
  });
}

describe('beyond a quiet run', () => {
  it('a start takes a look, its request, its task and another look', async () => {
    const base = await quiet(false);
    const cost = await converge(({ node, desired }) => {
      node.add(101);
      desired.put('desired.yaml', running);
    });
    expect(cost.total - base.total).toBe(4);
    expect(cost.counts).toMatchObject({ start: 1, task_status: 1, qemu_list: 3 });
  });

  it('a set_config takes a look, its config, the request and the config again', async () => {
    const base = await quiet(true);
    const cost = await converge(({ node, desired }) => {
      node.add(101, { running: true, config: { description: 'old' } });
      desired.put('desired.yaml', configured);
    });
    expect(cost.total - base.total).toBe(4);
    expect(cost.counts).toMatchObject({ set_config: 1, qemu_list: 2, config: 3 });
  });

  it('twenty starts share their looks', async () => {
    const ids = Array.from({ length: 20 }, (_, index) => 101 + index);
    const base = await quiet(false);
    const cost = await converge(({ node, desired }) => {
      for (const id of ids) node.add(id);
      desired.put('desired.yaml', Object.fromEntries(ids.map((id) => [id, { power: 'running' }])));
    });
    expect(cost.counts['start']).toBe(20);
    expect(cost.total - base.total).toBeLessThanOrEqual(20 * 2.3);
  });
});

/** Three lists, as in every pass, and what the work itself takes. */
it.each([
  [
    'start',
    { power: 'running' },
    { qemu_list: 3, lxc_list: 1, tasks: 1, start: 1, task_status: 1 },
  ],
  [
    'set_config',
    { config: { description: 'new' } },
    { qemu_list: 2, lxc_list: 1, tasks: 1, config: 2, set_config: 1 },
  ],
])('a %s in a later pass of the daemon takes four requests more', async (_kind, wish, expected) => {
  const world = new ModelWorld();
  world.node.add(101, { config: { description: 'old' } });
  world.desired.put('desired.yaml', { 101: { config: { description: 'old' } } });
  await world.start({ intervalMs: 30_000 });
  await world.clock.advanceTo(29_000);
  const { counts } = world.api.wire;
  counts.clear();
  world.desired.put('desired.yaml', { 101: wish });
  await world.clock.advanceTo(59_000);
  expect(Object.fromEntries(counts)).toEqual(expected);
  await world.stop();
});

describe('a run', () => {
  it('in which nothing is to be done makes one pass: three lists and the node', async () => {
    expect((await quiet(false)).counts).toEqual({ qemu_list: 1, lxc_list: 1, tasks: 1, node: 1 });
  });

  it('in which all ops end well makes no second pass', async () => {
    const cost = await converge(({ node, desired }) => {
      node.add(101, { config: { cores: '2' } });
      node.add(102, { running: true });
      desired.put('desired.yaml', {
        101: { power: 'running', config: { cores: 4 } },
        102: { power: 'stopped' },
      });
    });
    expect(cost.counts).toMatchObject({ lxc_list: 1, start: 1, stop: 1, set_config: 1 });
  });
});

it('a quiet pass of the daemon reads two lists and the tasks, and configs in turn', async () => {
  const world = new ModelWorld();
  const ids = Array.from({ length: 20 }, (_, index) => 101 + index);
  for (const id of ids) world.node.add(id, { config: { cores: '2' } });
  world.desired.put(
    'desired.yaml',
    Object.fromEntries(ids.map((id) => [id, { config: { cores: 2 } }])),
  );
  await world.start({ intervalMs: 30_000 });
  await world.clock.advanceTo(29_000);
  const afterFirst = new Map(world.api.wire.counts);
  await world.clock.advanceTo(599_000);
  const spent = (name: string): number =>
    (world.api.wire.counts.get(name) ?? 0) - (afterFirst.get(name) ?? 0);
  expect([spent('qemu_list'), spent('lxc_list'), spent('tasks'), spent('node')]).toEqual([
    19, 19, 19, 0,
  ]);
  // Ten minutes less a pass, none older than five minutes: each is read again once or twice.
  expect(spent('config')).toBeGreaterThanOrEqual(20);
  expect(spent('config')).toBeLessThanOrEqual(40);
  await world.stop();
});

it('a full look is made every ten minutes however quiet it is', async () => {
  const world = new ModelWorld();
  world.node.add(101, { config: { cores: '2' } });
  world.desired.put('desired.yaml', { 101: { config: { cores: 2 } } });
  await world.start({ intervalMs: 30_000 });
  await world.clock.advanceTo(1_300_000);
  expect(world.api.wire.counts.get('node')).toBe(3);
  await world.stop();
});

it('nobody is asked about a guest that is not desired', async () => {
  const world = new ModelWorld();
  world.node.add(101, { running: true, config: { cores: '2' } });
  await world.start({ intervalMs: null });
  await world.clock.until(world.life.engine.converge(), 60_000);
  expect(world.api.wire.counts.has('config')).toBe(false);
  expect(world.api.sent).toEqual([]);
  await world.stop();
});
