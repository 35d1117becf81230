/** What looks make the agent remember, where it depends on what was seen before or is listed first. */
import { describe, expect, it } from 'vitest';
import type { DesiredGuest } from '../../src/reconcile/desired.ts';
import type { ActualState, BulkTask, RunningTask } from '../../src/reconcile/guest.ts';
import type { Upid, Vmid } from '../../src/reconcile/ids.ts';
import type { Hold, Note } from '../../src/reconcile/ports.ts';
import { Upkeep } from '../../src/reconcile/upkeep.ts';
import {
  actualState,
  desiredState,
  NOW_MS,
  seenGuest,
  upidOf,
  vmidOf,
  wantedGuest,
} from './plan-inputs.ts';

const LEDGER = {
  holds: () => new Map(),
  isInitialDone: () => false,
  lastUpid: () => null,
  opsInFlight: () => [],
  wasStartedLately: () => false,
  rememberedSince: () => null,
  lastLifeAtMs: NOW_MS,
};

const UP = actualState(seenGuest({ power: 'running' }));
const DOWN = actualState(seenGuest({ power: 'stopped' }));

function bulk(type: BulkTask['type'], startedAtMs: number): BulkTask {
  return { upid: upidOf(type, ''), type, startedAtMs, endedAtMs: null };
}

describe('of two bulk tasks the one begun last counts, whichever is listed first', () => {
  const desired = desiredState(wantedGuest({ power: 'running' }));
  const earlier = NOW_MS - 1_000;

  it.each([
    ['a stop', bulk('stopall', NOW_MS), bulk('startall', earlier), ['hold']],
    ['a start', bulk('startall', NOW_MS), bulk('stopall', earlier), []],
  ])('%s', (_last, newer, older, kinds) => {
    for (const bulkTasks of [
      [newer, older],
      [older, newer],
    ]) {
      const upkeep = new Upkeep();
      upkeep.heed(desired, UP, LEDGER);
      const notes = upkeep.heed(desired, { ...DOWN, bulkTasks }, LEDGER);
      expect(notes.map(({ kind }) => kind)).toEqual(kinds);
    }
  });
});

it('a guest that was started right before this life began has had its one start', () => {
  const desired = desiredState(wantedGuest({ power: 'initial' }));
  const started = { ...LEDGER, wasStartedLately: () => true };
  const upkeep = new Upkeep();
  expect(upkeep.heed(desired, DOWN, LEDGER)).toEqual([]);
  expect(upkeep.heed(desired, DOWN, started)).toEqual([]);
  const notes = new Upkeep().heed(desired, DOWN, started);
  expect(notes).toEqual([{ kind: 'initial_done', vmid: 101 }]);
});

