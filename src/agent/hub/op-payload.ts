/**
 * What a signed op says (CONTRACT 7): parsed from exactly the bytes that were verified, strictly.
 * A field nobody knows is refused: it may hold a condition the signer counts on.
 */
import { z } from 'zod';
import { configText } from '../../reconcile/desired.ts';
import {
  type CorrelationId,
  parseCorrelationId,
  parseVmid,
  type Vmid,
} from '../../reconcile/ids.ts';
import { type Action, DEFAULT_STOP, type StopParams } from '../../reconcile/op.ts';
import { toAction } from '../../reconcile/op-shape.ts';
import { pathText } from '../config/positioned-yaml.ts';
import { describeIssue } from '../config/schema-issue.ts';
import { holdTime } from '../control/hold-time.ts';
import { parseStrictJson, type Strictness } from './strict-json.ts';

export const OP_PAYLOAD_TYPE = 'application/vnd.pve-reconciler.op.v1+json';

/** An op that may begin a day later is a standing order: that is desired state's business. */
export const LIFETIME_MAX_MS = 24 * 3_600_000;
const STOP_TIMEOUT_MAX_S = 24 * 3_600;
const CONFIG_KEYS_MAX = 256;
export const PAYLOAD_STRICTNESS: Strictness = { maxDepth: 4, areNumbersExact: true };

export interface SignedOp {
  readonly idempKey: string;
  /** Whom it is for. */
  readonly agent: string;
  readonly issuedAtMs: number;
  readonly expiresAtMs: number;
  readonly vmid: Vmid;
  /** With its defaults filled in. */
  readonly action: Action;
  readonly correlationId?: CorrelationId;
  readonly holdMs?: number;
  readonly precondition?: { readonly digest?: string; readonly power?: 'running' | 'stopped' };
}

export type ParsedOp =
  | { readonly kind: 'op'; readonly op: SignedOp }
  | { readonly kind: 'invalid'; readonly reason: string };

const instantMs = z.iso
  .datetime({ offset: true, error: 'expected a time like 2026-01-31T12:00:00Z' })
  .transform((text) => Date.parse(text));

const configKey = z.string().regex(/^[a-z][a-z0-9_-]{0,63}$/, 'expected a PVE option name');

const startParams = z.strictObject({});
const stopParams = z.strictObject({
  mode: z.enum(['shutdown', 'stop']).default(DEFAULT_STOP.mode),
  timeout_s: z.int().min(1).max(STOP_TIMEOUT_MAX_S).default(DEFAULT_STOP.timeout_s),
  force: z.boolean().default(DEFAULT_STOP.force),
}) satisfies z.ZodType<StopParams>;
const configParams = z
  .strictObject({
    set: z
      .record(configKey, z.union([z.string(), z.number(), z.boolean()]))
      .transform((values) =>
        Object.fromEntries(
          Object.entries(values).map(([key, value]) => [key, configText(value) ?? '']),
        ),
      )
      .default({}),
    delete: z.array(configKey).default([]),
  })
  .refine((it) => Object.keys(it.set).length + it.delete.length <= CONFIG_KEYS_MAX, {
    message: `expected at most ${CONFIG_KEYS_MAX} keys`,
  })
  .refine((it) => new Set([...Object.keys(it.set), ...it.delete]).size === countKeys(it), {
    message: 'expected each key once',
  });

function countKeys(params: { readonly set: object; readonly delete: readonly string[] }): number {
  return Object.keys(params.set).length + params.delete.length;
}

const common = {
  idemp_key: z.string().regex(/^[\x21-\x7E]{1,128}$/, 'expected 1 to 128 printable characters'),
  agent: z.string().min(1).max(128),
  issued_at: instantMs,
  expires_at: instantMs,
  vmid: z.number().transform((number, context): Vmid => {
    const vmid = parseVmid(number);
    if (vmid !== null) return vmid;
    context.addIssue('expected a vmid');
    return z.NEVER;
  }),
  correlation_id: z
    .string()
    .transform((text, context): CorrelationId => {
      const id = parseCorrelationId(text);
      if (id !== null) return id;
      context.addIssue('expected letters, digits and ._:@/+=-');
      return z.NEVER;
    })
    .exactOptional(),
  hold: holdTime.exactOptional(),
  precondition: z
    .strictObject({
      digest: z
        .string()
        .regex(/^[0-9a-f]{40}$/, 'expected a digest, 40 hex digits')
        .exactOptional(),
      power: z.enum(['running', 'stopped']).exactOptional(),
    })
    .exactOptional(),
};

const payloadSchema = z.discriminatedUnion('kind', [
  z.strictObject({ ...common, kind: z.literal('start'), params: startParams }),
  z.strictObject({ ...common, kind: z.literal('stop'), params: stopParams }),
  z.strictObject({ ...common, kind: z.literal('restart'), params: stopParams }),
  z.strictObject({ ...common, kind: z.literal('set_config'), params: configParams }),
]);

/** Never throws, whatever the bytes; `reason` names the field. */
export function parseOpPayload(bytes: Uint8Array): ParsedOp {
  const json = parseStrictJson(bytes, PAYLOAD_STRICTNESS);
  if (json.kind === 'invalid') return { kind: 'invalid', reason: `the payload: ${json.reason}` };
  const parsed = payloadSchema.safeParse(json.value);
  if (!parsed.success) return { kind: 'invalid', reason: explain(parsed.error, json.value) };
  const { idemp_key: idempKey, agent, vmid, kind, params, precondition } = parsed.data;
  const { correlation_id: correlationId, hold: holdMs } = parsed.data;
  return {
    kind: 'op',
    op: {
      idempKey,
      agent,
      issuedAtMs: parsed.data.issued_at,
      expiresAtMs: parsed.data.expires_at,
      vmid,
      action: toAction(kind, params),
      ...(correlationId === undefined ? {} : { correlationId }),
      ...(holdMs === undefined ? {} : { holdMs }),
      ...(precondition === undefined ? {} : { precondition }),
    },
  };
}

function explain(error: z.core.$ZodError, root: unknown): string {
  const [first] = error.issues.flatMap((issue) => describeIssue(issue, root, payloadSchema));
  if (first === undefined) return 'the payload does not fit';
  const where = pathText(first.path);
  return `the payload${where === '' ? '' : `'s ${where}`}: ${first.message}`;
}
