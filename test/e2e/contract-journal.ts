/**
 * A reader of the journal written from the format's description alone (docs/JOURNAL.md). It shares
 * nothing with src/journal, so that a mistake there is not checked by itself.
 */
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

export interface OpLine {
  readonly seq: number;
  readonly op_id: string;
  readonly vmid: number;
  readonly kind: string;
  readonly state: 'received' | 'started' | 'task_running' | 'succeeded' | 'failed';
  readonly attempt: number;
  readonly origin: string;
  readonly parent_op_id?: string;
  readonly upid?: string;
  readonly error?: { readonly code: string; readonly message: string };
}

export interface ContractReading {
  readonly ops: readonly OpLine[];
  /** What breaks the format's rules, with place. */
  readonly problems: readonly string[];
}

const SUM = /^(.*),"sum":"([0-9a-f]{32})"\}$/s;
const AT = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/;

export function readByContract(folder: string): ContractReading {
  const problems: string[] = [];
  const ops: OpLine[] = [];
  let sum = '0'.repeat(32);
  let seq = 1;
  const names = readdirSync(folder).filter((name) => /^\d{8}\.jsonl$/.test(name));
  for (const name of names.sort()) {
    const text = readFileSync(join(folder, name), 'utf8');
    if (!text.endsWith('\n')) problems.push(`${name}: the last line is not whole`);
    let isRestated = true;
    for (const [index, line] of text.split('\n').slice(0, -1).entries()) {
      const place = `${name}:${index + 1}`;
      const match = SUM.exec(line);
      if (match?.[1] === undefined || match[2] === undefined) {
        problems.push(`${place}: no sum`);
        continue;
      }
      const wanted = createHash('sha256').update(sum).update(match[1]).digest('hex').slice(0, 32);
      if (wanted !== match[2]) problems.push(`${place}: the sum is ${match[2]}, not ${wanted}`);
      sum = match[2];
      const record = JSON.parse(line);
      if (JSON.stringify(record) !== line) problems.push(`${place}: not compact`);
      if (index === 0 && (record.type !== 'segment' || record.format !== 1)) {
        problems.push(`${place}: a segment opens with its header`);
      }
      if (index === 0 && record.first_seq !== seq) problems.push(`${place}: first_seq`);
      if (isRestated && 'seq' in record) problems.push(`${place}: a restated record has a seq`);
      if (isRestated && record.type === 'op') problems.push(`${place}: op in the restated part`);
      if (record.type === 'live_end') isRestated = false;
      if ('seq' in record) {
        if (record.seq !== seq) problems.push(`${place}: seq ${record.seq}, not ${seq}`);
        seq += 1;
      }
      if (record.type === 'op') {
        if (!AT.test(record.at)) problems.push(`${place}: at is ${record.at}`);
        ops.push(record);
      }
    }
  }
  return { ops, problems: [...problems, ...checkOps(ops)] };
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
