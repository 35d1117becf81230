import { describe, expect, it } from 'vitest';
import type { DesiredGuest } from '../../src/reconcile/desired.ts';
import type { Guest } from '../../src/reconcile/guest.ts';
import type { PlanEntry } from '../../src/reconcile/plan.ts';
import { planGuests } from '../../src/reconcile/planner.ts';
import {
  actualState,
  desiredState,
  guestConfig,
  planContext,
  QUIET_NODE,
  seenGuest,
  vmidOf,
  wantedGuest,
} from './plan-inputs.ts';

function planOne(wanted: Partial<DesiredGuest>, guest: Partial<Guest>): PlanEntry | undefined {
  const desired = desiredState(wantedGuest(wanted));
  return planGuests(desired, actualState(seenGuest(guest)), QUIET_NODE, planContext()).entries[0];
}

function withConfig(...args: Parameters<typeof guestConfig>): Pick<Guest, 'config'> {
  return { config: { kind: 'known', config: guestConfig(...args) } };
}

const RUNNING = { power: 'running', bootedAtMs: 1 } as const;

const wish = (net0: string): Partial<DesiredGuest> => ({ config: new Map([['net0', net0]]) });

interface PowerCase {
  readonly desired: DesiredGuest['power'];
  readonly actual: 'running' | 'stopped';
  readonly actions: readonly string[];
}

describe('the power of a guest', () => {
  const cases: readonly PowerCase[] = [
    { desired: 'running', actual: 'stopped', actions: ['start'] },
    { desired: 'running', actual: 'running', actions: [] },
    { desired: 'stopped', actual: 'running', actions: ['stop'] },
    { desired: 'stopped', actual: 'stopped', actions: [] },
    { desired: 'initial', actual: 'stopped', actions: ['start'] },
    { desired: 'initial', actual: 'running', actions: [] },
    { desired: 'unmanaged', actual: 'stopped', actions: [] },
    { desired: 'unmanaged', actual: 'running', actions: [] },
  ];
  it.each(cases)('wanted $desired, seen $actual: $actions', ({ desired, actual, actions }) => {
    const bootedAtMs = actual === 'running' ? 1 : null;
    const entry = planOne({ power: desired }, { power: actual, bootedAtMs });
    expect(entry?.actions.map(({ action }) => action.kind)).toEqual(actions);
    expect(entry?.status).toBe(actions.length === 0 ? 'in_sync' : 'drift');
  });

  it('is changed in the order stop, set_config, and set_config, start', () => {
    const config = new Map([['onboot', '1']]);
    const stop = planOne({ power: 'stopped', config }, RUNNING);
    const start = planOne({ power: 'running', config }, {});
    expect(stop?.actions.map(({ action }) => action.kind)).toEqual(['stop', 'set_config']);
    expect(start?.actions.map(({ action }) => action.kind)).toEqual(['set_config', 'start']);
  });
});

describe('the config of a guest', () => {
  it('is compared in three columns, and one set_config carries only what differs', () => {
    const config = new Map([
      ['cores', '4'],
      ['description', null],
      ['onboot', '1'],
      ['tags', 'a'],
    ]);
    const seen = guestConfig(
      { cores: '2', description: 'x', onboot: '1', tags: 'b' },
      { tags: { kind: 'set', value: 'c' } },
    );
    const entry = planOne({ config }, { ...RUNNING, config: { kind: 'known', config: seen } });
    expect(entry?.changes).toEqual([
      { key: 'cores', desired: '4', current: '2', reversibility: 'benign', isWritten: false },
      {
        key: 'description',
        desired: null,
        current: 'x',
        reversibility: 'benign',
        isWritten: false,
      },
      {
        key: 'tags',
        desired: 'a',
        current: 'b',
        pending: 'c',
        reversibility: 'benign',
        isWritten: false,
      },
    ]);
    expect(entry?.actions).toEqual([
      {
        action: {
          kind: 'set_config',
          params: { set: { cores: '4', tags: 'a' }, delete: ['description'] },
        },
        reversibility: 'benign',
        digest: 'd'.repeat(40),
        remarks: [],
      },
    ]);
  });

  it('that is written already needs a restart while it runs, and nothing while it is off', () => {
    const config = new Map([['cores', '4']]);
    const seen = withConfig({ cores: '2' }, { cores: { kind: 'set', value: '4' } });
    const running = planOne({ config }, { ...RUNNING, ...seen });
    expect(running).toMatchObject({ status: 'drift', actions: [] });
    expect(running?.conditions).toMatchObject([{ code: 'restart_required', keys: ['cores'] }]);
    expect(planOne({ config }, seen)).toMatchObject({ status: 'in_sync', conditions: [] });
  });

  it('whose pending delete would undo what is wanted is written again', () => {
    const seen = withConfig({ cores: '4' }, { cores: { kind: 'delete' } });
    const entry = planOne({ config: new Map([['cores', '4']]) }, { ...RUNNING, ...seen });
    expect(entry?.actions[0]?.action).toMatchObject({ params: { set: { cores: '4' } } });
  });

  it('leaves to PVE what the wish leaves out, and keeps it when the rest is written', () => {
    const mac = 'virtio=BC:24:11:00:00:01';
    const seen = withConfig({ net0: `${mac},bridge=vmbr0` });
    expect(planOne(wish('virtio,bridge=vmbr0'), seen)?.status).toBe('in_sync');
    const moved = planOne(wish('virtio,bridge=vmbr1'), seen);
    expect(moved?.actions[0]?.action).toMatchObject({
      params: { set: { net0: `${mac},bridge=vmbr1` } },
    });
  });

  it('with a secret is compared by what was applied, and masked', () => {
    const wanted = desiredState(wantedGuest({ config: new Map([['cipassword', 'hunter2']]) }));
    const seen = seenGuest(withConfig({ cipassword: '**********' }));
    const plan = (isApplied: boolean): PlanEntry | undefined =>
      planGuests(
        wanted,
        actualState(seen),
        QUIET_NODE,
        planContext({ isSecretApplied: () => isApplied }),
      ).entries[0];
    expect(plan(true)?.status).toBe('in_sync');
    expect(plan(false)?.changes).toMatchObject([{ desired: '********', current: '********' }]);
  });

  it('that could not be read, or not yet, is unknown and holds nothing', () => {
    const config = new Map([['cores', '4']]);
    const problem = { code: 'timeout', message: 'no answer' } as const;
    const cases = [{ kind: 'not_read' }, { kind: 'unknown', problem }] as const;
    for (const look of cases) {
      const entry = planOne({ power: 'running', config }, { config: look });
      expect(entry).toMatchObject({ status: 'unknown', actions: [], verdict: { kind: 'wait' } });
    }
  });

  it('that allocates is denied by key, and the rest is written', () => {
    const config = new Map([
      ['onboot', '1'],
      ['scsi1', 'local-lvm:32'],
    ]);
    const entry = planOne({ config }, {});
    expect(entry?.actions[0]?.action).toMatchObject({
      params: { set: { onboot: '1' }, delete: [] },
    });
    expect(entry?.conditions).toMatchObject([{ code: 'gate_denied', keys: ['scsi1'] }]);
  });
});

