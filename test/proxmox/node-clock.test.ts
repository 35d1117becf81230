import { describe, expect, it } from 'vitest';
import { PveApi } from '../../src/proxmox/api.ts';
import type { Reply } from '../../src/proxmox/client.ts';
import { NodeClock } from '../../src/proxmox/node-clock.ts';
import { VirtualClock } from './virtual-clock.ts';

const going = new AbortController().signal;
const HOUR_MS = 3_600_000;

/** A node whose clock is `aheadMs` ahead, and that counts how often it is asked. */
function make(aheadMs: number): { clock: VirtualClock; node: NodeClock; asked: () => number } {
  const clock = new VirtualClock();
  let asked = 0;
  const request = (): Promise<Reply> => {
    asked += 1;
    const time = Math.floor((clock.now() + aheadMs) / 1000);
    return Promise.resolve({ kind: 'answer', data: { time }, total: undefined });
  };
  return { clock, node: new NodeClock(new PveApi({ request }, 'pve1'), clock), asked: () => asked };
}

describe("the node's clock", () => {
  it.each([0, HOUR_MS, -HOUR_MS])('%d ms ahead is known to the second', async (aheadMs) => {
    const { node } = make(aheadMs);
    const offsetMs = await node.offsetMs(going);
    expect(Math.abs((offsetMs ?? 0) - aheadMs)).toBeLessThanOrEqual(1_000);
  });

  it('its times become ours', async () => {
    const { node, clock } = make(HOUR_MS);
    await node.offsetMs(going);
    const theirs = Math.floor((clock.now() + HOUR_MS) / 1000);
    expect(Math.abs(node.toAgentMs(theirs) - clock.now())).toBeLessThanOrEqual(1_000);
  });

  it('is asked again after 10 minutes, and when our own clock was stepped', async () => {
    const { node, clock, asked } = make(0);
    await node.offsetMs(going);
    await node.offsetMs(going);
    expect(asked()).toBe(1);
    await clock.advance(600_000);
    await node.offsetMs(going);
    expect(asked()).toBe(2);
    clock.step(-HOUR_MS);
    await node.offsetMs(going);
    expect(asked()).toBe(3);
  });

  it('is learned from the start time of a task, without being asked', async () => {
    const { node, clock, asked } = make(0);
    node.learn(Math.floor((clock.now() + HOUR_MS) / 1000), clock.now());
    expect(Math.abs(((await node.offsetMs(going)) ?? 0) - HOUR_MS)).toBeLessThanOrEqual(1_000);
    expect(asked()).toBe(0);
  });

  it('learns nothing from an answer that took long', async () => {
    const { node, clock, asked } = make(0);
    const sentMs = clock.now();
    await clock.advance(3_000);
    node.learn(Math.floor((clock.now() + HOUR_MS) / 1000), sentMs);
    expect(Math.abs((await node.offsetMs(going)) ?? HOUR_MS)).toBeLessThanOrEqual(1_000);
    expect(asked()).toBe(1);
  });
});
