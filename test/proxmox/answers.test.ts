import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type * as z from 'zod';
import * as answers from '../../src/proxmox/answers.ts';
import { parseAnswer } from '../../src/proxmox/answers.ts';
import { readConfig, readGuest } from '../../src/proxmox/guest-values.ts';
import { readSteps, type Step } from './transcripts.ts';

/** The answers that are read, by path. */
const SCHEMAS: readonly (readonly [RegExp, z.ZodType, number])[] = [
  [/^\/version$/, answers.version, 5],
  [/^\/access\/permissions$/, answers.permissions, 7],
  [/^\/nodes\/pve1\/(?:qemu|lxc)$/, answers.guestRows, 10],
  [/^\/nodes\/pve1\/(?:qemu|lxc)\/\d+\/status\/current$/, answers.guestRow, 80],
  [/^\/nodes\/pve1\/(?:qemu|lxc)\/\d+\/pending$/, answers.pendingRows, 20],
  [/^\/nodes\/pve1\/tasks$/, answers.taskRows, 60],
  [/^\/nodes\/pve1\/tasks\/[^/]+\/status$/, answers.taskStatus, 400],
  [/^\/cluster\/ha\/status\/current$/, answers.haStatus, 20],
];

function dataOf(step: Step): unknown {
  return Reflect.get(Object(step.body), 'data');
}

function isRead(step: Step, pattern: RegExp): boolean {
  return step.method === 'GET' && step.status === 200 && pattern.test(step.path);
}

describe('answers', () => {
  it.each(SCHEMAS)('every recorded answer to %s fits', (pattern, schema, atLeast) => {
    const steps = readSteps().filter((step) => isRead(step, pattern));
    expect(steps.length).toBeGreaterThanOrEqual(atLeast);
    for (const step of steps) {
      const parsed = parseAnswer(schema, dataOf(step), step.path);
      expect({ transcript: step.transcript, ...parsed }).toMatchObject({ kind: 'value' });
    }
  });

  it('a list of guests and logs of tasks fit, except where asked for as text', () => {
    for (const step of readSteps()) {
      if (isRead(step, /^\/cluster\/resources$/) && step.query['type'] === 'vm') {
        expect(parseAnswer(answers.clusterGuests, dataOf(step), step.path).kind).toBe('value');
      }
      if (isRead(step, /\/log$/) && step.query['download'] === undefined) {
        expect(parseAnswer(answers.taskLog, dataOf(step), step.path).kind).toBe('value');
      }
    }
  });

  it.each<[string, z.ZodType, unknown, string]>([
    [
      'a status nobody knows',
      answers.guestRow,
      { vmid: 100, status: 'melting' },
      'data.status is "melting"',
    ],
    [
      'an object for a number',
      answers.guestRow,
      { vmid: {}, status: 'running' },
      'data.vmid is {}',
    ],
    [
      'a vmid that is none',
      answers.guestRows,
      [{ vmid: 7, status: 'running' }],
      'data.0.vmid is 7',
    ],
    ['a missing field', answers.guestRow, { vmid: 100 }, 'data.status is nothing'],
    ['an object for a list', answers.guestRows, { a: 1 }, 'data is {"a":1}'],
    ['a text for a UPID', answers.submittedTask, 'OK', 'data is "OK"'],
    ['null for a task', answers.submittedTask, null, 'data is null'],
  ])('%s is an error that names path, field and value', (_, schema, data, said) => {
    const parsed = parseAnswer(schema, data, 'GET /nodes/pve1/qemu');
    expect(parsed.kind).toBe('misfit');
    if (parsed.kind !== 'misfit') return;
    expect(parsed.problem.code).toBe('service_unavailable');
    expect(parsed.problem.message).toContain(said);
    expect(parsed.problem.message).toContain('[GET /nodes/pve1/qemu]');
  });

  it('whatever the JSON, the outcome is a value or a short error', () => {
    fc.assert(
      fc.property(fc.jsonValue(), (data) => {
        for (const [, schema] of SCHEMAS) {
          const parsed = parseAnswer(schema, data, 'GET /x');
          if (parsed.kind === 'misfit') expect(parsed.problem.message.length).toBeLessThan(400);
        }
      }),
      { numRuns: 300 },
    );
  });

  it.each<[unknown, unknown, unknown]>([
    [1, '1', true],
    [0, '0', false],
    ['', false, false],
  ])('%j and %j are the same template flag', (a, b, flag) => {
    for (const template of [a, b]) {
      const row = answers.guestRow.parse({ vmid: '100', status: 'stopped', template, uptime: '7' });
      expect(row).toMatchObject({ vmid: 100, template: flag, uptime: 7 });
    }
  });
});

