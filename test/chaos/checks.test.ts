/** Each check of a chaos run finds what is planted for it, and nothing in a sound run. */
import { expect, test } from 'vitest';
import { CHECKS, type CheckName, findViolations } from './checks.ts';
import type { Answer } from './evidence.ts';
import {
  addMoment,
  addNote,
  addRecord,
  addRequest,
  addTask,
  at,
  type Draft,
  evidenceOf,
  makeLife,
  makeSoundRun,
} from './sound-run.ts';

function recordOf(draft: Draft, opId: string, state: string) {
  const record = draft.ops.find((each) => each.op_id === opId && each.state === state);
  if (record === undefined) throw new Error(`no ${opId} ${state}`);
  return record;
}

function requestFor(draft: Draft, vmid: number) {
  const request = draft.requests.find(({ path }) => path.includes(`/${vmid}/`));
  if (request === undefined) throw new Error(`no request for ${vmid}`);
  return request;
}

function wish(draft: Draft, vmid: number, change: object): void {
  const wishes = { [vmid]: { power: 'running', config: {}, stop: { timeout: '10s' }, ...change } };
  draft.wishes = [{ atMs: 0, wishes: wishes as Draft['wishes'][number]['wishes'] }];
}

const START = {
  op_id: 'again',
  vmid: 100,
  kind: 'start',
  origin: 'reconcile',
  attempt: 1,
} as const;

/** What reconciling did to 101 is made of what an operator asked for. */
function makeUnsigned(draft: Draft): void {
  draft.asks = [];
  draft.ops = draft.ops.filter(({ op_id: opId, state }) => opId !== 'stop' || state !== 'received');
  for (const record of draft.ops) if (record.op_id === 'stop') record.origin = 'reconcile';
}

