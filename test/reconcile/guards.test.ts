import { describe, expect, it } from 'vitest';
import {
  type GuestMemory,
  guardHalfWay,
  guardReconcile,
  guardSafety,
  type HoldInput,
} from '../../src/reconcile/guards.ts';
import type { BulkTask, Guest, HaLook, NodeLook, RunningTask } from '../../src/reconcile/guest.ts';
import type { Verdict } from '../../src/reconcile/plan.ts';
import {
  guestConfig,
  NOW_MS,
  QUIET_NODE,
  seenGuest,
  upidOf,
  vmidOf,
  wantedGuest,
} from './plan-inputs.ts';

function task(type: string, id: number, isOurs = false): RunningTask {
  const upid = upidOf(type, `${id}`);
  return { upid, type, vmid: vmidOf(id), user: 'root@pam', startedAtMs: NOW_MS, isOurs };
}

function bulk(isRunning: boolean): BulkTask {
  const endedAtMs = isRunning ? null : NOW_MS;
  return { upid: upidOf('stopall', ''), type: 'stopall', startedAtMs: NOW_MS, endedAtMs };
}

const NO_MEMORY: GuestMemory = {
  hold: null,
  isInitialDone: false,
  backoff: null,
  unsettled: null,
};
const LATE_STOP = { kind: 'stop', untilMs: NOW_MS } as const;
const RUNNING = { power: 'running', bootedAtMs: 1 } as const;

function input(fields: Partial<HoldInput> & { readonly seen?: Partial<Guest> } = {}): HoldInput {
  const { seen, ...rest } = fields;
  return {
    guest: seenGuest(seen),
    actions: ['start'],
    tasks: [],
    bulkTasks: [],
    node: QUIET_NODE,
    wanted: wantedGuest({ power: 'running' }),
    memory: NO_MEMORY,
    pause: null,
    mode: 'enforce',
    ...rest,
  };
}

function shorten(verdict: Verdict): string {
  return verdict.kind === 'go' ? 'go' : `${verdict.kind} ${verdict.condition.code}`;
}

function managed(state: string | null): HaLook {
  return { kind: 'managed', state };
}

const disarmed: NodeLook = { ...QUIET_NODE, ha: 'disarmed' };
const ha = (state: string | null): { seen: Partial<Guest> } => ({ seen: { ha: managed(state) } });

interface Case {
  readonly name: string;
  readonly fields: Parameters<typeof input>[0];
  readonly says: string;
}

/** Whoever asks. */
const SAFETY: readonly Case[] = [
  { name: 'nothing in the way', fields: {}, says: 'go' },
  { name: 'a template', fields: { seen: { template: true } }, says: 'never is_template' },
  { name: 'a backup lock', fields: { seen: { lock: 'backup' } }, says: 'wait guest_locked' },
  { name: 'suspended to disk', fields: { seen: { lock: 'suspended' } }, says: 'never suspended' },
  { name: "a stranger's task", fields: { tasks: [task('qmclone', 101)] }, says: 'wait guest_busy' },
  {
    name: 'a late task of ours',
    fields: { tasks: [task('qmstart', 101, true)] },
    says: 'wait guest_busy',
  },
  { name: 'a task on another guest', fields: { tasks: [task('vzdump', 102)] }, says: 'go' },
  {
    name: 'a bulk task under way',
    fields: { bulkTasks: [bulk(true)] },
    says: 'wait node_bulk_task',
  },
  {
    name: 'a stop that may still begin, before a start',
    fields: { memory: { ...NO_MEMORY, unsettled: LATE_STOP } },
    says: 'wait unknown',
  },
  {
    name: 'a stop that may still begin, before another',
    fields: { memory: { ...NO_MEMORY, unsettled: LATE_STOP }, actions: ['stop'] },
    says: 'go',
  },
  {
    name: 'a stop that may still begin, before a write',
    fields: { memory: { ...NO_MEMORY, unsettled: LATE_STOP }, actions: ['set_config'] },
    says: 'go',
  },
  { name: 'a bulk task that is over', fields: { bulkTasks: [bulk(false)] }, says: 'go' },
  {
    name: 'no quorum',
    fields: { node: { ...QUIET_NODE, quorate: false } },
    says: 'wait no_quorum',
  },
  { name: 'quorum nobody may see', fields: { node: { ...QUIET_NODE, quorate: null } }, says: 'go' },
  { name: 'nothing known of the node', fields: { node: null }, says: 'go' },
  { name: 'HA: stopped', fields: ha('stopped'), says: 'go' },
  { name: 'HA: started', fields: ha('started'), says: 'go' },
  { name: 'HA: just added', fields: ha(null), says: 'wait ha_transition' },
  { name: 'HA: a stop requested', fields: ha('request_stop'), says: 'wait ha_transition' },
  { name: 'HA: queued', fields: ha('queued'), says: 'wait ha_transition' },
  { name: 'HA: error', fields: ha('error'), says: 'never ha_error' },
  { name: 'HA: fence', fields: ha('fence'), says: 'never ha_error' },
  { name: 'HA: recovery', fields: ha('recovery'), says: 'never ha_error' },
  { name: 'HA: a state nobody knows', fields: ha('levitating'), says: 'never ha_error' },
  { name: 'HA: freeze', fields: ha('freeze'), says: 'never ha_unavailable' },
  { name: 'HA: migrate', fields: ha('migrate'), says: 'never ha_transition' },
  { name: 'HA: relocate', fields: ha('relocate'), says: 'never ha_transition' },
  {
    name: 'HA: disarmed',
    fields: { ...ha('stopped'), node: disarmed },
    says: 'never ha_unavailable',
  },
  { name: 'HA disarmed, a guest it does not manage', fields: { node: disarmed }, says: 'go' },
  {
    name: 'an HA state that could not be read',
    fields: { seen: { ha: { kind: 'unknown', problem: { code: 'timeout', message: 'late' } } } },
    says: 'wait unknown',
  },
  {
    name: 'HA: error, only the config changes',
    fields: { ...ha('error'), actions: ['set_config'] },
    says: 'go',
  },
  {
    name: 'paused, to be stopped',
    fields: { seen: { ...RUNNING, qmpStatus: 'paused' }, actions: ['stop'] },
    says: 'never guest_paused',
  },
  {
    name: 'paused, only the config changes',
    fields: { seen: { ...RUNNING, qmpStatus: 'paused' }, actions: ['set_config'] },
    says: 'go',
  },
  {
    name: 'an I/O error',
    fields: { seen: { ...RUNNING, qmpStatus: 'io-error' }, actions: ['set_config'] },
    says: 'never io_error',
  },
];

