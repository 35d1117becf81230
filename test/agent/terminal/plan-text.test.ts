import { PassThrough } from 'node:stream';
import { expect, test } from 'vitest';
import { planDocument } from '../../../src/agent/control/plan-document.ts';
import { planLines } from '../../../src/agent/terminal/plan-text.ts';
import { createTerminal } from '../../../src/agent/terminal/terminal.ts';
import { parseVmid, type Vmid } from '../../../src/reconcile/ids.ts';
import type { Change, Plan, PlanEntry } from '../../../src/reconcile/plan.ts';

function vmidOf(number: number): Vmid {
  const vmid = parseVmid(number);
  if (vmid === null) throw new Error('not a vmid');
  return vmid;
}

function entry(number: number, more: Partial<PlanEntry>): PlanEntry {
  return {
    vmid: vmidOf(number),
    kind: 'qemu',
    name: `guest-${number}`,
    mode: 'enforce',
    status: 'in_sync',
    power: { desired: 'unmanaged', actual: 'running' },
    changes: [],
    actions: [],
    verdict: { kind: 'go' },
    conditions: [],
    ...more,
  };
}

const change = (key: string, current: string | null, desired: string | null): Change => ({
  key,
  current,
  desired,
  reversibility: 'benign',
  isWritten: false,
});

const locked = { code: 'guest_locked', message: 'backup', untilMs: 0 } as const;
const PLAN: Plan = {
  entries: [
    entry(101, {
      status: 'drift',
      changes: [
        change('cores', '2', '4'),
        change('description', null, 'one\ntwo'),
        change('balloon', '512', null),
        change('cipassword', '********', '********'),
        { ...change('memory', '1024', '2048'), isWritten: true, pending: '2048' },
      ],
      actions: [
        {
          action: {
            kind: 'set_config',
            params: {
              set: { cores: '4', description: 'one\ntwo', cipassword: 'hunter2' },
              delete: ['balloon'],
            },
          },
          reversibility: 'benign',
          digest: 'd',
          remarks: [],
        },
      ],
      conditions: [{ code: 'restart_required', message: 'memory', keys: ['memory'] }],
    }),
    entry(102, {
      status: 'drift',
      actions: [
        {
          action: { kind: 'stop', params: { mode: 'shutdown', timeout_s: 60, force: true } },
          reversibility: 'disruptive',
          remarks: ['HA cuts the power'],
        },
      ],
      verdict: { kind: 'wait', condition: locked },
      conditions: [locked],
    }),
    entry(103, {}),
    entry(104, {
      kind: null,
      name: null,
      status: 'skipped',
      mode: 'observe',
      conditions: [{ code: 'not_found', message: 'no such guest' }],
    }),
  ],
};

function linesFor(): string[] {
  const terminal = createTerminal({ out: new PassThrough(), err: new PassThrough() }, {});
  return planLines(PLAN, terminal.out);
}

test('a plan is grouped by guest, old and new aligned, the summary last', () => {
  expect(`\n${linesFor().join('\n')}\n`).toBe(`
  101 qemu guest-101  differs
      ~ cores        2         → 4
      + description  (not set) → one\\ntwo
      - balloon      512       → (not set)
      ~ cipassword   ********  → ********
      ~ memory       1024      → 2048  (written, waits for a restart)
      → set_config (cores, description, cipassword, -balloon)
      ! restart_required: memory
  102 qemu guest-102  differs
      ‖ stop (shutdown, 60 s, then hard) [disruptive] (held back)
        HA cuts the power
      ! guest_locked: backup, until 1970-01-01T00:00:00.000Z
  103 qemu guest-103  in sync
  104   skipped (observe)
      ! not_found: no such guest

4 guests: 1 in sync, 2 differ, 1 skipped, 1 held back; to do: 1 set_config
`);
});

test('where the terminal is too narrow for both, old and new stand below each other in full', () => {
  const [old, desired] = [`${'a'.repeat(60)},tag=1`, `${'a'.repeat(60)},tag=2`];
  const long = [entry(101, { status: 'drift', changes: [change('net0', old, desired)] })];
  const out = Object.assign(new PassThrough(), { isTTY: true, columns: 80 });
  const terminal = createTerminal({ out, err: new PassThrough() }, { NO_COLOR: '1' });
  expect(planLines({ entries: long }, terminal.out).slice(1, 3)).toEqual([
    `      ~ net0    ${old}`,
    `              → ${desired}`,
  ]);
});

test('values below each other leave the width of those beside each other as it is', () => {
  const old = 'a'.repeat(60);
  const changes = [change('cores', '2', '4'), change('net0', old, `${old},tag=2`)];
  const out = Object.assign(new PassThrough(), { isTTY: true, columns: 80 });
  const terminal = createTerminal({ out, err: new PassThrough() }, { NO_COLOR: '1' });
  const plan = { entries: [entry(101, { status: 'drift', changes })] };
  expect(planLines(plan, terminal.out)[1]).toBe('      ~ cores  2 → 4');
});

test('the JSON holds no secret, also not in what would be written', () => {
  const text = JSON.stringify(planDocument(PLAN, []));
  expect(text).not.toContain('hunter2');
  expect(JSON.parse(text)).toMatchObject({
    summary: { guests: 4, held_back: 1, actions: { set_config: 1, stop: 0 } },
    guests: [
      { actions: [{ params: { set: { cores: '4', cipassword: '********' } } }] },
      {},
      {},
      {},
    ],
  });
});
