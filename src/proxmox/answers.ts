/**
 * The answers that are read, and nothing else of them. Tolerant of what PVE varies (a number or
 * its text, absent, " "), strict in what comes out: an answer that does not fit is an error that
 * names path, field and value, never a guess.
 */
import * as z from 'zod';
import type { Problem } from '../reconcile/errors.ts';
import { parseUpid, parseVmid, type Upid, type Vmid } from '../reconcile/ids.ts';
import { shorten } from './errors.ts';

const VALUE_SHOWN_CHARS = 80;

const integer = z.union([
  z.int(),
  z
    .string()
    .regex(/^-?\d{1,15}$/)
    .transform(Number),
]);
const flag = z.union([
  z.boolean(),
  z.union([z.literal(0), z.literal('0'), z.literal('')]).transform(() => false),
  z.union([z.literal(1), z.literal('1')]).transform(() => true),
]);
/** A config value as its text: PVE sends some as numbers (PVE-FACTS 26). */
const text = z.union([
  z.string(),
  z.number().transform(String),
  z.boolean().transform((value) => (value ? '1' : '0')),
]);
/** Absent, empty and " " are the same. */
const label = z
  .union([z.string(), z.number().transform(String), z.null()])
  .optional()
  .transform((value) => (value === undefined || value === null ? '' : value.trim()));

const vmid = z.unknown().transform((value, context): Vmid => {
  const parsed = parseVmid(value);
  if (parsed !== null) return parsed;
  context.addIssue({ code: 'custom', message: 'not a vmid', input: value });
  return z.NEVER;
});
const upid = z.unknown().transform((value, context): Upid => {
  const parsed = parseUpid(value);
  if (parsed !== null) return parsed;
  context.addIssue({ code: 'custom', message: 'not a UPID', input: value });
  return z.NEVER;
});

const ha = z.object({ managed: flag, state: z.string().nullish() });

/** A row of the qemu and lxc lists, and of status/current (which also has `ha`). */
export const guestRow = z.object({
  vmid,
  name: label,
  status: z.enum(['running', 'stopped']),
  uptime: integer.optional(),
  pid: integer.optional(),
  template: flag.optional(),
  lock: label,
  tags: label,
  qmpstatus: z.string().optional(),
  ha: ha.optional(),
});
export type GuestRow = z.output<typeof guestRow>;
export const guestRows = z.array(guestRow);

export const pendingRows = z.array(
  z.object({
    key: z.string().min(1),
    value: text.optional(),
    pending: text.optional(),
    delete: integer.optional(),
  }),
);

/** `RUNNING` with source=active or all, the exit status in the archive (PVE-FACTS 17). */
export const taskRows = z.array(
  z.object({ upid, status: z.string().optional(), endtime: integer.optional() }),
);
export type TaskRow = z.output<typeof taskRows>[number];

export const taskStatus = z.object({
  upid,
  status: z.enum(['running', 'stopped']),
  exitstatus: z.string().optional(),
});

export const taskLog = z.array(z.object({ n: integer, t: z.string() }));
export const total = integer.catch(0);

/** A power action: always a task. */
export const submittedTask = upid;
/** A config write: a task, or null when it is done (PVE-FACTS 22). */
export const submittedChange = z.union([z.null(), upid]);

export const permissions = z.record(z.string(), z.record(z.string(), flag));
export const version = z.object({ version: z.string(), release: label, repoid: label });
export const nodeTime = z.object({ time: integer });

export const clusterGuests = z.array(
  z.object({ vmid, node: z.string().min(1), type: z.string(), hastate: label }),
);

export type ClusterGuest = z.output<typeof clusterGuests>[number];

export const haStatus = z.array(
  z.object({
    type: z.string(),
    quorate: flag.optional(),
    'armed-state': z.string().optional(),
    resource_mode: z.string().optional(),
    sid: z.string().optional(),
    state: z.string().optional(),
    crm_state: z.string().optional(),
    node: z.string().optional(),
  }),
);

export type Parsed<T> =
  | { readonly kind: 'value'; readonly value: T }
  | { readonly kind: 'misfit'; readonly problem: Problem };

/** `where` names the request. The value that does not fit is shown cut short. */
export function parseAnswer<T>(schema: z.ZodType<T>, data: unknown, where: string): Parsed<T> {
  const result = schema.safeParse(data);
  if (result.success) return { kind: 'value', value: result.data };
  const [issue] = result.error.issues;
  const path = issue?.path ?? [];
  const field = path.length === 0 ? 'data' : `data.${path.join('.')}`;
  const value = shorten(JSON.stringify(valueAt(data, path)) ?? 'nothing', VALUE_SHOWN_CHARS);
  const why = issue?.message ?? 'does not fit';
  const message = `unexpected answer: ${field} is ${value} (${why}) [${where}]`;
  return { kind: 'misfit', problem: { code: 'service_unavailable', message } };
}

function valueAt(data: unknown, path: readonly PropertyKey[]): unknown {
  let value = data;
  for (const key of path) {
    if (typeof value !== 'object' || value === null) return undefined;
    value = Reflect.get(value, key);
  }
  return value;
}