describe('a bulk stop', () => {
  it.each<[DesiredGuest['power'], number]>([
    ['running', 1],
    ['initial', 1],
    ['stopped', 0],
    ['unmanaged', 0],
  ])('of a guest wanted %s makes %i holds', (power, count) => {
    const desired = desiredState(wantedGuest({ power }));
    const upkeep = new Upkeep();
    const done = { ...LEDGER, isInitialDone: () => true };
    upkeep.heed(desired, UP, done);
    const notes = upkeep.heed(desired, { ...DOWN, bulkTasks: [bulk('stopall', NOW_MS)] }, done);
    expect(notes.map(({ kind }) => kind)).toEqual(Array.from({ length: count }, () => 'hold'));
  });

  it('is remembered until a whole look has shown what it took down', () => {
    const desired = desiredState(wantedGuest({ power: 'running' }));
    const upkeep = new Upkeep();
    upkeep.heed(desired, UP, LEDGER);
    const problem = { code: 'timeout', message: 'no list' } as const;
    const blind = { ...UP, qemu: { kind: 'unknown', problem }, guests: new Map() } as const;
    const over = { ...blind, bulkTasks: [{ ...bulk('stopall', NOW_MS), endedAtMs: NOW_MS }] };
    expect(upkeep.heed(desired, over, LEDGER)).toEqual([]);
    expect(upkeep.heed(desired, DOWN, LEDGER).map(({ kind }) => kind)).toEqual(['hold']);
    expect(upkeep.heed(desired, DOWN, LEDGER)).toEqual([]);
  });

  it('is not waited for longer where a list never comes', () => {
    const desired = desiredState(wantedGuest({ power: 'running' }));
    const upkeep = new Upkeep();
    const problem = { code: 'timeout', message: 'no list' } as const;
    const blind = { ...UP, qemu: { kind: 'unknown', problem } } as const;
    const over = { ...blind, bulkTasks: [{ ...bulk('stopall', NOW_MS), endedAtMs: NOW_MS }] };
    upkeep.heed(desired, UP, LEDGER);
    upkeep.heed(desired, over, LEDGER);
    upkeep.heed(desired, blind, LEDGER);
    upkeep.heed(desired, blind, LEDGER);
    expect(upkeep.heed(desired, { ...DOWN, qemu: blind.qemu }, LEDGER)).toEqual([]);
  });

  it('from before this life is none of its business, also where its first look lacks a list', () => {
    const desired = desiredState(wantedGuest({ power: 'running' }));
    const upkeep = new Upkeep();
    const problem = { code: 'timeout', message: 'no list' } as const;
    const bulkTasks = [{ ...bulk('stopall', NOW_MS), endedAtMs: NOW_MS }];
    const first = { ...UP, qemu: { kind: 'unknown', problem }, guests: new Map(), bulkTasks };
    upkeep.heed(desired, first as typeof UP, LEDGER);
    expect(upkeep.heed(desired, DOWN, LEDGER)).toEqual([]);
  });

  it.each([
    ['is gone on with where its last life has left holds of it', 'stopall: off', 0, ['hold']],
    ['is not where that has noted something since', 'stopall: off', 6_000, []],
    ['is not where a person has left one', 'by hand', 0, []],
  ])('from before this life %s', (_what, reason, afterMs, kinds) => {
    const held = new Map([[vmidOf(102), { vmid: vmidOf(102), untilMs: null, reason }]]);
    const ledger = { ...LEDGER, holds: () => held, lastLifeAtMs: NOW_MS + afterMs };
    const upkeep = new Upkeep();
    const problem = { code: 'timeout', message: 'no list' } as const;
    const bulkTasks = [{ ...bulk('stopall', NOW_MS), endedAtMs: NOW_MS }];
    const qemu = { kind: 'unknown', problem } as const;
    const desired = desiredState(wantedGuest({ power: 'running' }));
    expect(upkeep.heed(desired, { ...UP, qemu, guests: new Map(), bulkTasks }, ledger)).toEqual([]);
    expect(upkeep.heed(desired, DOWN, ledger).map(({ kind }) => kind)).toEqual(kinds);
  });

  it('of a guest that two documents claim is held, too', () => {
    const claimedTwice = new Map([[vmidOf(101), ['a.yaml', 'b.yaml']]]);
    const desired = { ...desiredState(), claimedTwice };
    const upkeep = new Upkeep();
    upkeep.heed(desired, UP, LEDGER);
    const notes = upkeep.heed(desired, { ...DOWN, bulkTasks: [bulk('stopall', NOW_MS)] }, LEDGER);
    expect(notes.map(({ kind }) => kind)).toEqual(['hold']);
  });

  it('gives back the hold it took the place of, as it would be without', () => {
    const held = (id: number, untilMs: number): [Vmid, Hold] => {
      const under = { untilMs, reason: 'by hand' };
      return [
        vmidOf(id),
        { vmid: vmidOf(id), untilMs: null, reason: 'stopall: taken down', under },
      ];
    };
    const holds = new Map([held(101, NOW_MS + 1), held(102, NOW_MS - 1)]);
    const startall = { ...UP, lookedAtMs: NOW_MS, bulkTasks: [bulk('startall', NOW_MS)] };
    const notes = new Upkeep().heed(desiredState(), startall, { ...LEDGER, holds: () => holds });
    expect(notes).toEqual([
      { kind: 'hold', hold: { vmid: 101, untilMs: NOW_MS + 1, reason: 'by hand' } },
      { kind: 'hold', hold: { vmid: 102, untilMs: NOW_MS - 1, reason: 'by hand' } },
    ]);
  });

  it('that is over ends the holds it has made, and no others', () => {
    const hold = (id: number, reason: string): [Vmid, Hold] => {
      return [vmidOf(id), { vmid: vmidOf(id), untilMs: null, reason }];
    };
    const holds = new Map([hold(101, 'by hand'), hold(102, 'stopall: taken down')]);
    const startall = { ...UP, bulkTasks: [bulk('startall', NOW_MS)] };
    const notes = new Upkeep().heed(desiredState(), startall, { ...LEDGER, holds: () => holds });
    expect(notes).toEqual([{ kind: 'resume_guest', vmid: 102 }]);
  });
});

it('of two late tasks of ours each is noted once, though the ledger keeps the newer alone', () => {
  const vmid = vmidOf(101);
  const late = (type: string): RunningTask => {
    const [upid, user] = [upidOf(type, '101'), 'root@pam!agent'];
    return { upid, type, vmid, user, startedAtMs: NOW_MS, isOurs: true };
  };
  const tasks = [late('qmshutdown'), late('qmstart')];
  const [older, newer] = [upidOf('qmshutdown', '101'), upidOf('qmstart', '101')];
  const upkeep = new Upkeep();
  const heed = (lastUpid: Upid | null): Note[] =>
    upkeep.heed(desiredState(), { ...DOWN, tasks }, { ...LEDGER, lastUpid: () => lastUpid });
  expect(heed(null)).toEqual([
    { kind: 'late_effect', vmid, upid: older },
    { kind: 'late_effect', vmid, upid: newer },
  ]);
  expect(heed(newer)).toEqual([]);
});

