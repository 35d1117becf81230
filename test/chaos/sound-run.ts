/**
 * A small run in which everything is as it should be, for tests to spoil: reconciling starts 100, an
 * operator stops 101, a hub sets a description on 102.
 */
import type { OpLine, Place } from '../e2e/contract-journal.ts';
import type { GuestMoment, TaskRun } from '../simulator/history.ts';
import type { LoggedRequest } from '../simulator/request-log.ts';
import type { Ask, Evidence, Growth, Life, Wishes } from './evidence.ts';

const BEGAN_MS = Date.parse('2026-11-20T12:00:00.000Z');
const SEGMENT = '00000001.jsonl';
const LINE_BYTES = 100;
const AGENT = 'agent@pve!agent';

export const at = (ms: number): string => new Date(BEGAN_MS + ms).toISOString();

type Mutable<Type> = { -readonly [Key in keyof Type]: Type[Key] };
type Note = Evidence['journal']['notes'][number];
export type Draft = {
  ops: Mutable<OpLine & Place>[];
  notes: Mutable<Note>[];
  problems: string[];
  growth: Growth[];
  verify: { exit: number | null; out: string };
  requests: Mutable<LoggedRequest>[];
  tasks: Mutable<TaskRun>[];
  guests: Mutable<GuestMoment>[];
  asks: Mutable<Ask>[];
  wishes: { atMs: number; wishes: Wishes }[];
  lives: Mutable<Life>[];
  clockMovedMs: number[];
  leftOver: string[];
};

export function evidenceOf({ ops, notes, problems, ...draft }: Draft): Evidence {
  const inOrder = ops.toSorted((a, b) => a.seq - b.seq);
  return { ...draft, slow: [], journal: { ops: inOrder, notes, problems } };
}

/** A record that was on disk `ms` after the run began. */
export function addRecord(
  draft: Draft,
  ms: number,
  fields: Pick<OpLine, 'op_id' | 'vmid' | 'kind' | 'state' | 'attempt' | 'origin'> &
    Partial<OpLine>,
): void {
  const place = nextPlace(draft, ms);
  draft.ops.push({ type: 'op', at: at(ms), ...place, ...fields });
}

export function addNote(
  draft: Draft,
  ms: number,
  fields: Pick<Note, 'type'> & Partial<Note>,
): void {
  draft.notes.push({ at: at(ms), ...nextPlace(draft, ms), ...fields });
}

function nextPlace(draft: Draft, ms: number): Place & { seq: number } {
  const seq = draft.ops.length + draft.notes.length + 1;
  const endByte = seq * LINE_BYTES;
  draft.growth.push({ atMs: BEGAN_MS + ms, sizes: { [SEGMENT]: endByte } });
  return { seq, segment: SEGMENT, endByte };
}

/** A write of the agent's, with what of the journal was there. */
export function addRequest(
  draft: Draft,
  ms: number,
  path: string,
  fields: Partial<LoggedRequest> = {},
): void {
  const { sizes } = draft.growth.findLast(({ atMs }) => atMs <= BEGAN_MS + ms) ?? { sizes: {} };
  draft.requests.push({
    n: draft.requests.length + 1,
    at: at(ms),
    method: 'POST',
    path: `/nodes/pve1/qemu/${path}`,
    params: {},
    token: AGENT,
    status: 200,
    reason: 'OK',
    ms: 5,
    fault: null,
    effect_at: at(ms + 5),
    upid: null,
    watched: sizes,
    ...fields,
  });
}

export function addTask(
  draft: Draft,
  [fromMs, toMs]: readonly [number, number | null],
  fields: Pick<TaskRun, 'upid' | 'type' | 'id'> & Partial<TaskRun>,
): void {
  const ended = toMs === null ? null : at(toMs);
  const exit = toMs === null ? null : 'OK';
  const times = { began_at: at(fromMs), ended_at: ended, exit_status: exit };
  draft.tasks.push({ user: AGENT, ...times, ...fields });
}

export function addMoment(draft: Draft, ms: number, fields: Partial<GuestMoment>): void {
  const status = fields.status ?? 'stopped';
  const bootedAt = status === 'running' ? at(ms) : null;
  const rest = { booted_at: bootedAt, ha_state: null, config: {}, ...fields };
  draft.guests.push({ at: at(ms), vmid: 100, status, ...rest });
}

