/** What a line of the journal may say: every field that is not as it should be is refused, and named. */
import { describe, expect, test } from 'vitest';
import { noteFields } from '../../src/journal/note-records.ts';
import { type Body, isSealedOp } from '../../src/journal/op-record.ts';
import { type JournalRecord, liveBody, parseRecord } from '../../src/journal/records.ts';
import type { Note } from '../../src/reconcile/ports.ts';
import { HMAC, NOTES, opId, opStory, START_MS, upid, vmid } from '../support/journal-script.ts';

const AT = new Date(START_MS).toISOString();
const SUM = '0'.repeat(32);

function read(body: unknown): JournalRecord {
  return parseRecord(JSON.stringify(body));
}

/** An op's record with everything that one may have. */
const FULL_OP: Body = {
  type: 'op',
  seq: 7,
  at: AT,
  ...opStory(1, { origin: 'hub', end: 'failed' }).at(-1),
  params: { mode: 'shutdown' },
  before: { power: 'stopped' },
  exit_status: 'OK',
  observed: { power: 'running' },
  hold_ms: 3_600_000,
  precondition: { power: 'running' },
  idemp_key: 'key-1',
  payload_hmac: HMAC,
  expires_at_ms: START_MS,
  correlation_id: 'c-1',
  parent_op_id: opId(2),
  actor: 'somebody',
  signers: [{ keyid: 'hub-1', key_sha256: HMAC }],
  sum: SUM,
};

describe('a record of an op', () => {
  test('with everything that one may have is read', () => {
    expect(read(FULL_OP)).toMatchObject({ kind: 'op', seq: 7 });
  });

  test.each([
    ['seq', [0, '7', 1.5, undefined]],
    ['at', [START_MS, '2026-03-01', undefined]],
    ['op_id', ['short', 7, undefined]],
    ['vmid', ['101', 7, undefined]],
    ['guest_kind', ['vm', undefined]],
    ['kind', ['destroy', undefined]],
    ['state', ['queued', undefined]],
    ['attempt', [-1, '1', undefined]],
    ['origin', ['cron', undefined]],
    ['params', [[], 'none', null]],
    ['upid', ['qmstart', 7]],
    ['before', [[], 7]],
    ['exit_status', [0, null]],
    ['observed', ['running', null]],
    ['error', ['bad', { code: 'no_such_code', message: '' }, { code: 'timeout' }]],
    ['hold_ms', ['1h', 1.5]],
    ['precondition', [true, []]],
    ['idemp_key', [7, null]],
    ['payload_hmac', ['short', 7]],
    ['expires_at_ms', [AT, null]],
    ['correlation_id', ['with a blank', 7]],
    ['parent_op_id', ['short', 7]],
    ['actor', [7, null]],
    ['signers', [{}, 'hub-1']],
  ])('whose field %s is wrong is refused by that name', (field, values) => {
    for (const value of values) {
      expect(read({ ...FULL_OP, [field]: value })).toEqual({
        kind: 'unreadable',
        reason: `its field ${field} is missing or not valid`,
      });
    }
  });

  test('without its sum is none, and neither is what is no object', () => {
    expect(isSealedOp({ ...FULL_OP, sum: 'short' })).toBe(false);
    const reason = 'its field sum is missing or not valid';
    expect(read({ ...FULL_OP, sum: 'short' })).toEqual({ kind: 'unreadable', reason });
    expect([null, [], 'op', 7].map((value) => isSealedOp(value))).toEqual(Array(4).fill(false));
  });
});

const EVERY_NOTE: readonly Note[] = [
  ...NOTES,
  {
    kind: 'hold',
    hold: {
      vmid: vmid(101),
      untilMs: null,
      reason: 'stopall: taken down',
      under: { untilMs: START_MS, reason: 'by hand' },
    },
  },
  { kind: 'hub_cursor', cursor: 'event-1' },
  { kind: 'receipt_acked', recordSeq: 0 },
];

describe('a note', () => {
  test.each(EVERY_NOTE)('of kind $kind is read as it was written', (note) => {
    const body = { type: note.kind, seq: 1, at: AT, ...noteFields(note.kind, note) };
    expect(read(body)).toEqual({ kind: 'note', seq: 1, at: AT, note });
  });

  test.each(EVERY_NOTE)('of kind $kind is refused without one of its fields', (note) => {
    const fields = { seq: 1, at: AT, ...noteFields(note.kind, note) };
    for (const field of Object.keys(fields)) {
      expect(read({ type: note.kind, ...fields, [field]: {} }), field).toEqual({
        kind: 'unreadable',
        reason: `a record of type ${note.kind} whose fields are not valid`,
      });
    }
  });
});

