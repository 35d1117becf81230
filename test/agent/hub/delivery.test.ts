/**
 * Each op once and each receipt, whatever is cut or killed, and wherever: the same small story is
 * told again and again, struck at another of its steps each time.
 */
import { expect, test } from 'vitest';
import type { MemoryDisk } from '../../support/memory-disk.ts';
import type { Strike } from './fake-hub.ts';
import { HubWorld } from './hub-world.ts';

/** Two ops, and between them one that is refused. */
async function tellStory(world: HubWorld): Promise<void> {
  const { hub, agent } = world;
  hub.send(world.sign({ idemp_key: 'a', vmid: 101 }));
  hub.send(world.sign({ idemp_key: 'refused', vmid: 999 }));
  hub.send(world.sign({ idemp_key: 'b', kind: 'set_config', vmid: 102, params: CORES }));
  await hub.until(() => isTold(world, 'a') && isTold(world, 'b') && isRefused(world));
  await hub.until(() => agent.journal.hub().cursor === '3');
}

const CORES = { set: { cores: '4' } };

function isTold({ hub, agent }: HubWorld, key: string): boolean {
  return hub.receipts.some(
    ({ payload }) => payload['op_id'] === agent.opOf(key)?.opId && payload['state'] === 'succeeded',
  );
}

function isRefused({ hub }: HubWorld): boolean {
  return hub.receipts.some(({ payload }) => payload['event_id'] === '2');
}

function expectOnce({ hub, agent }: HubWorld): void {
  expect(agent.node.sent.toSorted()).toEqual(['set_config 102', 'start 101']);
  // A receipt may come twice; it is then the same one.
  const byOp = Map.groupBy(
    hub.receipts.filter(({ payload }) => 'op_id' in payload),
    ({ payload }) => payload['op_id'],
  );
  expect(byOp.size).toBe(2);
  for (const told of byOp.values()) {
    for (const again of told) expect(again).toEqual(told[0]);
  }
}

test.each<Exclude<Strike, null>>(['cut', 'die'])('the hub: %s at each step', async (strike) => {
  let step = 0;
  for (let isStruck = true; isStruck; step += 1) {
    await using world = await HubWorld.start();
    isStruck = false;
    world.hub.strike = (_name, index) => {
      if (index !== step) return null;
      isStruck = true;
      return strike;
    };
    await tellStory(world);
    expectOnce(world);
  }
  expect(step).toBeGreaterThan(12);
});

const POWER_LOSS = (disk: MemoryDisk): MemoryDisk => disk.afterPowerLoss(() => 0);

test.each<[string, ((disk: MemoryDisk) => MemoryDisk) | undefined]>([
  ['is killed', undefined],
  ['loses power, and all that was not synced', POWER_LOSS],
])('the agent %s at each call to its disk', async (_name, left) => {
  let call = 0;
  for (let isStruck = true; isStruck; call += 1) {
    await using world = await HubWorld.start();
    const { agent } = world;
    isStruck = false;
    const struckAt = agent.disk.calls + call;
    agent.disk.faults = ({ index }) => {
      if (index !== struckAt) return null;
      isStruck = true;
      return 'crash';
    };
    const restarted = Promise.withResolvers<void>();
    const unsubscribe = agent.events.subscribe(({ kind }) => {
      if (kind !== 'halted') return;
      unsubscribe();
      world.restart(left).then(restarted.resolve, restarted.reject);
    });
    await tellStory(world);
    if (isStruck) await restarted.promise;
    expectOnce(world);
  }
  expect(call).toBeGreaterThan(12);
});