describe('a guest that is another one now', () => {
  const [vmid, otherVmid] = [vmidOf(101), vmidOf(102)];
  const known = { ...LEDGER, rememberedSince: (): number | null => NOW_MS };
  const forgotten: Note[] = [{ kind: 'forget_guest', vmid }];
  const replacedAt = (endedAtMs: number): ActualState['replaced'] =>
    new Map([[vmid, { upid: upidOf('qmrestore', '101'), endedAtMs }]]);

  it.each([
    ['after what is remembered of it', known, 1, forgotten],
    ['before that', known, 0, []],
    ['of which nothing is remembered', LEDGER, 1, []],
  ])('is told by a task that ended %s', (_when, ledger, afterMs, notes) => {
    const replaced = { ...UP, replaced: replacedAt(NOW_MS + afterMs) };
    expect(new Upkeep().findReplaced(replaced, ledger)).toEqual(notes);
  });

  it.each<[string, boolean, number, number, Note[]]>([
    ['that it knows from its list is heeded once, whatever the dates', false, -60_000, -9_000, []],
    ['before facts that are dated ahead replaces them', true, 60_000, -9_000, forgotten],
    ['dated ahead of a look is one', true, -60_000, 60_000, forgotten],
  ])('after the first look a replacement %s', (_what, isNews, sinceMs, endedMs, notes) => {
    const upkeep = new Upkeep();
    const look = { ...UP, lookedAtMs: NOW_MS, replaced: replacedAt(NOW_MS + endedMs) };
    upkeep.findReplaced(isNews ? UP : look, LEDGER);
    upkeep.heed(desiredState(), UP, LEDGER);
    const ledger = { ...LEDGER, rememberedSince: () => NOW_MS + sinceMs };
    expect(upkeep.findReplaced(look, ledger)).toEqual(notes);
  });

  it('is not told by a task dated ahead to a life that does not know since when', () => {
    const look = { ...UP, lookedAtMs: NOW_MS, replaced: replacedAt(NOW_MS + 60_000) };
    expect(new Upkeep().findReplaced(look, known)).toEqual([]);
  });

  /** As looks find it, each so long after the first; `nowhere` false: there, or not to be seen. */
  function notesOf(looks: readonly [number, boolean][], ledger = known): Note[][] {
    const upkeep = new Upkeep();
    return looks.map(([afterMs, isNowhere]) => {
      const nowhere = new Set(isNowhere ? [vmid] : []);
      const lookedAtMs = NOW_MS + afterMs;
      return upkeep.findReplaced({ ...UP, guests: new Map(), lookedAtMs, nowhere }, ledger);
    });
  }

  it.each<[string, [number, boolean][], Note[][]]>([
    ['one look shows nowhere is not gone', [[0, true]], [[]]],
    [
      'two looks at once show nowhere is not gone',
      [
        [0, true],
        [100, true],
      ],
      [[], []],
    ],
    [
      'is nowhere for a while is gone, once',
      [
        [0, true],
        [30_000, true],
        [60_000, true],
      ],
      [[], forgotten, []],
    ],
    [
      'is seen, or not seen, in between is not',
      [
        [0, true],
        [30_000, false],
        [60_000, true],
      ],
      [[], [], []],
    ],
  ])('one that %s', (_what, looks, notes) => {
    expect(notesOf(looks)).toEqual(notes);
  });

  it('that nothing is remembered of is not noted', () => {
    expect(
      notesOf(
        [
          [0, true],
          [30_000, true],
        ],
        LEDGER,
      ),
    ).toEqual([[], []]);
  });

  const byHand = { untilMs: null, reason: 'held by ann' };
  it.each<[string, Omit<Hold, 'vmid'>, Omit<Hold, 'vmid'> | null]>([
    ['a hold by a person stays', byHand, byHand],
    [
      'a hold of an op stays',
      { untilMs: NOW_MS + 1, reason: 'asked for with op x' },
      { untilMs: NOW_MS + 1, reason: 'asked for with op x' },
    ],
    ["flapping is the old guest's", { untilMs: null, reason: 'flapping: it needed' }, null],
    [
      "what a stopall took down is the old guest's",
      { untilMs: null, reason: 'stopall: taken down' },
      null,
    ],
    [
      'a hold beneath a stopall stays',
      { untilMs: null, reason: 'stopall: taken down', under: byHand },
      byHand,
    ],
  ])('%s', (_what, hold, left) => {
    const holds = new Map(
      [hold, { ...byHand }].map((one, index) => {
        const id = index === 0 ? vmid : otherVmid;
        return [id, { vmid: id, ...one }];
      }),
    );
    const replaced = { ...UP, replaced: replacedAt(NOW_MS + 1) };
    const notes = new Upkeep().findReplaced(replaced, { ...known, holds: () => holds });
    const kept: Note[] = left === null ? [] : [{ kind: 'hold', hold: { vmid, ...left } }];
    expect(notes).toEqual([...forgotten, ...kept]);
  });
});