describe('guests from their rows', () => {
  const nowMs = 1_795_000_000_000;

  it('absent, empty and blank are the same', () => {
    const plain = { vmid: 100, status: 'stopped' };
    for (const more of [
      {},
      { name: '', tags: '', lock: '' },
      { name: ' ', tags: ' ', lock: null },
    ]) {
      const guest = readGuest('qemu', answers.guestRow.parse({ ...plain, ...more }), nowMs);
      expect(guest).toMatchObject({ name: null, tags: [], lock: null, bootedAtMs: null });
    }
  });

  it('a running guest booted its uptime ago', () => {
    const row = answers.guestRow.parse({ vmid: 100, status: 'running', uptime: 60, tags: 'a;b' });
    expect(readGuest('lxc', row, nowMs)).toMatchObject({
      bootedAtMs: nowMs - 60_000,
      tags: ['a', 'b'],
    });
  });

  it('a row without `ha` leaves HA not read', () => {
    const row = { vmid: 100, status: 'running' };
    const ha = (more: object): unknown =>
      readGuest('qemu', answers.guestRow.parse({ ...row, ...more }), nowMs).ha;
    expect(ha({})).toEqual({ kind: 'not_read' });
    expect(ha({ ha: { managed: 0 } })).toEqual({ kind: 'unmanaged' });
    expect(ha({ ha: { managed: 1, state: null } })).toEqual({ kind: 'managed', state: null });
    expect(ha({ ha: { managed: '1', state: 'started' } })).toEqual({
      kind: 'managed',
      state: 'started',
    });
  });
});

describe('configs from /pending', () => {
  const digest = 'ab'.repeat(20);
  const read = (rows: object[]): ReturnType<typeof readConfig> =>
    readConfig(answers.pendingRows.parse([...rows, { key: 'digest', value: digest }]), 7);

  it('current, pending and digest come apart; numbers become their text', () => {
    const look = read([
      { key: 'memory', value: '32', pending: '48' },
      { key: 'vga', pending: 'virtio' },
      { key: 'kvm', value: 0, delete: 1 },
      { key: 'cores', value: 1 },
    ]);
    expect(look).toEqual({
      kind: 'known',
      config: {
        digest,
        current: new Map([
          ['memory', '32'],
          ['kvm', '0'],
          ['cores', '1'],
        ]),
        pending: new Map<string, unknown>([
          ['memory', { kind: 'set', value: '48' }],
          ['vga', { kind: 'set', value: 'virtio' }],
          ['kvm', { kind: 'delete' }],
        ]),
        readAtMs: 7,
      },
    });
  });

  it('a row with both is what it will be set to', () => {
    const look = read([{ key: 'cores', value: 1, delete: 1, pending: '2' }]);
    expect(look.kind === 'known' && look.config.pending.get('cores')).toEqual({
      kind: 'set',
      value: '2',
    });
  });

  it('without a digest the config is unknown', () => {
    const rows = answers.pendingRows.parse([{ key: 'cores', value: 1 }]);
    expect(readConfig(rows, 7).kind).toBe('unknown');
  });
});
