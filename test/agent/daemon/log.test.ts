import { PassThrough } from 'node:stream';
import { expect, test } from 'vitest';
import { createEventLogger, createLog } from '../../../src/agent/daemon/log.ts';
import { createTerminal } from '../../../src/agent/terminal/terminal.ts';
import { PveToken } from '../../../src/proxmox/token.ts';
import { parseCorrelationId, parseOpId, parseUpid, parseVmid } from '../../../src/reconcile/ids.ts';
import type { OpRecord } from '../../../src/reconcile/op.ts';
import type { PlanEntry } from '../../../src/reconcile/plan.ts';

function made<Value>(value: Value | null): Value {
  if (value === null) throw new Error('not what its parser takes');
  return value;
}

const RECORD: OpRecord = {
  type: 'op',
  seq: 7,
  at: '2026-01-31T12:00:00.000Z',
  op_id: made(parseOpId('0123456789abcdef')),
  vmid: made(parseVmid(101)),
  guest_kind: 'qemu',
  kind: 'start',
  state: 'failed',
  attempt: 1,
  origin: 'reconcile',
  correlation_id: made(parseCorrelationId('pass-1')),
  upid: made(parseUpid('UPID:pve1:00000001:00000002:00000003:qmstart:101:root@pam:')),
  error: { code: 'task_failed', message: 'no\u001B[2J space' },
};

function logTo(isTTY: boolean): { read: () => string; log: ReturnType<typeof createLog> } {
  const err = Object.assign(new PassThrough(), { isTTY });
  const terminal = createTerminal({ out: new PassThrough(), err }, { NO_COLOR: '1' });
  return { read: () => String(err.read()), log: createLog(terminal.err) };
}

test('for machines a line is JSON, with the ids that tie it to the op', () => {
  const { read, log } = logTo(false);
  createEventLogger(log, () => undefined)({ kind: 'op', record: RECORD });
  expect(JSON.parse(read())).toEqual({
    level: 'error',
    time: expect.stringMatching(/^\d{4}-.*Z$/),
    op_id: '0123456789abcdef',
    vmid: 101,
    origin: 'reconcile',
    attempt: 1,
    correlation_id: 'pass-1',
    upid: RECORD.upid,
    code: 'task_failed',
    message: 'start failed: no\u001B[2J space',
  });
});

test('for people a line is readable, and nothing in it can move their cursor', () => {
  const { read, log } = logTo(true);
  createEventLogger(log, () => undefined)({ kind: 'op', record: RECORD });
  expect(read()).toMatch(
    /^\d\d:\d\d:\d\d\.\d{3} error start failed: no\\x1b\[2J space op_id=0123456789abcdef vmid=101 /,
  );
});

test('a pass that found nothing new is not a line', () => {
  const { read, log } = logTo(false);
  const logger = createEventLogger(log, () => undefined);
  const passId = made(parseCorrelationId('pass-1'));
  const pass = { kind: 'pass', passId, plan: { entries: [] }, durationMs: 1 } as const;
  for (let i = 0; i < 3; i++) logger(pass);
  expect(read().trim().split('\n')).toHaveLength(1);
});

test('what an op waits for is a line when it begins, by the op, and none while it goes on', () => {
  const { read, log } = logTo(false);
  const { vmid, op_id } = RECORD;
  const logger = createEventLogger(log, () => op_id);
  const wait = (code: string, message: string): void =>
    logger({ kind: 'waiting', vmid, wait: { code, message, untilMs: 5_000 } });
  const busy = 'waits for one of the 4 slots of this node';
  for (let i = 0; i < 3; i++) {
    wait('guest_locked', 'the guest is locked (backup)');
    wait('node_busy', busy);
    logger({ kind: 'waiting', vmid, wait: null });
  }
  for (const seconds of [65, 60, 5]) wait('unknown', `not asked again for ${seconds} s: down`);
  logger({ kind: 'op', record: RECORD });
  wait('guest_locked', 'the guest is locked (backup)');
  const lines = read().trim().split('\n');
  expect(lines.map((line) => JSON.parse(line))).toMatchObject([
    { op_id, vmid, code: 'guest_locked', message: 'waits: the guest is locked (backup)' },
    { op_id, vmid, code: 'node_busy' },
    { op_id, vmid, code: 'unknown', message: 'waits: not asked again for 65 s: down' },
    { message: expect.stringMatching(/^start failed/) },
    { op_id, vmid, code: 'guest_locked' },
  ]);
});

test.each([
  [['in_sync'], '1 guest is in sync'],
  [['in_sync', 'in_sync'], 'all 2 guests are in sync'],
  [['drift', 'in_sync'], '1 of 2 guests is not in sync: 101'],
  [['drift', 'skipped'], '2 of 2 guests are not in sync: 101, 101'],
  [['unknown', 'unknown'], '2 of 2 guests were not read: 101, 101'],
  [['unknown', 'drift', 'in_sync'], '1 of 3 guests is not in sync: 101; 1 was not read: 101'],
] as const)('a pass that found %j says so', (found, text) => {
  const { read, log } = logTo(false);
  const entries = found.map(entryOf);
  const passId = made(parseCorrelationId('pass-1'));
  const event = { kind: 'pass', passId, plan: { entries }, durationMs: 1 } as const;
  createEventLogger(log, () => undefined)(event);
  expect(JSON.parse(read()).message).toBe(text);
});

function entryOf(status: PlanEntry['status']): PlanEntry {
  return {
    vmid: RECORD.vmid,
    kind: 'qemu',
    name: 'web',
    mode: 'enforce',
    status,
    power: { desired: 'running', actual: 'running' },
    changes: [],
    actions: [],
    verdict: { kind: 'go' },
    conditions: [],
  };
}

test('a secret masks itself, whoever logs it', () => {
  const { read, log } = logTo(false);
  log.info({ token: PveToken.parse('agent@pve!agent=5ecre7') }, 'up');
  expect(read()).not.toContain('5ecre7');
});
