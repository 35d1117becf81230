/**
 * The shape of an op's record on disk (CONTRACT 5). Checked by hand and not by a schema library:
 * opening and verifying read every line, and this is a fifth of the cost.
 */
import { ERROR_CODES } from '../reconcile/errors.ts';
import { parseCorrelationId, parseOpId, parseUpid, parseVmid } from '../reconcile/ids.ts';
import { OP_KINDS, OP_ORIGINS, OP_STATES, type OpRecord } from '../reconcile/op.ts';
import { isSum } from './line.ts';

/** An op's record with its place in the chain. */
export interface SealedOp extends OpRecord {
  readonly sum: string;
}

interface Field {
  readonly isRequired: boolean;
  readonly accepts: (value: unknown) => boolean;
}

const AT = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/;
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

export function isText(value: unknown): value is string {
  return typeof value === 'string';
}

export function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

export function isHexHash(value: unknown): value is string {
  return typeof value === 'string' && HEX_HASH.test(value);
}

const required = (accepts: Field['accepts']): Field => ({ isRequired: true, accepts });
const optional = (accepts: Field['accepts']): Field => ({ isRequired: false, accepts });
const oneOf = (values: readonly string[]): Field['accepts'] => {
  const known = new Set<unknown>(values);
  return (value) => known.has(value);
};
const isErrorCode = oneOf(ERROR_CODES);

/** One entry a field: what a later room adds to a record is added here. */
const FIELDS: Readonly<Record<keyof Required<OpRecord>, Field>> = {
  type: required((value) => value === 'op'),
  seq: required(isSeq),
  // The chain vouches for the time's form; a whole parse of it would double the cost of a line.
  at: required((value) => typeof value === 'string' && value.length === 24),
  op_id: required((value) => parseOpId(value) !== null),
  vmid: required((value) => typeof value === 'number' && parseVmid(value) !== null),
  guest_kind: required((value) => value === 'qemu' || value === 'lxc'),
  kind: required(oneOf(OP_KINDS)),
  state: required(oneOf(OP_STATES)),
  attempt: required((value) => value === 0 || isSeq(value)),
  origin: required(oneOf(OP_ORIGINS)),
  params: optional(isObject),
  upid: optional((value) => parseUpid(value) !== null),
  idemp_key: optional(isText),
  payload_hmac: optional(isHexHash),
  expires_at_ms: optional(isMs),
  correlation_id: optional((value) => parseCorrelationId(value) !== null),
  parent_op_id: optional((value) => parseOpId(value) !== null),
  actor: optional(isText),
  signers: optional(Array.isArray),
  before: optional(isObject),
  exit_status: optional(isText),
  observed: optional(isObject),
  error: optional(
    (value) => isObject(value) && isErrorCode(value['code']) && isText(value['message']),
  ),
  hold_until_ms: optional(isMs),
  precondition: optional(isObject),
};

type FieldName = keyof OpRecord;
const isFieldName = (name: string): name is FieldName => Object.hasOwn(FIELDS, name);
const FIELD_NAMES = Object.keys(FIELDS).filter(isFieldName);
const FIELD_LIST = FIELD_NAMES.map((name) => ({ name, ...FIELDS[name] }));

/** The name of the field that is missing or not what it should be, or null. */
export function wrongOpField(record: Readonly<Partial<Record<FieldName, unknown>>>): string | null {
  for (const { name, isRequired, accepts } of FIELD_LIST) {
    const content = record[name];
    if (content === undefined ? isRequired : !accepts(content)) return name;
  }
  return null;
}

export function isSealedOp(value: unknown): value is SealedOp {
  return isObject(value) && wrongOpField(value) === null && isSum(value['sum']);
}
