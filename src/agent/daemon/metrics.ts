/**
 * Metrics in Prometheus text. Fed by the engine's events and by hooks of the PVE client and the
 * journal; what is a state and no event is read when somebody scrapes.
 *
 * No label holds what a user, a guest or PVE may choose: every label's values are one of our own
 * lists, so the number of series is bounded. The words are controller-runtime's where it has them.
 */
import { Counter, Gauge, Histogram, Registry } from 'prom-client';
import type { RequestInfo } from '../../proxmox/client.ts';
import type { Clock } from '../../reconcile/clock.ts';
import type { ErrorCode } from '../../reconcile/errors.ts';
import type { EngineEvent } from '../../reconcile/events.ts';
import { holdsInForce, unlessOver } from '../../reconcile/hold.ts';
import { isTerminal, type OpRecord } from '../../reconcile/op.ts';
import { CONDITION_CODES, type Plan } from '../../reconcile/plan.ts';
import type { OpLedger, OpView, Pause } from '../../reconcile/ports.ts';
import { summarise } from '../control/plan-document.ts';
import { OpTimes } from './op-times.ts';

const PREFIX = 'pve_reconciler_';
/** From a config write to a guest that takes its minutes to shut down. */
const OP_BUCKETS_S = [0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 900];
const PASS_BUCKETS_S = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30];
const SYNC_BUCKETS_S = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1];

const HUB_STATES = ['connected', 'connecting', 'waiting', 'off'] as const;

export interface HubFacts {
  readonly state: (typeof HUB_STATES)[number];
  /** How many wait for the hub to take them, about, and when the oldest op of them ended. */
  readonly receipts: { readonly count: number; readonly oldestAtMs: number | null };
}

/** What the edges call as it happens; must not throw and must not wait. */
interface Probes {
  readonly onRequest: (request: RequestInfo) => void;
  readonly onSynced: (batch: { readonly bytes: number; readonly durationMs: number }) => void;
}

export interface Metrics extends Probes {
  observe(event: EngineEvent): void;
  countRejection(code: ErrorCode): void;
  /** Prometheus text and its content type. */
  render(): Promise<{ readonly type: string; readonly text: string }>;
}

export interface MetricsParts {
  readonly ledger: Pick<OpLedger, 'opsInFlight' | 'holds' | 'pause'>;
  readonly clock: Clock;
  readonly version: string;
  readonly isReady: () => boolean;
  /** Null: no hub is configured. */
  readonly hub: () => HubFacts | null;
}

export function createMetrics(parts: MetricsParts): Metrics {
  const registry = new Registry();
  const ops = createOpMetrics(registry, parts);
  const passes = createPassMetrics(registry, parts);
  const edges = createEdgeMetrics(registry);
  createStateMetrics(registry, parts);
  createProcessMetrics(registry);
  return {
    ...edges,
    observe(event) {
      if (event.kind === 'op') ops(event.record);
      if (event.kind === 'pass') passes(event.plan, event.durationMs);
    },
    render: async () => ({ type: registry.contentType, text: await registry.metrics() }),
  };
}

/** Ops through the lanes, in the words of controller-runtime's work queue. */
function createOpMetrics(registry: Registry, { ledger }: MetricsParts): (record: OpRecord) => void {
  const make = makers(registry);
  const adds = make.counter('workqueue_adds_total', 'Ops taken up.');
  const retries = make.counter('workqueue_retries_total', 'Attempts beyond the first of an op.');
  const queued = make.histogram(
    'workqueue_queue_duration_seconds',
    'How long ops waited for their turn.',
    OP_BUCKETS_S,
  );
  const worked = make.histogram(
    'workqueue_work_duration_seconds',
    'How long ops took from their first attempt to their end.',
    OP_BUCKETS_S,
  );
  const outcomes = make.counter('ops_total', 'Ops that ended.', ['kind', 'origin', 'outcome']);
  const phases = make.histogram(
    'op_phase_seconds',
    'How long each phase of an op took: received, started (the request), task_running.',
    OP_BUCKETS_S,
    ['kind', 'phase'],
  );
  const times = new OpTimes(ledger.opsInFlight());
  return (record) => {
    const { kind, origin, state } = record;
    const step = times.note(record);
    if (step.isNew) adds.inc();
    if (state === 'started' && record.attempt > 1) retries.inc();
    if (step.phase !== null) phases.observe({ kind, phase: step.phase }, step.phaseMs / 1000);
    if (step.queuedMs !== null) queued.observe(step.queuedMs / 1000);
    if (step.workedMs !== null) worked.observe(step.workedMs / 1000);
    if (!isTerminal(state)) return;
    outcomes.inc({ kind, origin, outcome: record.error?.code ?? 'succeeded' });
  };
}

