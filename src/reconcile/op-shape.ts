/** An op in memory, and its way into records and back. Secrets stay out of every record. */
import { MASK } from './diff.ts';
import { assertNever } from './errors.ts';
import { configOf, type Guest, type GuestKind, type GuestRef } from './guest.ts';
import type { CorrelationId, OpId, Upid, Vmid } from './ids.ts';
import {
  type Action,
  type Before,
  DEFAULT_STOP,
  type OpKind,
  type OpOrigin,
  type OpRecord,
  type OpRecordDraft,
  type OpSigner,
  type SentAction,
  type SetConfigParams,
  type StopParams,
} from './op.ts';
import type { ValueSemantics } from './ports.ts';

export interface Op<Of extends Action = Action> {
  readonly opId: OpId;
  readonly vmid: Vmid;
  readonly guestKind: GuestKind;
  /** Complete and, in memory only, with secrets. */
  readonly action: Of;
  readonly origin: OpOrigin;
  readonly correlationId?: CorrelationId;
  readonly parentOpId?: OpId;
  readonly actor?: string;
  readonly idempKey?: string;
  readonly signers?: readonly OpSigner[];
}

export function guestOf(op: Op): GuestRef {
  return { vmid: op.vmid, kind: op.guestKind };
}

/** The fields every record of the op has. */
export function recordBase(op: Op): Omit<OpRecordDraft, 'state' | 'attempt'> {
  return {
    op_id: op.opId,
    vmid: op.vmid,
    guest_kind: op.guestKind,
    kind: op.action.kind,
    origin: op.origin,
    ...(op.idempKey === undefined ? {} : { idemp_key: op.idempKey }),
    ...(op.correlationId === undefined ? {} : { correlation_id: op.correlationId }),
    ...(op.parentOpId === undefined ? {} : { parent_op_id: op.parentOpId }),
    ...(op.actor === undefined ? {} : { actor: op.actor }),
  };
}

/** The op as its first record tells it; secrets are masked there and stay so. */
export function opFromRecord(record: OpRecord): Op {
  return {
    opId: record.op_id,
    vmid: record.vmid,
    guestKind: record.guest_kind,
    action: toAction(record.kind, record.params),
    origin: record.origin,
    ...(record.idemp_key === undefined ? {} : { idempKey: record.idemp_key }),
    ...(record.correlation_id === undefined ? {} : { correlationId: record.correlation_id }),
    ...(record.parent_op_id === undefined ? {} : { parentOpId: record.parent_op_id }),
    ...(record.actor === undefined ? {} : { actor: record.actor }),
    ...(record.signers === undefined ? {} : { signers: record.signers }),
  };
}

/** Kind and parameters as one action; what was left out takes its default. */
export function toAction(kind: OpKind, params: Action['params'] | undefined): Action {
  return kind === 'restart' ? { kind, params: stopParams(params) } : toSentAction(kind, params);
}

export function toSentAction(
  kind: SentAction['kind'],
  params: Action['params'] | undefined,
): SentAction {
  switch (kind) {
    case 'start':
      return { kind, params: {} };
    case 'stop':
      return { kind, params: stopParams(params) };
    case 'set_config':
      return { kind, params: configParams(params) };
    default:
      return assertNever(kind);
  }
}

function stopParams(params: Action['params'] | undefined): StopParams {
  return params !== undefined && isStopParams(params) ? params : DEFAULT_STOP;
}

function configParams(params: Action['params'] | undefined): SetConfigParams {
  return params !== undefined && isConfigParams(params) ? params : { set: {}, delete: [] };
}

function isStopParams(params: Action['params']): params is StopParams {
  return 'timeout_s' in params;
}

function isConfigParams(params: Action['params']): params is SetConfigParams {
  return 'set' in params;
}

/** Parameters as a record may carry them. */
export function maskedParams(op: Op, semantics: ValueSemantics): Action['params'] {
  if (op.action.kind !== 'set_config') return op.action.params;
  const { params } = op.action;
  const set = Object.entries(params.set).map(([key, value]) => [
    key,
    semantics.isWriteOnly(op.guestKind, key) ? MASK : value,
  ]);
  return { set: Object.fromEntries(set), delete: params.delete };
}

/** What is there before the request: recovery compares the guest with it. */
export function describeBefore(op: Op, guest: Guest, lastUpid: Upid | null): Before {
  const process = guest.pid === null ? {} : { pid: guest.pid };
  const { power, bootedAtMs } = guest;
  const before = { power, booted_at_ms: bootedAtMs, ...process, last_upid: lastUpid };
  if (op.action.kind !== 'set_config') return before;
  const { current, digest } = configOf(guest);
  const keys = [...Object.keys(op.action.params.set), ...op.action.params.delete];
  const values = keys.map((key) => [key, current.get(key) ?? null]);
  return { ...before, digest, values: Object.fromEntries(values) };
}