const until = NOW_MS + 1_000;
const HOLDS: readonly Case[] = [
  { name: 'mode observe', fields: { mode: 'observe' }, says: 'never observe_only' },
  { name: 'mode paused', fields: { mode: 'paused' }, says: 'never paused' },
  {
    name: 'the agent paused',
    fields: { pause: { untilMs: until, reason: 'x' } },
    says: 'wait paused',
  },
  { name: 'the tag', fields: { seen: { tags: ['reconcile-hold'] } }, says: 'wait on_hold' },
  {
    name: 'the tag in a config that is newer than the list',
    fields: {
      seen: {
        tags: ['prod'],
        config: { kind: 'known', config: guestConfig({ tags: 'prod;reconcile-hold' }) },
      },
    },
    says: 'wait on_hold',
  },
  {
    name: 'a hold by a person',
    fields: {
      memory: {
        unsettled: null,
        hold: { vmid: vmidOf(101), untilMs: until, reason: 'by hand' },
        isInitialDone: false,
        backoff: null,
      },
    },
    says: 'wait on_hold',
  },
  {
    name: 'a flapping guest',
    fields: {
      memory: {
        unsettled: null,
        hold: { vmid: vmidOf(101), untilMs: null, reason: 'flapping: too often' },
        isInitialDone: false,
        backoff: null,
      },
    },
    says: 'wait flapping',
  },
  {
    name: 'a pause after a failure',
    fields: {
      memory: { ...NO_MEMORY, backoff: { untilMs: until, reason: 'failed' } },
    },
    says: 'wait backing_off',
  },
];

describe('safety', () => {
  it.each(SAFETY)('$name: $says, to everybody', ({ fields, says }) => {
    expect(shorten(guardSafety(input(fields)))).toBe(says);
    expect(shorten(guardReconcile(input(fields)))).toBe(says);
  });
});

describe('half-way through a restart', () => {
  it.each(SAFETY)('$name: $says, but what HA ends by itself is waited for', ({ fields, says }) => {
    const patient = says.replace(/^never (?=ha_unavailable|ha_transition)/, 'wait ');
    expect(shorten(guardHalfWay(input(fields)))).toBe(patient);
  });
});

describe('holds', () => {
  it.each(HOLDS)('$name: $says, and nobody else is held', ({ fields, says }) => {
    expect(shorten(guardReconcile(input(fields)))).toBe(says);
    expect(shorten(guardSafety(input(fields)))).toBe('go');
  });

  it('come before what is unsafe, and carry their end', () => {
    const pause = { untilMs: until, reason: 'maintenance' };
    const verdict = guardReconcile(input({ pause, seen: { lock: 'backup' } }));
    expect(verdict).toMatchObject({ condition: { code: 'paused', untilMs: until } });
  });
});

it('a lock names the task that holds it', () => {
  const tasks = [task('vzdump', 101)];
  const verdict = guardSafety(input({ seen: { lock: 'backup' }, tasks }));
  expect(verdict).toMatchObject({
    condition: {
      message: 'the guest is locked (backup) by vzdump of root@pam',
      upid: tasks[0]?.upid,
    },
  });
});