test('a hold with something else beneath it is none', () => {
  const hold = { type: 'hold', seq: 1, at: AT, vmid: 101, until_ms: null, reason: 'r' };
  expect(read({ ...hold, under: 'q' }).kind).toBe('unreadable');
});

const HEADER: Body = {
  type: 'segment',
  format: 1,
  prev_sum: SUM,
  first_seq: 1,
  segment: 1,
  journal: 'j',
  epoch: 1,
  at: AT,
};
const OPENED: Body = {
  type: 'opened',
  seq: 1,
  at: AT,
  epoch: 1,
  pid: 1,
  host: 'h',
  boot_id: 'b',
  started_at: AT,
};
const LOST: Body = { type: 'lost', seq: 1, at: AT };
const HUB: Body = { type: 'live_hub', cursor: 'c', acked_seq: 1, forgotten_to_ms: 0 };
const GUEST: Body = {
  type: 'live_guest',
  vmid: 101,
  hold: { until_ms: null, reason: 'r', under: { until_ms: START_MS, reason: 'q' } },
  starts_ms: [START_MS],
  secrets: { cipassword: HMAC },
};
const LIVE_OP: Body = { type: 'live_op', records: [FULL_OP] };

describe('a record of another type', () => {
  test.each([HEADER, OPENED, LOST, HUB, GUEST, LIVE_OP])('$type is read', (body) => {
    expect(read(body).kind).not.toBe('unreadable');
  });

  test.each([HEADER, OPENED, LOST, HUB, GUEST, LIVE_OP])(
    '$type is refused when one of its fields is something else',
    (body) => {
      for (const field of Object.keys(body).filter((name) => name !== 'type')) {
        expect(read({ ...body, [field]: [true] }).kind, field).toBe(
          field === 'starts_ms' ? 'live' : 'unreadable',
        );
      }
    },
  );

  test('of an op that is restated holds one op only, and at most three records', () => {
    const other = { ...FULL_OP, op_id: opId(9) };
    for (const records of [
      [],
      'none',
      [FULL_OP, other],
      [FULL_OP, FULL_OP, FULL_OP, FULL_OP],
      [{}],
    ]) {
      expect(read({ ...LIVE_OP, records }).kind).toBe('unreadable');
    }
  });

  test('of a guest leaves out what is no start and no secret', () => {
    const body = { ...GUEST, starts_ms: [START_MS, 'x'], secrets: { a: HMAC, b: 7 } };
    expect(read(body)).toMatchObject({
      live: { guest: { startsMs: [START_MS], secrets: { a: HMAC } } },
    });
  });

  test('that nobody knows is refused: it may hold what must not be forgotten', () => {
    expect(read({ type: 'new_kind', seq: 1 })).toEqual({
      kind: 'unreadable',
      reason: 'a record of unknown type "new_kind"',
      isNewer: true,
    });
    expect(read({ seq: 1 })).toMatchObject({ reason: 'a record of unknown type undefined' });
  });

  test('that is no JSON, or no object, is refused', () => {
    expect(parseRecord('{"type":')).toEqual({ kind: 'unreadable', reason: 'it is not JSON' });
    expect(parseRecord('[]')).toMatchObject({ reason: 'it is not a JSON object' });
  });
});

test('what a segment restates of a guest that nothing is known of is its number', () => {
  const guest = {
    vmid: vmid(101),
    hold: null,
    sinceMs: null,
    lastUpid: null,
    startsMs: [],
    askedStartsMs: [],
    isInitialDone: false,
    secrets: {},
  };
  expect(liveBody({ kind: 'guest', guest })).toEqual({ type: 'live_guest', vmid: 101 });
  const full = {
    ...guest,
    sinceMs: 2,
    lastUpid: upid(1),
    startsMs: [1, 2],
    askedStartsMs: [2],
    isInitialDone: true,
  };
  const body = liveBody({ kind: 'guest', guest: { ...full, secrets: { a: HMAC } } });
  expect(read(body)).toMatchObject({ live: { guest: { ...full, secrets: { a: HMAC } } } });
});
