/** What holds of every plan, whatever is wanted and whatever is there. */
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { DesiredGuest } from '../../src/reconcile/desired.ts';
import type { ConfigLook, Guest } from '../../src/reconcile/guest.ts';
import type { PlannedAction } from '../../src/reconcile/plan.ts';
import { planGuests } from '../../src/reconcile/planner.ts';
import { ModelGuest } from '../support/model/guest.ts';
import {
  actualState,
  anyGuest,
  anyWanted,
  desiredState,
  NOW_MS,
  planContext,
  QUIET_NODE,
} from './plan-inputs.ts';

const IDS = [101, 102, 103];
const anyWishes = fc.tuple(...IDS.map(anyWanted));
const anyNode = fc.tuple(...IDS.map(anyGuest));

function plan(
  wanted: readonly DesiredGuest[],
  guests: readonly Guest[],
): ReturnType<typeof planGuests> {
  return planGuests(desiredState(...wanted), actualState(...guests), QUIET_NODE, planContext());
}

const backwards = <Key, Value>(map: ReadonlyMap<Key, Value>): Map<Key, Value> =>
  new Map([...map].reverse());

/** As PVE would do it, action after action. */
function applyActions(guest: Guest, actions: readonly PlannedAction[]): Guest {
  const model = new ModelGuest(guest.vmid, guest.kind);
  model.power = guest.power;
  model.bootedAtMs = guest.bootedAtMs;
  if (guest.config.kind === 'known') {
    for (const [key, text] of guest.config.config.current) model.config.set(key, text);
    for (const [key, change] of guest.config.config.pending) model.pending.set(key, change);
  }
  for (const { action } of actions) {
    if (action.kind === 'start') model.powerOn(NOW_MS);
    if (action.kind === 'stop') model.powerOff();
    if (action.kind !== 'set_config') continue;
    for (const [key, text] of Object.entries(action.params.set)) model.write(key, text);
    for (const key of action.params.delete) model.write(key, null);
  }
  const config: ConfigLook = { kind: 'known', config: model.read(NOW_MS) };
  return { ...guest, power: model.power, bootedAtMs: model.bootedAtMs, config };
}

/** What runs before it was planned to: the actions of a guest, each decided again. */
function settle(wanted: readonly DesiredGuest[], guests: readonly Guest[]): Guest[] {
  return guests.map((guest) => {
    let now = guest;
    for (let turn = 0; turn < 3; turn++) {
      const entry = plan(wanted, [now]).entries.find(({ vmid }) => vmid === guest.vmid);
      const [next] = entry?.verdict.kind === 'go' ? entry.actions : [];
      if (next !== undefined) now = applyActions(now, [next]);
    }
    return now;
  });
}

describe('a plan', () => {
  it('of what has been applied is empty', () => {
    fc.assert(
      fc.property(anyWishes, anyNode, (wanted, guests) => {
        const left = plan(wanted, settle(wanted, guests)).entries;
        expect(
          left.filter(({ actions, verdict }) => verdict.kind === 'go' && actions.length > 0),
        ).toEqual([]);
      }),
    );
  });

  it('writes what it leaves as difference only where policy, PVE or the next start has the say', () => {
    fc.assert(
      fc.property(anyWishes, anyNode, (wanted, guests) => {
        const left = plan(wanted, settle(wanted, guests)).entries;
        for (const { changes, verdict, conditions } of left) {
          if (verdict.kind !== 'go') continue;
          const explained = new Set(conditions.flatMap(({ keys = [] }) => keys));
          for (const { key } of changes) expect(explained).toContain(key);
        }
      }),
    );
  });

  it('holds no action for a guest nobody wants', () => {
    fc.assert(
      fc.property(anyWanted(101), anyNode, (wanted, guests) => {
        expect(plan([wanted], guests).entries.map(({ vmid }) => vmid)).toEqual([101]);
      }),
    );
  });

  it('has an entry for every guest that is wanted, in the order of their numbers', () => {
    fc.assert(
      fc.property(anyWishes, anyNode, fc.subarray(IDS), (wanted, guests, present) => {
        const there = guests.filter(({ vmid }) => present.includes(vmid));
        const shuffled = [...wanted].reverse();
        expect(plan(shuffled, there).entries.map(({ vmid }) => vmid)).toEqual(IDS);
      }),
    );
  });

  it('is the same whatever the order of keys and guests', () => {
    fc.assert(
      fc.property(anyWishes, anyNode, (wanted, guests) => {
        const turned = wanted.map((one) => ({ ...one, config: backwards(one.config) })).reverse();
        const node = guests.map(({ config, ...guest }): Guest => {
          if (config.kind !== 'known') return { ...guest, config };
          const { current, pending } = config.config;
          const read = {
            ...config.config,
            current: backwards(current),
            pending: backwards(pending),
          };
          return { ...guest, config: { kind: 'known', config: read } };
        });
        expect(plan(turned, node.reverse())).toEqual(plan(wanted, guests));
      }),
    );
  });

  it('never stops a running guest unless power says stopped, and never restarts one', () => {
    fc.assert(
      fc.property(anyWishes, anyNode, (wanted, guests) => {
        for (const { power, actions } of plan(wanted, guests).entries) {
          const kinds = actions.map(({ action }) => action.kind);
          expect(kinds).not.toContain('restart');
          if (power.desired !== 'stopped') expect(kinds).not.toContain('stop');
        }
      }),
    );
  });

  it('never does what cannot be undone, and never forces', () => {
    fc.assert(
      fc.property(anyWishes, anyNode, (wanted, guests) => {
        for (const { actions } of plan(wanted, guests).entries) {
          for (const { reversibility } of actions) expect(reversibility).toBe('benign');
        }
      }),
    );
  });

  it('of an unknown actual state holds no action', () => {
    const problem = { code: 'service_unavailable', message: 'no answer' } as const;
    const unknown = { kind: 'unknown', problem } as const;
    fc.assert(
      fc.property(anyWishes, anyNode, (wanted, guests) => {
        const blind = { ...actualState(), qemu: unknown, lxc: unknown };
        const unlisted = planGuests(desiredState(...wanted), blind, QUIET_NODE, planContext());
        for (const { actions, status } of unlisted.entries) {
          expect([actions, status]).toEqual([[], 'unknown']);
        }
        const unread = plan(
          wanted,
          guests.map((guest) => ({ ...guest, config: unknown })),
        );
        for (const { actions, vmid } of unread.entries) {
          const isManaged = wanted.some((one) => one.vmid === vmid && one.config.size > 0);
          if (isManaged) expect(actions).toEqual([]);
        }
      }),
    );
  });
});
