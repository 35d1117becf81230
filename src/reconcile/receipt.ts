/**
 * The outcome of an op in one place: what `ops show`, the API and the hub tell of it. Computed from
 * the op's records and nothing else, so it is the same wherever it is asked for, and after any
 * restart. Pure.
 */
import { type ErrorCode, type Problem, ReconcilerError } from './errors.ts';
import type { GuestKind } from './guest.ts';
import type { CorrelationId, OpId, Upid, Vmid } from './ids.ts';
import {
  type Action,
  isTerminal,
  type Observed,
  type OpKind,
  type OpOrigin,
  type OpRecord,
  type OpSigner,
} from './op.ts';

/** The first lines of a task's log say what was tried, the last ones why it failed. */
export const LOG_LINES_KEPT = 50;

export interface AttemptReceipt {
  readonly number: number;
  readonly outcome: 'succeeded' | 'failed' | 'in_flight';
  readonly upid: Upid | null;
  /** PVE's words. */
  readonly exitStatus: string | null;
  readonly error: Problem | null;
}

/** How long the op was in each phase, ms; null: it has not been in it. */
export interface PhaseTimes {
  /** From `received` to its first attempt: other ops, guards. */
  readonly waitedMs: number | null;
  /** From `started` to the task, or to the end where there was none. */
  readonly requestMs: number | null;
  /** From the task's UPID to the end: the task, the look, and HA's work. */
  readonly taskMs: number | null;
  /** From its first record to its last. */
  readonly totalMs: number;
}

export interface Receipt {
  readonly opId: OpId;
  readonly vmid: Vmid;
  readonly guestKind: GuestKind;
  readonly kind: OpKind;
  readonly origin: OpOrigin;
  readonly params: Action['params'] | null;
  readonly correlationId: CorrelationId | null;
  readonly parentOpId: OpId | null;
  readonly actor: string | null;
  readonly signers: readonly OpSigner[];
  readonly outcome: 'succeeded' | 'failed' | 'in_flight';
  /** Null unless it failed. */
  readonly code: ErrorCode | null;
  /** What happened, one sentence. */
  readonly message: string;
  readonly attempts: readonly AttemptReceipt[];
  /** Of its own tasks and its parts', in order. */
  readonly upids: readonly Upid[];
  /** Of the last attempt, or of the part that failed. */
  readonly exitStatus: string | null;
  /** The failed task's log, or the warnings of one that did not fail: first and last lines. */
  readonly log: readonly string[];
  readonly observed: Observed | null;
  readonly phases: PhaseTimes;
  /** A restart's stop and start. */
  readonly parts: readonly Receipt[];
}

export interface ReceiptInput {
  /** All records of one op, by seq; at least one. */
  readonly records: readonly OpRecord[];
  /** The same of each of its parts, in order. */
  readonly parts?: readonly (readonly OpRecord[])[];
  /** A record's `at` in ms since 1970. */
  readonly toMs: (at: string) => number;
}

export function makeReceipt({ records, parts: partRecords = [], toMs }: ReceiptInput): Receipt {
  const first = records[0];
  const last = records.at(-1);
  if (first === undefined || last === undefined) {
    throw new ReconcilerError('internal_error', 'a receipt needs at least one record');
  }
  const parts = partRecords.map((own) => makeReceipt({ records: own, toMs }));
  const failedPart = parts.findLast(({ outcome }) => outcome === 'failed') ?? null;
  const attempts = readAttempts(records);
  const ownUpids = attempts.flatMap(({ upid }) => upid ?? []);
  const observed = last.observed ?? null;
  return {
    opId: first.op_id,
    vmid: first.vmid,
    guestKind: first.guest_kind,
    kind: first.kind,
    origin: first.origin,
    params: first.params ?? null,
    correlationId: first.correlation_id ?? null,
    parentOpId: first.parent_op_id ?? null,
    actor: first.actor ?? null,
    signers: first.signers ?? [],
    outcome: outcomeOf(last),
    code: last.error?.code ?? null,
    message: describe(last),
    attempts,
    upids: [...ownUpids, ...parts.flatMap(({ upids }) => upids)],
    exitStatus: last.exit_status ?? failedPart?.exitStatus ?? null,
    log: keepLines(observed?.log ?? observed?.warnings ?? failedPart?.log ?? []),
    observed,
    phases: { ...measure(records, toMs), totalMs: toMs(last.at) - toMs(first.at) },
    parts,
  };
}

function outcomeOf({ state }: OpRecord): Receipt['outcome'] {
  return isTerminal(state) ? state : 'in_flight';
}

function describe({ state, error, observed, exit_status: exitStatus, upid }: OpRecord): string {
  if (error !== undefined) return error.message;
  switch (state) {
    case 'received':
      return 'it waits for its turn';
    case 'started':
      return 'its request is under way';
    case 'task_running':
      return `task ${upid ?? ''} is under way`;
    default:
      return observed?.note ?? (exitStatus === undefined ? 'done' : `done: ${exitStatus}`);
  }
}

/** By number; what was received and never begun has none. */
function readAttempts(records: readonly OpRecord[]): AttemptReceipt[] {
  const attempts = new Map<number, AttemptReceipt>();
  for (const record of records.filter(({ attempt }) => attempt > 0)) {
    const number = record.attempt;
    attempts.set(number, {
      number,
      outcome: outcomeOf(record),
      upid: attempts.get(number)?.upid ?? record.upid ?? null,
      exitStatus: record.exit_status ?? null,
      error: record.error ?? null,
    });
  }
  return [...attempts.values()];
}

function measure(
  records: readonly OpRecord[],
  toMs: (at: string) => number,
): Omit<PhaseTimes, 'totalMs'> {
  const spentMs = new Map<OpRecord['state'], number>();
  for (const [index, record] of records.entries()) {
    const next = records[index + 1];
    if (next === undefined || isTerminal(record.state)) continue;
    const ms = toMs(next.at) - toMs(record.at);
    spentMs.set(record.state, (spentMs.get(record.state) ?? 0) + ms);
  }
  return {
    waitedMs: spentMs.get('received') ?? null,
    requestMs: spentMs.get('started') ?? null,
    taskMs: spentMs.get('task_running') ?? null,
  };
}

/** The first and the last lines, with a word on what is left out. */
export function keepLines(lines: readonly string[]): readonly string[] {
  const surplus = lines.length - 2 * LOG_LINES_KEPT;
  if (surplus <= 0) return lines;
  const left = `[${surplus} lines left out]`;
  return [...lines.slice(0, LOG_LINES_KEPT), left, ...lines.slice(-LOG_LINES_KEPT)];
}
