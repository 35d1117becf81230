/**
 * The shape of an op's record on disk (CONTRACT 5). Checked by hand and not by a schema library:
 * opening and verifying read every line, and this is a fifth of the cost.
 */
import { ERROR_CODES } from '../reconcile/errors.ts';
import { OP_ID_CHARS, parseCorrelationId, parseOpId, parseVmid } from '../reconcile/ids.ts';
import { OP_KINDS, OP_ORIGINS, OP_STATES, type OpRecord } from '../reconcile/op.ts';
import { SUM_CHARS } from './line.ts';

/** A record's members as JSON gives them. */
export type Body = Readonly<Record<string, unknown>>;

/** An op's record with its place in the chain. */
export interface SealedOp extends OpRecord {
  readonly sum: string;
}

/** An op's records that count: its first, `started` of its latest attempt, its latest. */
export type OpRecords = readonly [SealedOp, ...SealedOp[]];

const AT = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/;
const AT_CHARS = 24;
const HEX_HASH = /^[0-9a-f]{64}$/;

export function isAt(value: unknown): value is string {
  return typeof value === 'string' && AT.test(value) && !Number.isNaN(Date.parse(value));
}

/** Milliseconds since 1970, the form of every time in a record but `at`. */
export function isMs(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value);
}

export function isSeq(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 1;
}

/** A seq, or 0: none yet. */
export function isCount(value: unknown): value is number {
  return value === 0 || isSeq(value);
}

export function isText(value: unknown): value is string {
  return typeof value === 'string';
}

export function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isHexHash(value: unknown): value is string {
  return typeof value === 'string' && HEX_HASH.test(value);
}

const isKind = oneOf(OP_KINDS);
const isState = oneOf(OP_STATES);
const isOrigin = oneOf(OP_ORIGINS);
const isErrorCode = oneOf(ERROR_CODES);

function oneOf(values: readonly string[]): (value: unknown) => boolean {
  const known = new Set<unknown>(values);
  return (value) => known.has(value);
}

type Fields = Readonly<Partial<Record<keyof OpRecord, unknown>>>;

/**
 * The name of the field that is missing or not what it should be, or null. Written out: a table of
 * fields would cost more than parsing the line.
 */
export function wrongOpField(op: Fields): string | null {
  if (op.type !== 'op') return 'type';
  if (!isSeq(op.seq)) return 'seq';
  // The chain vouches for the forms of time and id.
  if (typeof op.at !== 'string' || op.at.length !== AT_CHARS) return 'at';
  if (typeof op.op_id !== 'string' || op.op_id.length !== OP_ID_CHARS) return 'op_id';
  if (typeof op.vmid !== 'number' || parseVmid(op.vmid) === null) return 'vmid';
  if (op.guest_kind !== 'qemu' && op.guest_kind !== 'lxc') return 'guest_kind';
  if (!isKind(op.kind)) return 'kind';
  if (!isState(op.state)) return 'state';
  if (op.attempt !== 0 && !isSeq(op.attempt)) return 'attempt';
  if (!isOrigin(op.origin)) return 'origin';
  return wrongOptionalField(op);
}

function wrongOptionalField(op: Fields): string | null {
  if (op.params !== undefined && !isObject(op.params)) return 'params';
  if (op.upid !== undefined && !isUpid(op.upid)) return 'upid';
  if (op.before !== undefined && !isObject(op.before)) return 'before';
  if (op.exit_status !== undefined && !isText(op.exit_status)) return 'exit_status';
  if (op.observed !== undefined && !isObject(op.observed)) return 'observed';
  if (op.error !== undefined && !isError(op.error)) return 'error';
  if (op.hold_ms !== undefined && !isMs(op.hold_ms)) return 'hold_ms';
  if (op.precondition !== undefined && !isObject(op.precondition)) return 'precondition';
  return wrongOfOthers(op);
}

/** Whose op it is, and why. */
function wrongOfOthers(op: Fields): string | null {
  if (op.idemp_key !== undefined && !isText(op.idemp_key)) return 'idemp_key';
  if (op.payload_hmac !== undefined && !isHexHash(op.payload_hmac)) return 'payload_hmac';
  if (op.expires_at_ms !== undefined && !isMs(op.expires_at_ms)) return 'expires_at_ms';
  if (op.correlation_id !== undefined && parseCorrelationId(op.correlation_id) === null) {
    return 'correlation_id';
  }
  if (op.parent_op_id !== undefined && parseOpId(op.parent_op_id) === null) return 'parent_op_id';
  if (op.actor !== undefined && !isText(op.actor)) return 'actor';
  return op.signers !== undefined && !Array.isArray(op.signers) ? 'signers' : null;
}

/** The chain vouches for the rest: whoever wrote it had parsed it. */
function isUpid(value: unknown): boolean {
  return isText(value) && value.startsWith('UPID:');
}

function isError(value: unknown): boolean {
  return isObject(value) && isErrorCode(value['code']) && isText(value['message']);
}

export function isSealedOp(value: unknown): value is SealedOp {
  if (!isObject(value) || wrongOpField(value) !== null) return false;
  // The chain vouches for the sum's digits.
  return typeof value['sum'] === 'string' && value['sum'].length === SUM_CHARS;
}