describe('a guest that is not listed', () => {
  const problem = { code: 'timeout', message: 'no answer' } as const;
  const unknown = { kind: 'unknown', problem } as const;
  const cases = [
    { name: 'is not found where both lists came', fields: {}, code: 'not_found' },
    { name: 'is unknown where one list did not', fields: { lxc: unknown }, code: 'unknown' },
    {
      name: 'is unknown where it may be there all the same',
      fields: { unseen: new Map([[vmidOf(101), problem]]) },
      code: 'unknown',
    },
    {
      name: 'has moved where the cluster says so',
      fields: { elsewhere: new Map([[vmidOf(101), 'pve2']]) },
      code: 'guest_moved',
    },
  ] as const;
  it.each(cases)('$name', ({ fields, code }) => {
    const actual = { ...actualState(), ...fields };
    const wanted = desiredState(wantedGuest({ power: 'running' }));
    const [entry] = planGuests(wanted, actual, QUIET_NODE, planContext()).entries;
    expect(entry).toMatchObject({ actions: [], conditions: [{ code }] });
  });

  it('is not found where the list of its kind came, whatever the other says', () => {
    const wanted = desiredState(wantedGuest({ kind: 'qemu', power: 'running' }));
    const actual = { ...actualState(), lxc: unknown };
    const [entry] = planGuests(wanted, actual, QUIET_NODE, planContext()).entries;
    expect(entry).toMatchObject({ conditions: [{ code: 'not_found' }] });
  });

  it('and claimed by two documents is left alone, as one that is there', () => {
    const claimedTwice = new Map([[vmidOf(101), ['a.yaml', 'b.yaml']]]);
    const wanted = { ...desiredState(), claimedTwice };
    for (const [actual, name] of [
      [actualState(), null],
      [actualState(seenGuest()), 'web'],
    ] as const) {
      const [entry] = planGuests(wanted, actual, QUIET_NODE, planContext()).entries;
      expect(entry).toMatchObject({ name, actions: [], conditions: [{ code: 'claimed_twice' }] });
    }
  });
});

it.each([
  [{ kind: 'lxc' } as const, 'kind_mismatch', 'it is qemu, desired says lxc'],
  [{ name: 'db' }, 'name_mismatch', 'it is called web, desired says db'],
])('a guest that is not the one desired (%j) is left alone', (guard, code, message) => {
  const entry = planOne({ ...guard, power: 'running' }, {});
  expect(entry).toMatchObject({ actions: [], conditions: [{ code, message }] });
});

it('a guest without a name is not the one that is desired by name', () => {
  const entry = planOne({ name: 'db', power: 'running' }, { name: null });
  expect(entry?.conditions).toMatchObject([{ message: 'it is called nothing, desired says db' }]);
});

it('HA is said to cut the power of a VM at its timeout', () => {
  const ha = { kind: 'managed', state: 'started' } as const;
  const vm = planOne({ power: 'stopped' }, { ...RUNNING, ha });
  const container = planOne({ power: 'stopped' }, { ...RUNNING, ha, kind: 'lxc' });
  expect(vm?.actions[0]?.remarks).toEqual([expect.stringMatching(/^HA cuts the power after 60 s/)]);
  expect(container?.actions[0]?.remarks).toEqual([]);
});
