/**
 * A reader of the journal written from the format's description alone (docs/JOURNAL.md). It shares
 * nothing with src/journal, so that a mistake there is not checked by itself.
 */
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { OpKind } from '../../src/reconcile/op.ts';

/** Where a line stands: it ends at that byte of that segment. */
export interface Place {
  readonly segment: string;
  readonly endByte: number;
}

/** A numbered record that is no op's. */
export interface NoteLine {
  readonly seq: number;
  readonly at: string;
  readonly type: string;
  readonly vmid?: number;
  readonly until_ms?: number | null;
  readonly pid?: number;
}

export interface OpLine {
  readonly type: 'op';
  readonly seq: number;
  readonly at: string;
  readonly op_id: string;
  readonly vmid: number;
  readonly kind: OpKind;
  readonly state: 'received' | 'started' | 'task_running' | 'succeeded' | 'failed';
  readonly attempt: number;
  readonly origin: 'reconcile' | 'hub' | 'operator';
  readonly params?: Readonly<Record<string, unknown>>;
  readonly idemp_key?: string;
  readonly parent_op_id?: string;
  readonly upid?: string;
  readonly exit_status?: string;
  readonly observed?: { readonly power?: 'running' | 'stopped'; readonly note?: string };
  readonly error?: { readonly code: string; readonly message: string };
}

export interface ContractReading {
  readonly ops: readonly (OpLine & Place)[];
  readonly notes: readonly (NoteLine & Place)[];
  /** What breaks the format's rules, with place. */
  readonly problems: readonly string[];
}

const SUM = /^(.*),"sum":"([0-9a-f]{32})"\}$/s;
const AT = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/;

export function readByContract(folder: string): ContractReading {
  const names = readdirSync(folder).filter((name) => /^\d{8}\.jsonl$/.test(name));
  return readTextsByContract(
    names.sort().map((name) => ({ name, text: readFileSync(join(folder, name), 'utf8') })),
  );
}

/** The same of segments that are in memory, in their order. */
export function readTextsByContract(
  texts: readonly { readonly name: string; readonly text: string }[],
): ContractReading {
  const reading: Reading = { problems: [], ops: [], notes: [], sum: '0'.repeat(32), seq: 1 };
  for (const [index, { name, text }] of texts.entries()) {
    if (!text.endsWith('\n')) reading.problems.push(`${name}: the last line is not whole`);
    const next = texts[index + 1]?.text;
    readSegment(name, text.split('\n').slice(0, -1), sumBefore(next), reading);
  }
  const { ops, notes, problems } = reading;
  return { ops, notes, problems: [...problems, ...checkOps(ops)] };
}

interface Reading {
  readonly problems: string[];
  readonly ops: (OpLine & Place)[];
  readonly notes: (NoteLine & Place)[];
  /** Of the last line that counts. */
  sum: string;
  /** Of the next numbered record. */
  seq: number;
}

/** The sum that the next segment follows from: what stands behind that line came too late (J8). */
function sumBefore(next: string | undefined): string | null {
  return next === undefined ? null : (/"prev_sum":"([0-9a-f]{32})"/.exec(next)?.[1] ?? null);
}

function readSegment(
  name: string,
  lines: readonly string[],
  lastSum: string | null,
  reading: Reading,
): void {
  const { problems } = reading;
  let isRestated = true;
  let endByte = 0;
  for (const [index, line] of lines.entries()) {
    endByte += Buffer.byteLength(line) + 1;
    const place = `${name}:${index + 1}`;
    const match = SUM.exec(line);
    if (match?.[1] === undefined || match[2] === undefined) {
      problems.push(`${place}: no sum`);
      continue;
    }
    const summed = createHash('sha256').update(reading.sum).update(match[1]);
    const wanted = summed.digest('hex').slice(0, 32);
    if (wanted !== match[2]) problems.push(`${place}: the sum is ${match[2]}, not ${wanted}`);
    reading.sum = match[2];
    const record = JSON.parse(line);
    if (JSON.stringify(record) !== line) problems.push(`${place}: not compact`);
    if (index === 0 && (record.type !== 'segment' || record.format !== 1)) {
      problems.push(`${place}: a segment opens with its header`);
    }
    if (index === 0 && record.first_seq !== reading.seq) problems.push(`${place}: first_seq`);
    if (isRestated && 'seq' in record) problems.push(`${place}: a restated record has a seq`);
    if (isRestated && record.type === 'op') problems.push(`${place}: op in the restated part`);
    if (record.type === 'live_end') isRestated = false;
    if ('seq' in record) {
      if (record.seq !== reading.seq) {
        problems.push(`${place}: seq ${record.seq}, not ${reading.seq}`);
      }
      reading.seq += 1;
      if (!AT.test(record.at)) problems.push(`${place}: at is ${record.at}`);
      const placed = { ...record, segment: name, endByte };
      if (record.type === 'op') reading.ops.push(placed);
      else reading.notes.push(placed);
    }
    if (match[2] === lastSum) return;
  }
}

/** The order of states, and that an end belongs to its latest attempt (J2, J9). */
function checkOps(records: readonly OpLine[]): string[] {
  const problems: string[] = [];
  const byOp = Map.groupBy(records, ({ op_id }) => op_id);
  for (const [opId, steps] of byOp) {
    const [first] = steps;
    const isReconcile = first?.origin === 'reconcile' || first?.parent_op_id !== undefined;
    if (first?.state !== (isReconcile ? 'started' : 'received')) {
      problems.push(`${opId}: begins with ${first?.state}`);
    }
    for (const [index, step] of steps.entries()) {
      if (step.vmid !== first?.vmid || step.kind !== first.kind) {
        problems.push(`${opId}: changes its guest or kind`);
      }
      const before = steps[index - 1];
      if (before !== undefined) problems.push(...checkStep(opId, before, step));
    }
  }
  return problems;
}

const NEXT: Readonly<Record<OpLine['state'], readonly OpLine['state'][]>> = {
  received: ['started', 'failed'],
  started: ['task_running', 'succeeded', 'failed'],
  task_running: ['succeeded', 'failed'],
  succeeded: [],
  failed: ['started'],
};

function checkStep(opId: string, before: OpLine, step: OpLine): string[] {
  const problems: string[] = [];
  if (!NEXT[before.state].includes(step.state)) {
    problems.push(`${opId}: ${step.state} after ${before.state}`);
  }
  const isNewAttempt = step.state === 'started';
  if (step.attempt !== before.attempt + (isNewAttempt ? 1 : 0)) {
    problems.push(`${opId}: attempt ${step.attempt} after ${before.attempt}`);
  }
  if (!isNewAttempt && before.upid !== undefined && step.upid !== before.upid) {
    problems.push(`${opId}: ends with another UPID`);
  }
  return problems;
}
