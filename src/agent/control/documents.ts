/**
 * The documents of the control API (CONTRACT 8), as schemas. Names are those of the journal and
 * of the commands' JSON. Fields may be added to an answer; a client ignores what it does not know.
 */
import { z } from 'zod';
import { MODES, POWER_POLICIES } from '../../reconcile/desired.ts';
import { ERROR_CODES } from '../../reconcile/errors.ts';
import { PHASES } from '../../reconcile/events.ts';
import {
  type CorrelationId,
  type OpId,
  parseCorrelationId,
  parseOpId,
  parseVmid,
  type Vmid,
} from '../../reconcile/ids.ts';
import { type Action, OP_KINDS, OP_ORIGINS, OP_STATES, SENT_KINDS } from '../../reconcile/op.ts';
import { CONDITION_CODES } from '../../reconcile/plan.ts';
import { holdTime } from './hold-time.ts';

/** A name a person would still read. */
const ACTOR_MAX_CHARS = 128;
/** A day is what a guest may take at most to shut down (as in desired state). */
const STOP_TIMEOUT_MAX_S = 24 * 60 * 60;

function branded<Value>(parse: (value: unknown) => Value | null, expected: string) {
  return z.custom<Value>((value) => parse(value) !== null, `expected ${expected}`);
}

const vmid = branded<Vmid>(
  (value) => (typeof value === 'number' ? parseVmid(value) : null),
  'a vmid',
).meta({ type: 'integer', minimum: 100, maximum: 999_999_999 });
const opId = branded<OpId>(parseOpId, 'an op id').meta({
  type: 'string',
  pattern: '^[0-9a-hjkmnp-tv-z]{16}$',
});
export const correlationId = branded<CorrelationId>(parseCorrelationId, 'a correlation id').meta({
  type: 'string',
  pattern: '^[A-Za-z0-9._:@/+=-]{1,128}$',
});

/** A vmid as it stands in a query. */
export const vmidText = z.string().transform((text, context): Vmid => {
  const parsed = parseVmid(text);
  if (parsed !== null) return parsed;
  context.addIssue('expected a vmid');
  return z.NEVER;
});

const time = z.iso.datetime({ precision: 3 });

/** RFC 9457, with our code and the next step. */
export const problemDocument = z.looseObject({
  type: z.string(),
  title: z.string(),
  status: z.int(),
  detail: z.string(),
  code: z.enum(ERROR_CODES),
  hint: z.string().exactOptional(),
  op_id: z.string().exactOptional(),
  request_id: z.string().exactOptional(),
});
export type ProblemDocument = z.infer<typeof problemDocument>;

const waitingFor = z
  .looseObject({
    code: z.string(),
    message: z.string(),
    until: time.exactOptional().describe('when it is looked at again, or given up'),
    upid: z.string().exactOptional(),
  })
  .meta({ description: 'why it waits' });

/** DSSE v1.0; docs/SECURITY.md. */
const envelope = z.looseObject({
  payload: z.string().describe('base64'),
  payloadType: z.string(),
  signatures: z.array(z.looseObject({ keyid: z.string(), sig: z.string() })),
});

const opError = z.looseObject({ code: z.enum(ERROR_CODES), message: z.string() });

/** A record as it stands in the journal (CONTRACT 5). */
export const opRecord = z.looseObject({
  type: z.literal('op'),
  seq: z.int(),
  at: time,
  op_id: opId,
  vmid,
  kind: z.enum(OP_KINDS),
  state: z.enum(OP_STATES),
  attempt: z.int(),
  origin: z.enum(OP_ORIGINS),
  params: z.record(z.string(), z.unknown()).exactOptional(),
  upid: z.string().exactOptional(),
  correlation_id: z.string().exactOptional(),
  parent_op_id: opId.exactOptional(),
  error: opError.exactOptional(),
});

const outcome = z.enum(['succeeded', 'failed', 'in_flight']);

