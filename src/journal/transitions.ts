/**
 * Which record of an op may follow which. Pure. What is illegal here cannot be appended, and is
 * refused on reading (J2, J9):
 *
 *   received ─┬─> started 1 ─┬─> task_running ─┬─> succeeded
 *             └─> failed     └─────────────────┴─> failed ──> started n + 1
 *
 * A reconcile op, and a part of a composite op, begins with `started`.
 */
import { assertNever } from '../reconcile/errors.ts';
import { isTerminal, type OpRecordDraft } from '../reconcile/op.ts';

/** The first and the latest record of an op. */
export interface OpSoFar {
  readonly first: OpRecordDraft;
  readonly latest: OpRecordDraft;
}

/** `rule`: of CONTRACT 5. */
export interface TransitionFault {
  readonly rule: 'J2' | 'J6' | 'J9';
  readonly why: string;
}

/** What is wrong with `next` where it stands, or null. `op` is null where no record of it is known. */
export function refuseTransition(op: OpSoFar | null, next: OpRecordDraft): TransitionFault | null {
  if (op === null) return fault('J2', refuseFirst(next));
  const { first, latest } = op;
  return (
    fault('J9', refuseOtherOp(latest, next)) ??
    fault('J6', refuseKey(first, next)) ??
    fault('J9', refuseReceipt(latest, next)) ??
    fault('J2', refuseState(latest, next))
  );
}

function fault(rule: TransitionFault['rule'], why: string | null): TransitionFault | null {
  return why === null ? null : { rule, why };
}

function refuseFirst(next: OpRecordDraft): string | null {
  const isPart = next.origin === 'reconcile' || next.parent_op_id !== undefined;
  if (isPart) {
    return next.state === 'started' && next.attempt === 1
      ? null
      : `its first record is ${describe(next)}, not started in attempt 1`;
  }
  return next.state === 'received' && next.attempt === 0
    ? null
    : `its first record is ${describe(next)}, not received in attempt 0`;
}

/** J9: an op keeps its guest and its kind, and all else that it is. */
function refuseOtherOp(latest: OpRecordDraft, next: OpRecordDraft): string | null {
  if (latest.vmid !== next.vmid) return `its vmid was ${latest.vmid} and is ${next.vmid}`;
  if (latest.kind !== next.kind) return `its kind was ${latest.kind} and is ${next.kind}`;
  if (latest.guest_kind !== next.guest_kind) {
    return `its guest was ${latest.guest_kind} and is ${next.guest_kind}`;
  }
  if (latest.origin === next.origin) return null;
  return `its origin was ${latest.origin} and is ${next.origin}`;
}

function refuseKey(first: OpRecordDraft, next: OpRecordDraft): string | null {
  if (next.idemp_key === undefined || next.idemp_key === first.idemp_key) return null;
  return 'its idempotency key is not the one it began with';
}

function refuseState(latest: OpRecordDraft, next: OpRecordDraft): string | null {
  switch (latest.state) {
    case 'received':
      if (next.state === 'started' && next.attempt === 1) return null;
      return next.state === 'failed' && next.attempt === 0 ? null : outOfOrder(latest, next);
    case 'started':
      if (next.state === 'task_running') return refuseTask(latest, next);
      return isTerminal(next.state) ? null : outOfOrder(latest, next);
    case 'task_running':
      return isTerminal(next.state) ? null : outOfOrder(latest, next);
    case 'failed':
      // What was cancelled or expired before any attempt is over.
      return latest.attempt > 0 && next.state === 'started' && next.attempt === latest.attempt + 1
        ? null
        : outOfOrder(latest, next);
    case 'succeeded':
      return outOfOrder(latest, next);
    default:
      return assertNever(latest.state);
  }
}

function refuseTask(latest: OpRecordDraft, next: OpRecordDraft): string | null {
  if (next.attempt !== latest.attempt) return outOfOrder(latest, next);
  return next.upid === undefined ? 'task_running without a UPID' : null;
}

/** J9: the end names the attempt and the task it is the end of. */
function refuseReceipt(latest: OpRecordDraft, next: OpRecordDraft): string | null {
  const isUnderWay = latest.state === 'started' || latest.state === 'task_running';
  if (!isUnderWay || !isTerminal(next.state)) return null;
  if (next.attempt !== latest.attempt) return outOfOrder(latest, next);
  if (next.upid === latest.upid) return null;
  return `it ends with task ${next.upid ?? 'none'}, its attempt had ${latest.upid ?? 'none'}`;
}

function outOfOrder(latest: OpRecordDraft, next: OpRecordDraft): string {
  return `${describe(next)} after ${describe(latest)}`;
}

function describe(record: OpRecordDraft): string {
  return `${record.state} in attempt ${record.attempt}`;
}
