/** What the journal's tests write, and a journal on any disk to write it to. */

import type { Disk } from '../../src/journal/disk.ts';
import { type Journal, type StartOptions, startJournal } from '../../src/journal/journal.ts';
import type { Clock, Random } from '../../src/reconcile/clock.ts';
import {
  type OpId,
  parseOpId,
  parseUpid,
  parseVmid,
  type Upid,
  type Vmid,
} from '../../src/reconcile/ids.ts';
import type { OpRecordDraft } from '../../src/reconcile/op.ts';
import type { Note } from '../../src/reconcile/ports.ts';

export const START_MS = Date.parse('2026-03-01T12:00:00.000Z');

/** Time that moves a millisecond a look, so that no two records are alike. */
export function tickingClock(startMs = START_MS): Clock & { advance(ms: number): void } {
  let ms = 0;
  return {
    now: () => startMs + ms++,
    monotonicMs: () => ms,
    sleep: async (forMs) => {
      ms += forMs;
    },
    advance: (byMs) => {
      ms += byMs;
    },
  };
}

/** Deterministic chance (mulberry32). */
export function seededRandom(seed: number): Random {
  let state = seed;
  return {
    next: () => {
      state = (state + 0x6d2b79f5) | 0;
      let t = Math.imul(state ^ (state >>> 15), 1 | state);
      t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
      return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
    },
  };
}

export function startOn(disk: Disk, options: Partial<StartOptions> = {}): Promise<Journal> {
  return startJournal({
    disk,
    clock: tickingClock(),
    random: seededRandom(1),
    segmentBytes: 4096,
    keepSegments: 1000,
    keepForMs: 365 * 86_400_000,
    opener: { pid: 1, host: 'test', boot_id: 'boot', started_at: '2026-03-01T11:59:00.000Z' },
    hashSecret: (text) => text,
    assertStillOwner: () => undefined,
    isTakeover: false,
    isSuspect: false,
    onHalt: () => undefined,
    ...options,
  });
}

function parsed<Value>(value: Value | null): Value {
  if (value === null) throw new TypeError('not valid');
  return value;
}

export const vmid = (number: number): Vmid => parsed(parseVmid(number));
export const opId = (number: number): OpId => parsed(parseOpId(String(number).padStart(16, '0')));
export const upid = (number: number, ofVmid = 101): Upid => {
  const hex = number.toString(16).toUpperCase().padStart(8, '0');
  return parsed(parseUpid(`UPID:pve1:00001234:${hex}:${hex}:qmstart:${ofVmid}:root@pam!agent:`));
};

export const HMAC = 'a'.repeat(64);

/** The records of one op from its beginning to its end; `end: null` leaves it in flight. */
export function opStory(
  number: number,
  story: {
    readonly origin?: 'reconcile' | 'hub';
    readonly end?: 'succeeded' | 'failed' | null;
    readonly task?: boolean;
    readonly guest?: number;
  } = {},
): OpRecordDraft[] {
  const { origin = 'reconcile', end = 'succeeded', task = true, guest = 101 } = story;
  const base = {
    op_id: opId(number),
    vmid: vmid(guest),
    guest_kind: 'qemu' as const,
    kind: 'start' as const,
    origin,
  };
  const key = {
    idemp_key: `key-${number}`,
    payload_hmac: HMAC,
    expires_at_ms: START_MS + 3_600_000,
  };
  const tasked = task ? { upid: upid(number, guest) } : {};
  const records: OpRecordDraft[] = [];
  if (origin === 'hub')
    records.push({ ...base, ...key, state: 'received', attempt: 0, params: {} });
  const before = { power: 'stopped' as const, booted_at_ms: null, last_upid: null };
  records.push({ ...base, state: 'started', attempt: 1, params: {}, before });
  if (task) records.push({ ...base, ...tasked, state: 'task_running', attempt: 1 });
  if (end === 'succeeded') {
    records.push({ ...base, ...tasked, state: end, attempt: 1, exit_status: 'OK' });
  } else if (end === 'failed') {
    const error = { code: 'task_failed' as const, message: 'got no timeout – Fehler' };
    records.push({ ...base, ...tasked, state: end, attempt: 1, error });
  }
  return records;
}

export const NOTES: readonly Note[] = [
  { kind: 'hold', hold: { vmid: vmid(101), untilMs: null, reason: 'by hand' } },
  { kind: 'pause', pause: { untilMs: START_MS + 86_400_000, reason: 'maintenance' } },
  { kind: 'initial_done', vmid: vmid(102) },
  { kind: 'late_effect', vmid: vmid(103), upid: upid(9, 103) },
  { kind: 'secret_applied', vmid: vmid(102), key: 'cipassword', hash: HMAC },
  { kind: 'resume_guest', vmid: vmid(101) },
  { kind: 'forget_guest', vmid: vmid(103) },
  { kind: 'resume' },
];