const PLANTED: Readonly<Record<CheckName, Readonly<Record<string, (draft: Draft) => void>>>> = {
  acknowledged_op_is_never_lost: {
    'its records are gone': (draft) => {
      draft.ops = draft.ops.filter(({ op_id: opId }) => opId !== 'stop');
    },
    'it does not end': (draft) => {
      draft.ops = draft.ops.filter((record) => record !== recordOf(draft, 'stop', 'succeeded'));
    },
  },
  key_succeeds_at_most_once: {
    'a key is two ops': (draft) => {
      recordOf(draft, 'stop', 'received').idemp_key = 'key-1';
    },
    'a key succeeds twice': (draft) => {
      const record = recordOf(draft, 'change', 'succeeded');
      draft.ops.push({ ...record, seq: 90 });
    },
    'a repeat is answered with another op': (draft) => {
      const answer: Answer = { kind: 'taken', opId: 'stop' };
      for (const ask of draft.asks.filter(({ key }) => key !== null)) {
        draft.asks.push({ ...ask, answer });
        return;
      }
    },
  },
  one_request_per_attempt: {
    'the same is sent again': (draft) => addRequest(draft, 1_020, '100/status/start'),
    'nothing was started': (draft) => addRequest(draft, 5_000, '103/status/start'),
    'it is sent before it is written down': (draft) => {
      requestFor(draft, 100).watched = {};
    },
    'it is sent when the attempt has ended': (draft) => {
      draft.requests = draft.requests.filter((each) => each !== requestFor(draft, 100));
      addRequest(draft, 5_000, '100/status/start');
    },
  },
  order_within_a_lane: {
    'one op begins within another': (draft) => {
      const place = { ...recordOf(draft, 'start', 'task_running'), ...START };
      draft.ops.push({ ...place, state: 'started', seq: 3.5 });
    },
  },
  one_task_of_ours_per_guest: {
    'two at once': (draft) =>
      addTask(draft, [1_200, 1_400], { upid: 'UPID:other', type: 'qmshutdown', id: '100' }),
    'one that goes on beyond its attempt': (draft) => {
      addRecord(draft, 5_000, { ...START, kind: 'stop', state: 'started' });
      addRequest(draft, 5_010, '100/status/shutdown', { upid: 'UPID:late' });
      addRecord(draft, 5_020, { ...START, kind: 'stop', state: 'failed' });
      addTask(draft, [5_015, null], { upid: 'UPID:late', type: 'qmshutdown', id: '100' });
      addTask(draft, [7_000, 7_100], { upid: 'UPID:next', type: 'qmstart', id: '100' });
    },
  },
  terminal_state_is_true: {
    'the guest does not run': (draft) => {
      draft.guests = draft.guests.filter(({ at: when }) => when !== at(1_500));
    },
    'the value is another': (draft) => {
      for (const guest of draft.guests) guest.config = {};
    },
    'its task was running': (draft) => {
      for (const task of draft.tasks) task.ended_at = null;
    },
    'its task ended otherwise': (draft) => {
      for (const task of draft.tasks) task.exit_status = 'start failed';
    },
    'its task is not of that guest': (draft) => {
      for (const task of draft.tasks) task.id = '109';
    },
    'its task is of somebody else': (draft) => {
      for (const task of draft.tasks) task.user = 'root@pam';
    },
    'a restart without a start': (draft) => {
      const op = {
        op_id: 'r',
        vmid: 101,
        kind: 'restart',
        origin: 'operator',
        attempt: 1,
      } as const;
      addRecord(draft, 30_000, { ...op, state: 'started' });
      addMoment(draft, 12_000, { vmid: 101, status: 'running', booted_at: at(12_000) });
      addRecord(draft, 31_000, { ...op, state: 'succeeded' });
    },
    'a failure of what was so all the time': (draft) => {
      addRecord(draft, 30_000, { ...START, state: 'started' });
      addRecord(draft, 31_000, { ...START, state: 'failed', observed: { power: 'running' } });
    },
    'a failure that saw what never was': (draft) => {
      addRecord(draft, 30_000, { ...START, state: 'started' });
      addRecord(draft, 31_000, { ...START, state: 'failed', observed: { power: 'stopped' } });
    },
  },
  reconciling_does_only_what_is_desired: {
    'nobody names the guest': (draft) => {
      draft.wishes = [];
    },
    'it is wanted off': (draft) => wish(draft, 100, { power: 'stopped' }),
    'it is only observed': (draft) => wish(draft, 100, { mode: 'observe' }),
    'another value is wanted': (draft) => {
      for (const record of draft.ops) if (record.op_id === 'change') record.origin = 'reconcile';
      wish(draft, 102, { config: { description: 'wished' } });
    },
    'nobody has asked': (draft) => {
      draft.asks = [];
    },
    'it was asked of another guest': (draft) => {
      for (const ask of draft.asks) ask.vmid += 10;
    },
    'it is tagged as held': (draft) => {
      for (const guest of draft.guests) guest.config = { tags: 'a;reconcile-hold' };
    },
    'it is on hold': (draft) => {
      addNote(draft, 25_000, { type: 'hold', vmid: 100, until_ms: null });
      addRecord(draft, 40_000, { ...START, state: 'started' });
      addRequest(draft, 40_010, '100/status/start');
    },
    'all is paused': (draft) => {
      addNote(draft, 25_000, { type: 'pause', until_ms: Date.parse(at(90_000)) });
      addRecord(draft, 40_000, { ...START, state: 'started' });
      addRequest(draft, 40_010, '100/status/start');
    },
  },
  no_guest_is_stopped_unasked: {
    'nobody wants it off': makeUnsigned,
    'nobody has asked': (draft) => {
      draft.asks = [];
    },
    'it is cut off where it was to be asked': (draft) => {
      requestFor(draft, 101).path = '/nodes/pve1/qemu/101/status/stop';
    },
    'nothing was started': (draft) => addRequest(draft, 5_000, '103/status/stop'),
  },
  converges_when_faults_end: {
    'a guest is left': (draft) => {
      draft.leftOver = ['100 is stopped'];
    },
  },
  journal_verifies: {
    'a line does not follow': (draft) => {
      draft.problems = ['00000001.jsonl:2: the sum is another'];
    },
    'the agent’s own verify says so': (draft) => {
      draft.verify = { exit: 70, out: 'error [journal_corrupt]' };
    },
  },
  ends_only_as_it_was_made_to: {
    'it falls by itself': (draft) => {
      draft.lives = [makeLife({ exit: 1 })];
    },
    'it halts with a sound disk': (draft) => {
      draft.lives = [makeLife({ exit: 70, suffered: new Set(['terminate']) })];
    },
    'it goes when nobody said so': (draft) => {
      draft.lives = [makeLife({ exit: 0 })];
    },
    'it dies of a signal that nobody sent': (draft) => {
      draft.lives = [makeLife({ signal: 'SIGSEGV', suffered: new Set(['kill']) })];
    },
    'a lock that nobody holds': (draft) => {
      draft.lives = [makeLife({ exit: 75, suffered: new Set(['full_disk']) })];
    },
  },
  no_internal_error: {
    'in a record': (draft) => {
      recordOf(draft, 'stop', 'succeeded').error = { code: 'internal_error', message: 'oh' };
    },
    'in an answer': (draft) => {
      for (const ask of draft.asks)
        ask.answer = { kind: 'refused', code: 'internal_error', message: 'oh' };
    },
  },
};

