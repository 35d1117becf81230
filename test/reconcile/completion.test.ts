/** "Done" means seen: what was told against what is there. */
import { describe, expect, it } from 'vitest';
import {
  compareBoots,
  decideOutcome,
  type Evidence,
  hasStarted,
  judgeFulfilment,
} from '../../src/reconcile/completion.ts';
import type { Guest } from '../../src/reconcile/guest.ts';
import { parseUpid } from '../../src/reconcile/ids.ts';
import { type Action, type Before, DEFAULT_STOP } from '../../src/reconcile/op.ts';
import type { TaskEnd } from '../../src/reconcile/ports.ts';
import { plainSemantics } from '../support/plain-semantics.ts';
import { guestConfig, NOW_MS, seenGuest } from './plan-inputs.ts';

const upid = parseUpid('UPID:pve1:00001000:00002000:6B00E844:qmstart:101:root@pam!agent:');
const START: Action = { kind: 'start', params: {} };
const STOP: Action = { kind: 'stop', params: DEFAULT_STOP };
const RESTART: Action = { kind: 'restart', params: DEFAULT_STOP };
const UP = { power: 'running', bootedAtMs: NOW_MS } as const;
const BEFORE: Before = { power: 'stopped', booted_at_ms: null, last_upid: null };

function ended(end: TaskEnd): Evidence {
  if (upid === null) throw new Error('not a UPID');
  return { kind: 'task', upid, end };
}

const problem = { code: 'task_failed', message: 'start failed' } as const;
const lost = { code: 'interrupted', message: 'no answer' } as const;
const OK = ended({ kind: 'ok', exitStatus: 'OK' });
const WARNINGS = ended({ kind: 'warning', exitStatus: 'WARNINGS: 1', log: ['WARN: x'] });
const ERROR = ended({ kind: 'error', exitStatus: 'start failed', problem, log: ['TASK ERROR'] });
const DIED = ended({ kind: 'unknown', exitStatus: 'unexpected status', log: [] });
const VANISHED = ended({ kind: 'vanished' });
const APPLIED: Evidence = { kind: 'applied' };
const REFUSED: Evidence = {
  kind: 'refused',
  problem: { code: 'conflict', message: 'already running' },
};
const NOTHING: Evidence = { kind: 'nothing', problem: lost, wasSo: false };

interface Case {
  readonly told: string;
  readonly evidence: Evidence;
  /** What it is if the guest is not as wanted. */
  readonly code: string;
  /** What is noted if it is. */
  readonly note: RegExp | undefined;
}

const CASES: readonly Case[] = [
  { told: 'the task is OK', evidence: OK, code: 'not_converged', note: undefined },
  { told: 'the task has warnings', evidence: WARNINGS, code: 'not_converged', note: undefined },
  {
    told: 'the task failed',
    evidence: ERROR,
    code: 'task_failed',
    note: /ended with "start failed"/,
  },
  { told: 'the worker died', evidence: DIED, code: 'task_lost', note: /"unexpected status"/ },
  { told: 'the task is gone', evidence: VANISHED, code: 'task_lost', note: /no longer knows/ },
  { told: 'it was applied at once', evidence: APPLIED, code: 'not_converged', note: undefined },
  { told: 'PVE refused', evidence: REFUSED, code: 'conflict', note: /already running/ },
  { told: 'no answer, no task', evidence: NOTHING, code: 'interrupted', note: /no answer/ },
];

describe.each(CASES)('$told', ({ evidence, code, note }) => {
  const wanted = { action: START, before: BEFORE };
  const judge = (fields: Partial<Guest>): ReturnType<typeof decideOutcome> => {
    const guest = seenGuest(fields);
    const fulfilment = judgeFulfilment(wanted, guest, plainSemantics);
    return decideOutcome(wanted, evidence, { guest, fulfilment });
  };

  it('and the guest is as wanted: succeeded', () => {
    const { state, observed } = judge(UP);
    expect([state, observed?.power]).toEqual(['succeeded', 'running']);
    if (note === undefined) expect(observed).not.toHaveProperty('note');
    else expect(observed?.note).toMatch(note);
  });

  it(`and the guest is not: failed, ${code}`, () => {
    const outcome = judge({ power: 'stopped' });
    expect(outcome).toMatchObject({ state: 'failed', error: { code } });
    expect(outcome.observed?.power).toBe('stopped');
  });
});