function createPassMetrics(
  registry: Registry,
  { clock }: MetricsParts,
): (plan: Plan, durationMs: number) => void {
  const make = makers(registry);
  const passes = make.counter('reconcile_total', 'Passes by result.', ['result']);
  const seconds = make.histogram(
    'reconcile_time_seconds',
    'How long a pass took: look, plan, admit.',
    PASS_BUCKETS_S,
  );
  const last = make.gauge('last_pass_timestamp_seconds', 'When the last pass ended.');
  const guests = make.gauge('guests', 'Desired guests by their state in the last plan.', [
    'status',
  ]);
  const drifted = make.gauge('drifted_guests', 'Desired guests that differ.');
  const heldBack = make.gauge('held_back_guests', 'Guests whose actions wait for something.');
  const conditions = make.gauge(
    'guest_conditions',
    'Desired guests that show this condition in the last plan.',
    ['condition'],
  );
  return (plan, durationMs) => {
    const { status, held_back } = summarise(plan);
    seconds.observe(durationMs / 1000);
    last.set(clock.now() / 1000);
    passes.inc({ result: resultOf(status) });
    for (const [name, count] of Object.entries(status)) guests.set({ status: name }, count);
    drifted.set(status.drift);
    heldBack.set(held_back);
    const shown = plan.entries.map((entry) => new Set(entry.conditions.map(({ code }) => code)));
    for (const condition of CONDITION_CODES) {
      conditions.set({ condition }, shown.filter((codes) => codes.has(condition)).length);
    }
  };
}

/** As controller-runtime: `requeue` has more to do, `error` could not see all. */
function resultOf(status: { readonly unknown: number; readonly drift: number }): string {
  if (status.unknown > 0) return 'error';
  return status.drift > 0 ? 'requeue' : 'success';
}

function createEdgeMetrics(registry: Registry): Pick<Metrics, keyof Probes | 'countRejection'> {
  const make = makers(registry);
  const requests = make.counter(
    'pve_requests_total',
    'Requests to the PVE API by endpoint and HTTP status (none: no answer).',
    ['method', 'endpoint', 'status'],
  );
  const requestSeconds = make.histogram(
    'pve_request_duration_seconds',
    'How long PVE took to answer.',
    PASS_BUCKETS_S,
    ['method', 'endpoint'],
  );
  const syncs = make.histogram(
    'journal_sync_duration_seconds',
    'How long a write and its sync took.',
    SYNC_BUCKETS_S,
  );
  const bytes = make.counter('journal_written_bytes_total', 'Bytes written to the journal.');
  const rejections = make.counter('signature_rejections_total', 'Signed ops refused, by code.', [
    'code',
  ]);
  return {
    onRequest({ method, route: endpoint, status, durationMs }) {
      requests.inc({ method, endpoint, status: status === null ? 'none' : String(status) });
      requestSeconds.observe({ method, endpoint }, durationMs / 1000);
    },
    onSynced(batch) {
      syncs.observe(batch.durationMs / 1000);
      bytes.inc(batch.bytes);
    },
    countRejection: (code) => rejections.inc({ code }),
  };
}

