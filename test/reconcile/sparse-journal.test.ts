/**
 * A journal whose records have only what every record has: written by another version, repaired by
 * hand. What is in flight there is taken up, and what no record tells is not made up.
 */
import { afterEach, describe, expect, it } from 'vitest';
import { makeOpId } from '../../src/reconcile/ids.ts';
import type { OpRecord, OpRecordDraft } from '../../src/reconcile/op.ts';
import type { GuestSetup } from '../support/model/node.ts';
import { ModelWorld } from '../support/model-world.ts';
import { vmidOf } from './plan-inputs.ts';

type Own = Pick<OpRecordDraft, 'kind' | 'state' | 'attempt'>;

function ownRecords(kind: OpRecordDraft['kind'], ...states: OpRecordDraft['state'][]): Own[] {
  return states.map((state) => ({ kind, state, attempt: state === 'received' ? 0 : 1 }));
}

let world = new ModelWorld();
afterEach(() => world.stop());

/** What an agent writes that finds these records of an op, and of a part of it. */
async function takeUp(
  guest: GuestSetup,
  own: readonly Own[],
  ofPart: readonly Own[] = [],
): Promise<readonly OpRecord[]> {
  world = new ModelWorld();
  world.node.add(101, guest);
  await world.start({ intervalMs: null });
  const [opId, partId] = [makeOpId(world.random), makeOpId(world.random)];
  const base = { vmid: vmidOf(101), guest_kind: 'qemu', origin: 'hub' } as const;
  const { ledger } = world.ports;
  for (const record of own) await ledger.append({ ...base, ...record, op_id: opId });
  for (const record of ofPart) {
    await ledger.append({ ...base, ...record, op_id: partId, parent_op_id: opId });
  }
  const written = own.length + ofPart.length;
  world.kill();
  await world.start({ intervalMs: null });
  await world.clock.until(world.life.engine.idle(), 300_000);
  return world.journal.records.slice(written);
}

function sent(): string[] {
  return world.api.sent.map(({ kind }) => kind);
}

function endOf(records: readonly OpRecord[]): OpRecord | undefined {
  return records.findLast(({ parent_op_id: parent }) => parent === undefined);
}

describe('an op that is only received', () => {
  it.each([
    ['start', {}, ['start']],
    ['stop', { running: true }, ['stop']],
    ['restart', { running: true }, ['stop', 'start']],
  ] as const)('%s runs to its end, under no correlation id', async (kind, guest, requests) => {
    const records = await takeUp(guest, ownRecords(kind, 'received'));
    expect(endOf(records)).toMatchObject({ kind, state: 'succeeded' });
    expect(sent()).toEqual(requests);
    for (const record of records) expect(record).not.toHaveProperty('correlation_id');
  });
});

describe('an op that had begun, on a guest of which nothing is told', () => {
  const start = ownRecords('start', 'received', 'started');

  it('ends as done where the guest is as wanted', async () => {
    expect(endOf(await takeUp({ running: true }, start))).toMatchObject({ state: 'succeeded' });
    expect(sent()).toEqual([]);
  });

  it('is not sent again: whether the guest has changed since cannot be seen', async () => {
    const end = endOf(await takeUp({}, start));
    expect(end).toMatchObject({ state: 'failed', error: { code: 'interrupted' } });
    expect(sent()).toEqual([]);
  });
});

it('a restart whose stop has failed, nobody knows why, ends as failed and leaves the guest', async () => {
  const restart = ownRecords('restart', 'received', 'started');
  const stop = ownRecords('stop', 'started', 'failed');
  const end = endOf(await takeUp({ running: true }, restart, stop));
  const message = 'not stopped, so not restarted: it failed without a reason';
  expect(end).toMatchObject({ state: 'failed', error: { code: 'internal_error', message } });
  expect(sent()).toEqual([]);
});