describe('a password, which PVE never gives back, is set only by its word', () => {
  it.each([
    ['it was applied', APPLIED, 'succeeded'],
    ['the task is OK', OK, 'succeeded'],
    ['the task has warnings', WARNINGS, 'succeeded'],
    ['the task failed', ERROR, 'task_failed'],
    ['the worker died', DIED, 'task_lost'],
    ['the task is gone', VANISHED, 'task_lost'],
    ['PVE refused', REFUSED, 'conflict'],
    ['no answer came', NOTHING, 'interrupted'],
  ])('%s: %s', (_told, evidence, end) => {
    const wanted = { action: config({ cipassword: 'x' }), before: BEFORE };
    const guest = seenGuest(seen({ cipassword: '**********' }));
    const fulfilment = judgeFulfilment(wanted, guest, plainSemantics);
    const outcome = decideOutcome(wanted, evidence, { guest, fulfilment });
    expect(outcome.state === 'failed' ? outcome.error.code : outcome.state).toBe(end);
  });
});

it('keeps the warnings of a success and the log of a failure', () => {
  const wanted = { action: START, before: BEFORE };
  const up = { guest: seenGuest(UP), fulfilment: { kind: 'yes' } } as const;
  const down = { guest: seenGuest(), fulfilment: { kind: 'no', saw: 'off' } } as const;
  expect(decideOutcome(wanted, WARNINGS, up).observed?.warnings).toEqual(['WARN: x']);
  expect(decideOutcome(wanted, ERROR, down).observed?.log).toEqual(['TASK ERROR']);
});

const managed = (state: string): Partial<Guest> => ({ ha: { kind: 'managed', state } });

const config = (set: Record<string, string>, ...remove: string[]): Action => {
  return { kind: 'set_config', params: { set, delete: remove } };
};

const seen = (...args: Parameters<typeof guestConfig>): Partial<Guest> => {
  return { config: { kind: 'known', config: guestConfig(...args) } };
};

describe('a start that PVE has reported', () => {
  const wanted = { action: START, before: BEFORE };
  const stopped = { power: 'stopped' } as const;
  it.each<[string, Evidence, Partial<Guest>, boolean]>([
    ['as done, on a guest that runs', OK, UP, true],
    ['as done, on a guest that is off again', OK, stopped, true],
    ['as done with warnings, on a guest that is off again', WARNINGS, stopped, true],
    [
      'as filed with HA, which has not started it',
      OK,
      { ...stopped, ...managed('stopped') },
      false,
    ],
    ['as failed', ERROR, stopped, false],
    ['as nothing: its worker died', DIED, stopped, false],
    ['as nothing: no answer came', NOTHING, stopped, false],
  ])('%s', (_told, evidence, fields, expected) => {
    const guest = seenGuest(fields);
    const fulfilment = judgeFulfilment(wanted, guest, plainSemantics);
    const outcome = decideOutcome(wanted, evidence, { guest, fulfilment });
    expect(hasStarted({ kind: 'start', ...outcome })).toBe(expected);
  });
});

describe('whether a boot is the one that was there before', () => {
  const before: Before = { power: 'running', booted_at_ms: NOW_MS, pid: 700, last_upid: null };
  it.each([
    ['the same time and process', 1_000, 700, 'same'],
    ['another process', 60_000, 701, 'later'],
    ['another process within seconds', 1_000, 701, 'later'],
    ['another process, the clock set back', -60_000, 701, 'later'],
    ['the same process a minute later: the clock was set', 60_000, 700, 'unclear'],
    ['the same process a minute earlier: the clock was set', -60_000, 700, 'unclear'],
    ['no pid is told, the same time', 1_000, null, 'same'],
    ['no pid is told, a later time', 60_000, null, 'later'],
    ['no pid is told, an earlier time', -60_000, null, 'unclear'],
  ])('%s', (_name, laterMs, pid, expected) => {
    expect(compareBoots({ bootedAtMs: NOW_MS + laterMs, pid }, before)).toBe(expected);
  });

  it('a stopped guest has none', () => {
    const stopped: Before = { power: 'stopped', booted_at_ms: null, last_upid: null };
    expect(compareBoots({ bootedAtMs: null, pid: null }, stopped)).toBe('same');
    expect(compareBoots({ bootedAtMs: null, pid: null }, before)).toBe('unclear');
    expect(compareBoots({ bootedAtMs: NOW_MS, pid: 700 }, stopped)).toBe('unclear');
  });
});

