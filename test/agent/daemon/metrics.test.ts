/** Metrics: what each counts, that no label is unbounded, and that Prometheus' own tool takes them. */
import { spawnSync } from 'node:child_process';
import { expect, test } from 'vitest';
import { createMetrics } from '../../../src/agent/daemon/metrics.ts';
import type { Clock } from '../../../src/reconcile/clock.ts';
import {
  makeCorrelationId,
  makeOpId,
  type OpId,
  parseUpid,
  parseVmid,
} from '../../../src/reconcile/ids.ts';
import { OP_KINDS, type OpRecord, type OpState } from '../../../src/reconcile/op.ts';
import type { PlanEntry } from '../../../src/reconcile/plan.ts';
import type { OpView } from '../../../src/reconcile/ports.ts';
import { seededRandom } from '../../support/seeded-random.ts';

const START_MS = Date.UTC(2026, 10, 20);
const random = seededRandom(1);

interface Setup {
  readonly inFlight?: readonly OpView[];
}

function setUp({ inFlight = [] }: Setup = {}) {
  const clock: Clock = {
    now: () => START_MS + 60_000,
    monotonicMs: () => 0,
    sleep: () => Promise.resolve(),
  };
  const metrics = createMetrics({
    clock,
    version: '1.2.3',
    ledger: { opsInFlight: () => inFlight, holds: () => new Map(), pause: () => null },
    isReady: () => true,
    hub: () => ({
      state: 'connected',
      receipts: { count: 2, oldestAtMs: START_MS + 30_000 },
    }),
  });
  return metrics;
}

function record(opId: OpId, state: OpState, fields: Partial<OpRecord> & { atMs?: number } = {}) {
  const { atMs = 0, ...others } = fields;
  const vmid = parseVmid(101);
  if (vmid === null) throw new Error('unreachable');
  const made: OpRecord = {
    type: 'op',
    seq: 1,
    at: new Date(START_MS + atMs).toISOString(),
    op_id: opId,
    vmid,
    guest_kind: 'qemu',
    kind: 'start',
    state,
    attempt: state === 'received' ? 0 : 1,
    origin: 'operator',
    ...others,
  };
  return { kind: 'op', record: made } as const;
}

async function valueOf(metrics: ReturnType<typeof setUp>, series: string): Promise<number> {
  const { text } = await metrics.render();
  const line = text.split('\n').find((each) => each.startsWith(`pve_reconciler_${series} `));
  return line === undefined ? Number.NaN : Number(line.split(' ').at(-1));
}

test('an op is counted by kind, origin and outcome, and its time by phase', async () => {
  const metrics = setUp();
  const opId = makeOpId(random);
  metrics.observe(record(opId, 'received'));
  metrics.observe(record(opId, 'started', { atMs: 2_000 }));
  metrics.observe(record(opId, 'task_running', { atMs: 2_500 }));
  metrics.observe(record(opId, 'succeeded', { atMs: 5_500 }));
  const expected: Record<string, number> = {
    workqueue_adds_total: 1,
    workqueue_retries_total: 0,
    'ops_total{kind="start",origin="operator",outcome="succeeded"}': 1,
    workqueue_queue_duration_seconds_sum: 2,
    workqueue_work_duration_seconds_sum: 3.5,
    'op_phase_seconds_sum{kind="start",phase="received"}': 2,
    'op_phase_seconds_sum{kind="start",phase="started"}': 0.5,
    'op_phase_seconds_sum{kind="start",phase="task_running"}': 3,
  };
  for (const [series, value] of Object.entries(expected)) {
    expect(await valueOf(metrics, series), series).toBe(value);
  }
});

test('a failure counts under its code, another attempt as a retry', async () => {
  const metrics = setUp();
  const opId = makeOpId(random);
  const error = { code: 'task_failed', message: 'whatever PVE said' } as const;
  metrics.observe(record(opId, 'received'));
  metrics.observe(record(opId, 'started', { atMs: 1_000 }));
  metrics.observe(record(opId, 'started', { atMs: 2_000, attempt: 2 }));
  metrics.observe(record(opId, 'failed', { atMs: 3_000, attempt: 2, error }));
  const series = 'ops_total{kind="start",origin="operator",outcome="task_failed"}';
  expect(await valueOf(metrics, series)).toBe(1);
  expect(await valueOf(metrics, 'workqueue_retries_total')).toBe(1);
  expect(await valueOf(metrics, 'workqueue_work_duration_seconds_sum')).toBe(2);
});