/** The op's outcome in one place; a restart's has those of its stop and start in `parts`. */
const receipt = z.looseObject({
  outcome,
  code: z.enum(ERROR_CODES).nullable(),
  message: z.string().describe('what happened, one sentence'),
  attempts: z.array(
    z.looseObject({
      number: z.int(),
      outcome,
      upid: z.string().nullable(),
      exit_status: z.string().nullable().describe("PVE's words"),
      error: opError.nullable(),
    }),
  ),
  upids: z.array(z.string()),
  exit_status: z.string().nullable(),
  observed: z.record(z.string(), z.unknown()).nullable(),
  log: z.array(z.string()).describe("first and last 50 lines of a failed task's log"),
  phases: z.looseObject({
    waited_ms: z.int().nullable(),
    request_ms: z.int().nullable(),
    task_ms: z.int().nullable(),
    total_ms: z.int(),
  }),
  parts: z.array(z.looseObject({ op_id: opId, kind: z.enum(OP_KINDS), outcome })),
});

export const opDocument = z.looseObject({
  op_id: opId,
  idemp_key: z.string().exactOptional(),
  vmid,
  kind: z.enum(OP_KINDS),
  origin: z.enum(OP_ORIGINS),
  state: z.enum(OP_STATES),
  attempt: z.int(),
  phase_since: time.describe('when it came into this state'),
  params: z.record(z.string(), z.unknown()).exactOptional(),
  upid: z.string().exactOptional(),
  correlation_id: z.string().exactOptional(),
  parent_op_id: opId.exactOptional(),
  actor: z.string().exactOptional().describe('as claimed, never proven'),
  waiting_for: waitingFor.exactOptional(),
  error: opError.exactOptional(),
  receipt: receipt.exactOptional().describe('of one op asked for; not in a list'),
  signed_receipt: envelope
    .exactOptional()
    .describe("the op's end, signed with the agent's key; there once nothing more can follow"),
  records: z.array(opRecord).describe('oldest first; in a list, the newest alone'),
});
export type OpAnswer = z.infer<typeof opDocument>;

export const opList = z.looseObject({
  ops: z.array(opDocument).describe('newest first'),
  next: opId.nullable().describe('`after` of the next page; null: this was the last'),
});

export const taskLogDocument = z.looseObject({
  op_id: opId,
  upid: z.string().nullable().describe('null: no task of it runs now'),
  last_line: z.string().nullable(),
});

const reversibility = z.enum(['benign', 'disruptive', 'irreversible']);

const change = z.looseObject({
  key: z.string(),
  desired: z.string().nullable(),
  current: z.string().nullable(),
  pending: z.string().nullable().exactOptional(),
  reversibility,
  is_written: z.boolean(),
});

const condition = z.looseObject({
  code: z.enum(CONDITION_CODES),
  message: z.string(),
  cause: z.enum(ERROR_CODES).exactOptional(),
  keys: z.array(z.string()).exactOptional(),
  until: time.exactOptional(),
  upid: z.string().exactOptional(),
});

const planStatus = z.enum(['in_sync', 'drift', 'skipped', 'unknown']);
const guestKind = z.enum(['qemu', 'lxc']);
const power = z.enum(['running', 'stopped']);

export const guestDocument = z.looseObject({
  vmid,
  name: z.string().nullable(),
  kind: guestKind.nullable(),
  desired: z
    .looseObject({ power: z.string(), mode: z.enum(MODES), source: z.string() })
    .nullable()
    .describe('null: nobody wants anything of it'),
  actual: z
    .looseObject({
      power,
      qmp_status: z.string().nullable(),
      lock: z.string().nullable(),
      template: z.boolean(),
      tags: z.array(z.string()),
      ha_state: z.string().nullable(),
      booted_at: time.nullable(),
    })
    .nullable()
    .describe('null: PVE does not list it, or could not be asked'),
  status: planStatus.nullable(),
  drift: z.boolean().nullable().describe('null: not known'),
  changes: z.array(change),
  phase: z.enum(PHASES),
  conditions: z.array(condition),
  hold: z.looseObject({ until: time.nullable(), reason: z.string() }).nullable(),
  waiting_for: waitingFor.nullable(),
  last_op: z
    .looseObject({
      op_id: opId,
      kind: z.enum(OP_KINDS),
      state: z.enum(OP_STATES),
      at: time,
    })
    .nullable(),
});