describe('a guest is as the op wants it', () => {
  const before: Before = { power: 'running', booted_at_ms: NOW_MS - 90_000, last_upid: null };
  const cases: readonly {
    readonly name: string;
    readonly action: Action;
    readonly guest: Partial<Guest>;
    readonly is: boolean;
  }[] = [
    { name: 'started, and it runs', action: START, guest: UP, is: true },
    {
      name: 'started, HA says so and it runs',
      action: START,
      guest: { ...UP, ...managed('started') },
      is: true,
    },
    {
      name: 'started, HA says so before it runs',
      action: START,
      guest: managed('started'),
      is: false,
    },
    {
      name: 'started, it runs and HA lags',
      action: START,
      guest: { ...UP, ...managed('stopped') },
      is: false,
    },
    { name: 'stopped, and it is off', action: STOP, guest: {}, is: true },
    { name: 'stopped, off and HA says so', action: STOP, guest: managed('stopped'), is: true },
    {
      name: 'stopped, off and HA is still at it',
      action: STOP,
      guest: managed('request_stop'),
      is: false,
    },
    {
      name: 'stopped, and it runs on',
      action: STOP,
      guest: { ...UP, bootedAtMs: NOW_MS - 88_000 },
      is: false,
    },
    {
      name: 'configured, and it is so',
      action: config({ cores: '4' }),
      guest: seen({ cores: '4' }),
      is: true,
    },
    {
      name: 'configured, and it is pending',
      action: config({ cores: '4' }),
      guest: seen({ cores: '2' }, { cores: { kind: 'set', value: '4' } }),
      is: true,
    },
    {
      name: 'configured, and it is not',
      action: config({ cores: '4' }),
      guest: seen({}),
      is: false,
    },
    {
      name: 'a key deleted, and it is gone',
      action: config({}, 'cores'),
      guest: seen({}),
      is: true,
    },
    {
      name: 'a key deleted, and that is pending',
      action: config({}, 'cores'),
      guest: seen({ cores: '4' }, { cores: { kind: 'delete' } }),
      is: true,
    },
    {
      name: 'a key deleted, and it is there',
      action: config({}, 'cores'),
      guest: seen({ cores: '4' }),
      is: false,
    },
    {
      name: 'configured, and its config could not be read',
      action: config({ cores: '4' }),
      guest: { config: { kind: 'not_read' } },
      is: false,
    },
    { name: 'restarted, and it has booted since', action: RESTART, guest: UP, is: true },
    {
      name: 'restarted, and it runs on',
      action: RESTART,
      guest: { ...UP, bootedAtMs: NOW_MS - 88_000 },
      is: false,
    },
    { name: 'restarted, and it is down', action: RESTART, guest: {}, is: false },
  ];
  it.each(cases)('$name: $is', ({ action, guest, is }) => {
    const found = judgeFulfilment({ action, before }, seenGuest(guest), plainSemantics);
    expect(found.kind).toBe(is ? 'yes' : 'no');
  });

  const SHOWN: Evidence = { ...NOTHING, wasSo: true };
  it.each<[string, Evidence, string]>([
    ['the stop is reported as done', OK, 'succeeded'],
    ['it was seen to be down', SHOWN, 'succeeded'],
    ['no task: it may have been moved live and back', NOTHING, 'failed'],
  ])('stopped, and it runs in another process; %s', (_name, evidence, state) => {
    const wanted = { action: STOP, before };
    const guest = seenGuest(UP);
    const fulfilment = judgeFulfilment(wanted, guest, plainSemantics);
    expect(decideOutcome(wanted, evidence, { guest, fulfilment }).state).toBe(state);
  });

  it.each([
    ['a secret set: nobody can see it', config({ cipassword: 'x' }), 'unseen'],
    ['and another key, as written', config({ cipassword: 'x', cores: '4' }), 'unseen'],
    ['and another key, not as written', config({ cipassword: 'x', cores: '2' }), 'no'],
  ])('%s', (_name, action, kind) => {
    const guest = seenGuest(seen({ cores: '4', cipassword: '**********' }));
    expect(judgeFulfilment({ action, before }, guest, plainSemantics).kind).toBe(kind);
  });
});