test('what is under way is read as of the scrape', async () => {
  const opId = makeOpId(random);
  const { record: first } = record(opId, 'started');
  const view = { opId, first, latest: first, started: first };
  const queued = { ...view, latest: record(opId, 'received').record, startedAtMs: null };
  const metrics = setUp({
    inFlight: [
      { ...view, startedAtMs: START_MS, latestAtMs: START_MS },
      { ...view, startedAtMs: START_MS + 30_000, latestAtMs: START_MS + 30_000 },
      { ...queued, latestAtMs: START_MS },
    ],
  });
  expect(await valueOf(metrics, 'workqueue_depth')).toBe(1);
  expect(await valueOf(metrics, 'ops_in_flight')).toBe(2);
  expect(await valueOf(metrics, 'workqueue_longest_running_processor_seconds')).toBe(60);
  expect(await valueOf(metrics, 'workqueue_unfinished_work_seconds')).toBe(90);
});

test('a pass counts guests by each condition they show, and none when it has gone', async () => {
  const [vmid, other] = [parseVmid(101), parseVmid(102)];
  if (vmid === null || other === null) throw new Error('unreachable');
  const inSync: PlanEntry = {
    vmid,
    kind: 'qemu',
    name: null,
    mode: 'enforce',
    status: 'in_sync',
    power: { desired: 'running', actual: 'running' },
    changes: [],
    actions: [],
    verdict: { kind: 'go' },
    conditions: [],
  };
  const flapping = { code: 'flapping', message: '3 starts in 10 minutes' } as const;
  const locked = { code: 'guest_locked', message: 'backup' } as const;
  const metrics = setUp();
  const pass = (...entries: PlanEntry[]): void => {
    const passId = makeCorrelationId(random);
    metrics.observe({ kind: 'pass', passId, plan: { entries }, durationMs: 5 });
  };
  pass(
    { ...inSync, conditions: [flapping, locked, locked] },
    { ...inSync, vmid: other, conditions: [locked] },
  );
  expect(await valueOf(metrics, 'guest_conditions{condition="flapping"}')).toBe(1);
  expect(await valueOf(metrics, 'guest_conditions{condition="guest_locked"}')).toBe(2);
  expect(await valueOf(metrics, 'guest_conditions{condition="io_error"}')).toBe(0);
  pass(inSync, { ...inSync, vmid: other });
  expect(await valueOf(metrics, 'guest_conditions{condition="guest_locked"}')).toBe(0);
});

test('ten thousand ops of as many guests make no more series than their kinds do', async () => {
  const metrics = setUp();
  const series = async (): Promise<number> =>
    (await metrics.render()).text.split('\n').filter((line) => !line.startsWith('#')).length;
  const run = (count: number): void => {
    for (let i = 0; i < count; i++) {
      const vmid = parseVmid(100 + i);
      if (vmid === null) throw new Error('unreachable');
      const kind = OP_KINDS[i % OP_KINDS.length] ?? 'start';
      const opId = makeOpId(random);
      const upid = parseUpid(`UPID:pve1:00000001:00000002:0000000${i % 10}:qmstart:101:root@pam:`);
      const fields = { vmid, kind, actor: `actor ${i}`, ...(upid === null ? {} : { upid }) };
      metrics.observe(record(opId, 'started', fields));
      metrics.observe(record(opId, 'succeeded', fields));
    }
  };
  run(8);
  const few = await series();
  run(10_000);
  expect(await series()).toBe(few);
});

test('promtool finds nothing to mend', async () => {
  const metrics = setUp();
  const opId = makeOpId(random);
  metrics.observe(record(opId, 'started'));
  metrics.observe(record(opId, 'succeeded', { atMs: 10 }));
  metrics.onRequest({ method: 'GET', route: '/nodes/{node}/qemu', status: 200, durationMs: 12 });
  metrics.onRequest({ method: 'GET', route: '/nodes/{node}/qemu', status: null, durationMs: 12 });
  metrics.onSynced({ bytes: 512, durationMs: 1.5 });
  metrics.countRejection('signature_invalid');
  expect(await valueOf(metrics, 'hub_connection{state="connected"}')).toBe(1);
  expect(await valueOf(metrics, 'hub_receipts_waiting')).toBe(2);
  expect(await valueOf(metrics, 'hub_oldest_receipt_seconds')).toBe(30);
  const { text, type } = await metrics.render();
  expect(type).toMatch(/^text\/plain; version=0\.0\.4/);
  const lint = spawnSync('promtool', ['check', 'metrics'], { input: text, encoding: 'utf8' });
  if (lint.error === undefined) {
    expect(lint.stdout + lint.stderr).toBe('');
    expect(lint.status).toBe(0);
  }
  for (const line of text.split('\n').filter((each) => each !== '')) {
    expect(line).toMatch(/^(#|(pve_reconciler|process)_[a-z_]+(\{.*\})? [-+0-9.e]+$)/);
  }
});
