/** An op as the API and `ops … --json` show it, from its records and what it waits for. */
import type { Wait } from '../../reconcile/events.ts';
import type { OpId, Vmid } from '../../reconcile/ids.ts';
import { isTerminal, type OpRecord } from '../../reconcile/op.ts';
import { leadingOps } from '../../reconcile/phase.ts';
import type { OpView } from '../../reconcile/ports.ts';
import { timeText } from '../time-text.ts';

export interface WaitDocument {
  readonly code: string;
  readonly message: string;
  /** When it is looked at again, or given up. */
  readonly until?: string;
  readonly upid?: string;
}

/** What a record does not have is left out of the JSON. */
export interface OpDocument
  extends Pick<OpRecord, 'op_id' | 'vmid' | 'kind' | 'origin' | 'state' | 'attempt' | 'error'> {
  readonly idemp_key: OpRecord['idemp_key'] | undefined;
  /** When it came into this state. */
  readonly phase_since: string;
  readonly params: OpRecord['params'] | undefined;
  readonly upid: OpRecord['upid'] | undefined;
  readonly correlation_id: OpRecord['correlation_id'] | undefined;
  readonly parent_op_id: OpRecord['parent_op_id'] | undefined;
  readonly actor: OpRecord['actor'] | undefined;
  readonly waiting_for?: WaitDocument;
  /** Oldest first; in a list, the newest alone. */
  readonly records: readonly OpRecord[];
}

/** `records` oldest first, at least one. What the first said, the newest need not repeat. */
export function describeOp(
  records: readonly [OpRecord, ...OpRecord[]],
  waitingFor: WaitDocument | null,
): OpDocument {
  const [first] = records;
  const latest = records.at(-1) ?? first;
  const { op_id, vmid, kind, origin, state, attempt, error } = latest;
  const newest = <Value>(read: (record: OpRecord) => Value | undefined): Value | undefined =>
    records.map(read).findLast((value) => value !== undefined);
  return {
    op_id,
    idemp_key: newest((record) => record.idemp_key),
    vmid,
    kind,
    origin,
    state,
    attempt,
    phase_since: latest.at,
    params: newest((record) => record.params),
    upid: newest((record) => record.upid),
    correlation_id: newest((record) => record.correlation_id),
    parent_op_id: newest((record) => record.parent_op_id),
    actor: newest((record) => record.actor),
    ...(waitingFor === null || isTerminal(state) ? {} : { waiting_for: waitingFor }),
    ...(error === undefined ? {} : { error }),
    records,
  };
}

/** Why an op in flight is not done yet; null where it is at work this moment, or not in flight. */
export type DescribeWait = (opId: OpId) => WaitDocument | null;

/** As of one moment, for all the ops of an answer: each is then no more than a look-up. */
export function describeWaits({
  inFlight,
  waits,
}: {
  readonly inFlight: readonly OpView[];
  readonly waits: ReadonlyMap<Vmid, Wait>;
}): DescribeWait {
  const leading = leadingOps(inFlight);
  const views = new Map(inFlight.map((view) => [view.opId, view]));
  return (opId) => {
    const view = views.get(opId);
    if (view === undefined) return null;
    const { vmid } = view.first;
    return describeWait(view, { head: leading.get(vmid), wait: waits.get(vmid) });
  };
}

function describeWait(
  { opId, first, latest }: OpView,
  { head, wait }: { readonly head: OpView | undefined; readonly wait: Wait | undefined },
): WaitDocument | null {
  const isHead = head?.opId === opId || first.parent_op_id === head?.opId;
  if (!isHead && head !== undefined) {
    return { code: 'queued', message: `op ${head.opId} (${head.latest.kind}) comes first` };
  }
  if (wait !== undefined) return waitDocument(wait);
  const { upid, state } = latest;
  if (state === 'received') return { code: 'queued', message: 'its turn has not come yet' };
  return state === 'task_running' && upid !== undefined
    ? { code: 'task_running', message: 'PVE is at it', upid }
    : null;
}

function waitDocument({ code, message, untilMs, upid }: Wait): WaitDocument {
  return {
    code,
    message,
    ...(untilMs === null ? {} : { until: timeText(untilMs) }),
    ...(upid === undefined ? {} : { upid }),
  };
}
