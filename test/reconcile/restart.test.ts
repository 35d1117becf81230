/** A restart that had begun, and neither of its parts, when the agent was killed. */
import { afterEach, describe, expect, it } from 'vitest';
import { DEFAULT_STOP, type OpRecord } from '../../src/reconcile/op.ts';
import type { ModelGuest } from '../support/model/guest.ts';
import { ModelWorld } from '../support/model-world.ts';
import { vmidOf } from './plan-inputs.ts';

const VMID = vmidOf(101);
const RESTART = { kind: 'restart', params: DEFAULT_STOP } as const;

let world = new ModelWorld();
let waits: string[] = [];
afterEach(() => world.stop());

/** What the next life makes of it; `meanwhile` happens while no agent runs. */
async function restartCutOff(
  meanwhile: (guest: ModelGuest) => void,
  downMs = 1_000,
): Promise<readonly OpRecord[]> {
  world = new ModelWorld();
  waits = [];
  world.onEvent = (event) => {
    if (event.kind === 'waiting' && event.wait !== null) waits.push(event.wait.message);
  };
  const guest = world.node.add(VMID, { running: true });
  let records = 0;
  await world.start({
    intervalMs: null,
    onStep: (_port, method, moment) => {
      if (method !== 'append' || moment !== 'after') return;
      records += 1;
      // Behind `received` and `started`.
      if (records === 2) world.kill();
    },
  });
  void world.life.engine.submit({ origin: 'operator', vmid: VMID, action: RESTART });
  await world.clock.advanceTo(downMs);
  meanwhile(guest);
  await world.start({ intervalMs: null });
  await world.clock.until(world.life.engine.idle(), 60_000);
  return world.journal.records;
}

describe('in the next life', () => {
  it('stops and starts a guest that still runs', async () => {
    const records = await restartCutOff(() => undefined);
    expect(records.at(-1)).toMatchObject({ kind: 'restart', state: 'succeeded' });
    expect(world.api.sent.map(({ kind }) => kind)).toEqual(['stop', 'start']);
  });

  it('waits for what holds the guest', async () => {
    const records = await restartCutOff(({ vmid }) => {
      world.node.stranger('vzdump', world.node.guest(vmid), { forMs: 20_000, lock: 'backup' });
    });
    expect(records.at(-1)).toMatchObject({ kind: 'restart', state: 'succeeded' });
    expect(world.clock.elapsedMs).toBeGreaterThan(20_000);
    expect(new Set(waits)).toEqual(new Set(['the guest is locked (backup) by vzdump of root@pam']));
  });

  it.each([
    ['is gone', () => world.node.guests.delete(VMID), 'not_found'],
    ['is a template now', (guest: ModelGuest) => (guest.isTemplate = true), 'is_template'],
    ['was stopped meanwhile', (guest: ModelGuest) => guest.powerOff(), 'conflict'],
    [
      'was restarted meanwhile',
      (guest: ModelGuest) => {
        guest.powerOff();
        guest.powerOn(world.clock.elapsedMs);
      },
      'conflict',
    ],
    [
      'may not be restarted any more',
      () => (world.objection = () => ({ code: 'gate_denied', message: 'the key is gone' })),
      'gate_denied',
    ],
  ])('does nothing to a guest that %s', async (_what, meanwhile, code) => {
    const records = await restartCutOff(meanwhile);
    expect(records.at(-1)).toMatchObject({ kind: 'restart', state: 'failed', error: { code } });
    expect(world.api.sent).toEqual([]);
  });

  it('does nothing once the op has expired', async () => {
    const records = await restartCutOff(() => undefined, 11 * 60_000);
    expect(records.at(-1)).toMatchObject({ state: 'failed', error: { code: 'expired' } });
    expect(world.api.sent).toEqual([]);
  });

  it('charges the agent that ended nothing', async () => {
    const records = await restartCutOff(() => undefined);
    expect(records.at(-1)).toMatchObject({ kind: 'restart', state: 'succeeded', attempt: 1 });
  });
});