/** What is read when somebody scrapes. */
function createStateMetrics(
  registry: Registry,
  { ledger, clock, version, isReady, hub }: MetricsParts,
): void {
  const make = makers(registry);
  const inFlight = (): readonly OpView[] => ledger.opsInFlight();
  const ages = (): number[] =>
    inFlight().flatMap(({ startedAtMs }) =>
      startedAtMs === null ? [] : [Math.max(0, clock.now() - startedAtMs) / 1000],
    );
  const isInForce = (pause: Pause): boolean => unlessOver(pause, clock.now()) !== null;
  make.value('workqueue_depth', 'Ops that wait for their turn.', () => {
    return inFlight().filter(({ latest }) => latest.state === 'received').length;
  });
  make.value('ops_in_flight', 'Ops that have begun and not ended.', () => ages().length);
  make.value('workqueue_unfinished_work_seconds', 'Time in work, over all ops at work.', () =>
    ages().reduce((total, age) => total + age, 0),
  );
  make.value(
    'workqueue_longest_running_processor_seconds',
    'Time in work of the op that has been at work longest.',
    () => Math.max(0, ...ages()),
  );
  make.value('holds', 'Guests on hold.', () => {
    return holdsInForce({ holds: ledger.holds(), inFlight: inFlight(), nowMs: clock.now() }).size;
  });
  make.value('paused', 'Has an operator paused reconciling?', () => {
    const pause = ledger.pause();
    return pause !== null && isInForce(pause) ? 1 : 0;
  });
  make.value('ready', 'As /readyz says.', () => (isReady() ? 1 : 0));
  make.gauge('build_info', 'Which version runs.', ['version']).set({ version }, 1);
  make.gauge('hub_connection', 'Is the connection to the hub in this state?', ['state'], (made) => {
    const now = hub()?.state ?? 'off';
    for (const state of HUB_STATES) made.set({ state }, state === now ? 1 : 0);
  });
  make.value(
    'hub_receipts_waiting',
    'Receipts the hub has not taken, but what an earlier life left unread.',
    () => hub()?.receipts.count ?? 0,
  );
  make.value('hub_oldest_receipt_seconds', 'How long ago the oldest op of them ended.', () => {
    const oldestAtMs = hub()?.receipts.oldestAtMs ?? clock.now();
    return Math.max(0, clock.now() - oldestAtMs) / 1000;
  });
}

/** Under the names every Prometheus client uses. */
function createProcessMetrics(registry: Registry): void {
  const make = makers(registry, 'process_');
  make.value('resident_memory_bytes', 'Resident memory.', () => process.memoryUsage.rss());
  const startedS = Math.round(performance.timeOrigin) / 1000;
  make.value('start_time_seconds', 'When it began, in seconds since 1970.', () => startedS);
  make.counter('cpu_seconds_total', 'User and system CPU time.', [], (cpu) => {
    const { user, system } = process.cpuUsage();
    cpu.reset();
    cpu.inc((user + system) / 1e6);
  });
}

/** Metrics of this registry, by names without their prefix; what is last is asked at each scrape. */
function makers(registry: Registry, prefix = PREFIX) {
  const registers = [registry];
  const gauge = <Label extends string>(
    name: string,
    help: string,
    labelNames: Label[] = [],
    collect?: (gauge: Gauge<Label>) => void,
  ): Gauge<Label> => {
    const read = collect === undefined ? {} : { collect: () => collect(made) };
    const made: Gauge<Label> = new Gauge({
      name: prefix + name,
      help,
      labelNames,
      registers,
      ...read,
    });
    return made;
  };
  return {
    gauge,
    value: (name: string, help: string, read: () => number) =>
      gauge(name, help, [], (made) => made.set(read())),
    counter: <Label extends string>(
      name: string,
      help: string,
      labelNames: Label[] = [],
      collect?: (counter: Counter<Label>) => void,
    ): Counter<Label> => {
      const read = collect === undefined ? {} : { collect: () => collect(made) };
      const made: Counter<Label> = new Counter({
        name: prefix + name,
        help,
        labelNames,
        registers,
        ...read,
      });
      return made;
    },
    histogram: <Label extends string>(
      name: string,
      help: string,
      buckets: number[],
      labelNames: Label[] = [],
    ) => new Histogram({ name: prefix + name, help, buckets, labelNames, registers }),
  };
}