const cases = Object.entries(PLANTED).flatMap(([check, plants]) =>
  Object.entries(plants).map(([what, plant]) => ({ check, what, plant })),
);

test('a sound run has no violation', () => {
  expect(findViolations(evidenceOf(makeSoundRun()))).toEqual([]);
});

test.each(cases)('$check: $what', ({ check, plant }) => {
  const draft = makeSoundRun();
  plant(draft);
  const found = findViolations(evidenceOf(draft)).map((violation) => violation.check);
  expect(found).toContain(check);
});

test('nothing but its own check finds what only it can find', () => {
  const alone = Object.keys(CHECKS).filter((check) =>
    cases.some((each) => {
      if (each.check !== check) return false;
      const draft = makeSoundRun();
      each.plant(draft);
      return findViolations(evidenceOf(draft)).every((found) => found.check === check);
    }),
  );
  expect(alone).toEqual(Object.keys(CHECKS));
});

const EXCUSED: Readonly<Record<string, (draft: Draft) => void>> = {
  'a request that arrives after its sender was killed and its attempt given up': (draft) => {
    addRecord(draft, 30_000, { ...START, state: 'started' });
    addNote(draft, 31_000, { type: 'opened' });
    addRecord(draft, 32_000, { ...START, state: 'failed' });
    addRequest(draft, 32_500, '100/status/start');
  },
  'a hold that has ended by its time': (draft) => {
    addNote(draft, 25_000, { type: 'hold', vmid: 100, until_ms: Date.parse(at(30_000)) });
    addRecord(draft, 40_000, { ...START, state: 'started' });
    addRequest(draft, 40_010, '100/status/start');
  },
  'a timed hold after the clock was moved': (draft) => {
    addNote(draft, 25_000, { type: 'hold', vmid: 100, until_ms: Date.parse(at(90_000)) });
    draft.clockMovedMs = [Date.parse(at(26_000))];
    addRecord(draft, 40_000, { ...START, state: 'started' });
    addRequest(draft, 40_010, '100/status/start');
  },
  'a hold that somebody ended': (draft) => {
    addNote(draft, 25_000, { type: 'hold', vmid: 100, until_ms: null });
    addNote(draft, 26_000, { type: 'resume_guest', vmid: 100 });
    addRecord(draft, 40_000, { ...START, state: 'started' });
    addRequest(draft, 40_010, '100/status/start');
  },
  'a full disk': (draft) => {
    draft.lives = [makeLife({ exit: 70, suffered: new Set(['full_disk']) })];
  },
};

test.each(Object.entries(EXCUSED))('no violation: %s', (_, plant) => {
  const draft = makeSoundRun();
  plant(draft);
  expect(findViolations(evidenceOf(draft))).toEqual([]);
});