export const OPERATOR_STOP = { mode: 'shutdown', timeout_s: 10, force: false };
export const HUB_CHANGE = { set: { description: 'asked' }, delete: [] };

export function makeSoundRun(): Draft {
  const draft: Draft = {
    ops: [],
    notes: [],
    problems: [],
    growth: [],
    verify: { exit: 0, out: '' },
    requests: [],
    tasks: [],
    guests: [],
    asks: [],
    wishes: [],
    lives: [makeLife({ exit: 0, suffered: new Set(['terminate']) })],
    clockMovedMs: [],
    leftOver: [],
  };
  const wishes: Wishes = { 100: { power: 'running', config: {}, stop: { timeout: '10s' } } };
  draft.wishes.push({ atMs: BEGAN_MS, wishes });
  addMoment(draft, 0, { vmid: 100 });
  addMoment(draft, 0, { vmid: 101, status: 'running' });
  addMoment(draft, 0, { vmid: 102 });
  addNote(draft, 0, { type: 'opened' });
  addStart(draft);
  addStop(draft);
  addChange(draft);
  return draft;
}

export function makeLife(fields: Partial<Life>): Mutable<Life> {
  const ended = { endedMs: BEGAN_MS + 60_000, exit: null, signal: null };
  return { pid: 1, beganMs: BEGAN_MS, suffered: new Set(), ...ended, ...fields };
}

function addStart(draft: Draft): void {
  const op = { op_id: 'start', vmid: 100, kind: 'start', origin: 'reconcile', attempt: 1 } as const;
  addRecord(draft, 1_000, { ...op, state: 'started', params: {} });
  addRequest(draft, 1_010, '100/status/start', { upid: 'UPID:start' });
  addTask(draft, [1_015, 1_500], { upid: 'UPID:start', type: 'qmstart', id: '100' });
  addRecord(draft, 1_030, { ...op, state: 'task_running', upid: 'UPID:start' });
  addMoment(draft, 1_500, { vmid: 100, status: 'running' });
  addRecord(draft, 1_600, { ...op, state: 'succeeded', upid: 'UPID:start', exit_status: 'OK' });
}

function addStop(draft: Draft): void {
  const op = { op_id: 'stop', vmid: 101, kind: 'stop', origin: 'operator' } as const;
  const params = OPERATOR_STOP;
  const answer = { kind: 'taken', opId: 'stop' } as const;
  const ask = { atMs: BEGAN_MS + 10_000, origin: 'operator', vmid: 101, kind: 'stop' } as const;
  draft.asks.push({ ...ask, params, key: null, answer });
  addRecord(draft, 10_005, { ...op, attempt: 0, state: 'received', params });
  addRecord(draft, 10_010, { ...op, attempt: 1, state: 'started', params });
  addRequest(draft, 10_020, '101/status/shutdown', { upid: 'UPID:stop' });
  addTask(draft, [10_025, 10_900], { upid: 'UPID:stop', type: 'qmshutdown', id: '101' });
  addRecord(draft, 10_030, { ...op, attempt: 1, state: 'task_running', upid: 'UPID:stop' });
  addMoment(draft, 10_900, { vmid: 101, status: 'stopped' });
  addRecord(draft, 11_000, { ...op, attempt: 1, state: 'succeeded', upid: 'UPID:stop' });
}

function addChange(draft: Draft): void {
  const op = { op_id: 'change', vmid: 102, kind: 'set_config', origin: 'hub' } as const;
  const keyed = { ...op, idemp_key: 'key-1' };
  const params = HUB_CHANGE;
  const answer = { kind: 'taken', opId: 'change' } as const;
  const ask = { atMs: BEGAN_MS + 20_000, origin: 'hub', vmid: 102, kind: 'set_config' } as const;
  draft.asks.push({ ...ask, params, key: 'key-1', answer });
  addRecord(draft, 20_005, { ...keyed, attempt: 0, state: 'received', params });
  addRecord(draft, 20_010, { ...keyed, attempt: 1, state: 'started', params });
  addRequest(draft, 20_020, '102/config', { params: { description: 'asked', digest: 'd' } });
  addMoment(draft, 20_022, { vmid: 102, config: { description: 'asked\n' } });
  addRecord(draft, 20_040, { ...keyed, attempt: 1, state: 'succeeded' });
}