export const guestList = z.looseObject({
  looked_at: time.nullable().describe('when the node was last looked at'),
  guests: z.array(guestDocument).describe('by ascending vmid'),
});

/** As CONTRACT 7 has them; checked by whoever takes an op, not by whoever shows it. */
const actionParams = z
  .custom<Action['params']>((value) => typeof value === 'object' && value !== null)
  .meta({ type: 'object' });

const count = z.int().min(0);
export const planDocumentSchema = z.looseObject({
  summary: z.looseObject({
    guests: count,
    status: z.record(planStatus, count),
    held_back: count,
    actions: z.record(z.enum(OP_KINDS), count),
  }),
  guests: z.array(
    z.looseObject({
      vmid,
      kind: guestKind.nullable(),
      name: z.string().nullable(),
      mode: z.enum(MODES),
      status: planStatus,
      power: z.looseObject({ desired: z.enum(POWER_POLICIES), actual: power.nullable() }),
      changes: z.array(change),
      actions: z.array(
        z.looseObject({
          kind: z.enum(SENT_KINDS),
          params: actionParams,
          reversibility,
          remarks: z.array(z.string()),
        }),
      ),
      runs: z.enum(['go', 'wait', 'never']),
      conditions: z.array(condition),
    }),
  ),
  rejected_documents: z.array(
    z.looseObject({ source: z.string(), code: z.string(), message: z.string() }),
  ),
});
export type PlanDocument = z.infer<typeof planDocumentSchema>;

const reason = z.looseObject({
  code: z.enum(ERROR_CODES),
  message: z.string(),
  hint: z.string().exactOptional().describe("the next step, where it is not the code's"),
});
export const readiness = z.looseObject({ ready: z.boolean(), reasons: z.array(reason) });

export const pauseDocument = z.looseObject({
  paused: z.boolean(),
  until: time.nullable(),
  reason: z.string().nullable(),
});

export const agentDocument = z.looseObject({
  agent: z.string(),
  node: z.string(),
  version: z.string(),
  now: time.describe("the agent's clock"),
  started_at: time,
  mode: z.enum(MODES),
  pause: pauseDocument,
  readiness,
  last_pass: z
    .looseObject({
      pass_id: correlationId,
      at: time,
      duration_ms: z.number(),
      summary: planDocumentSchema.shape.summary,
    })
    .nullable(),
  parts: z
    .array(
      z.looseObject({
        name: z.enum(['pve', 'journal', 'desired', 'hub']),
        ok: z.boolean(),
        message: z.string(),
      }),
    )
    .describe('the health of what the agent stands on'),
});
export type AgentDocument = z.infer<typeof agentDocument>;

const claimed = {
  correlation_id: correlationId.exactOptional(),
  actor: z.string().min(1).max(ACTOR_MAX_CHARS).exactOptional().describe('who asks, as claimed'),
};
const stopParams = z.strictObject({
  mode: z.enum(['shutdown', 'stop']).exactOptional(),
  timeout_s: z.int().min(1).max(STOP_TIMEOUT_MAX_S).exactOptional(),
  force: z.boolean().exactOptional(),
});
const hold = holdTime
  .exactOptional()
  .describe('how long reconciling leaves the guest alone after it');

const noParams = z.strictObject({}).exactOptional();

export const startBody = z.strictObject({ params: noParams, hold, ...claimed });
export const stopBody = z.strictObject({ params: stopParams.exactOptional(), hold, ...claimed });
/** `hold` is what `for` is called where an op brings it; neither: until somebody resumes. */
export const holdBody = z
  .strictObject({
    params: noParams,
    for: holdTime.exactOptional(),
    hold: holdTime.exactOptional().describe('the same as `for`'),
    ...claimed,
  })
  .refine((body) => body.for === undefined || body.hold === undefined, 'for and hold are the same')
  .transform(({ hold: time, ...body }) => (time === undefined ? body : { ...body, for: time }));
export const resumeBody = z.strictObject({ params: noParams, ...claimed });
