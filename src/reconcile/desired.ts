/**
 * Desired state: the document's schema, and the value the planner reads.
 *
 * The schema is strict: a document with any error is rejected whole (CONTRACT 4). Where a text
 * stood in a file is the provider's knowledge; here a path inside the document is enough.
 */
import { z } from 'zod';
import { type Problem, requirePresent } from './errors.ts';
import type { GuestKind } from './guest.ts';
import { parseVmid, VMID_MAX, VMID_MIN, type Vmid } from './ids.ts';
import { DEFAULT_STOP, type StopParams } from './op.ts';

export const MODES = ['enforce', 'observe', 'paused'] as const;
export type Mode = (typeof MODES)[number];

export const POWER_POLICIES = ['running', 'stopped', 'initial', 'unmanaged'] as const;
/** `initial`: started once after it is first seen, then left alone. */
export type PowerPolicy = (typeof POWER_POLICIES)[number];

/** What somebody wants of one guest. */
export interface DesiredGuest {
  readonly vmid: Vmid;
  /** Guard: a guest of another kind is a condition, never an action. */
  readonly kind: GuestKind | null;
  /** Guard, the same. */
  readonly name: string | null;
  readonly power: PowerPolicy;
  /** Null: as the agent's `reconcile.mode`. */
  readonly mode: Mode | null;
  /** Only the keys named here are managed; null: must not be set. Values as PVE's text. */
  readonly config: ReadonlyMap<string, string | null>;
  /** Keys whose drift is nobody's business. */
  readonly ignore: ReadonlySet<string>;
  readonly stop: StopParams;
  /** The document it came from, for people. */
  readonly source: string;
}

/** All providers' documents together. */
export interface DesiredState {
  readonly guests: ReadonlyMap<Vmid, DesiredGuest>;
  /** Guests claimed more than once: left alone, every claimant named. */
  readonly claimedTwice: ReadonlyMap<Vmid, readonly string[]>;
  /** Documents that were refused; the last good version of each stays in force. */
  readonly rejected: readonly RejectedDocument[];
}

export interface RejectedDocument {
  readonly source: string;
  /** `place`: its file and line, for those who may not know what is in it. */
  readonly problem: Problem & { readonly place?: string };
  /** Its last good version is still in force. */
  readonly isInForce: boolean;
}

export const NO_DESIRED_STATE: DesiredState = {
  guests: new Map(),
  claimedTwice: new Map(),
  rejected: [],
};

/** PVE's longest value is a description of 8 KiB; sshkeys may be longer. */
const VALUE_MAX_CHARS = 64 * 1024;
const NAME_MAX_CHARS = 255;
const STOP_TIMEOUT_MAX_S = 24 * 60 * 60;

const DURATION = /^(\d+)(ms|s|m|h|d)$/;
const DURATION_EXPECTED = 'expected a duration like 500ms, 30s, 5m, 1h or 90d';
const UNIT_MS: ReadonlyMap<string, number> = new Map([
  ['ms', 1],
  ['s', 1000],
  ['m', 60_000],
  ['h', 3_600_000],
  ['d', 86_400_000],
]);

/** `500ms`, `30s`, `5m`, `1h`, `90d` in milliseconds, or null. */
export function parseDurationMs(text: string): number | null {
  const unitMs = UNIT_MS.get(text.replace(/^\d+/, '')) ?? Number.NaN;
  const ms = Number.parseInt(text, 10) * unitMs;
  return Number.isSafeInteger(ms) ? ms : null;
}

export const durationSchema = z
  .string({ error: DURATION_EXPECTED })
  .regex(DURATION, { error: DURATION_EXPECTED, abort: true })
  .refine((text) => parseDurationMs(text) !== null, DURATION_EXPECTED)
  .describe('A duration: 500ms, 30s, 5m, 1h, 90d');

const scalar = z.union([z.string().max(VALUE_MAX_CHARS), z.number(), z.boolean()]);
const configValue = z
  .union([scalar, z.array(z.union([z.string(), z.number()])).max(64), z.null()])
  .describe('A value as PVE takes it; a list for tags; null: must not be set');

const configKey = z.string().regex(/^[a-z][a-z0-9_-]{0,63}$/, 'expected a PVE option name');

const stopSchema = z.strictObject({
  mode: z.enum(['shutdown', 'stop']).exactOptional().describe('shutdown asks the guest'),
  timeout: durationSchema.exactOptional().describe('how long a shutdown may take'),
  force: z.boolean().exactOptional().describe('cut the power when the timeout has passed'),
});

export const guestSchema = z.strictObject({
  kind: z
    .enum(['qemu', 'lxc'])
    .exactOptional()
    .describe('guard: leave a guest of another kind alone'),
  name: z
    .string()
    .max(NAME_MAX_CHARS)
    .exactOptional()
    .describe('guard: leave a guest of another name alone'),
  power: z.enum(POWER_POLICIES).exactOptional(),
  mode: z.enum(MODES).exactOptional().describe('overrides reconcile.mode for this guest'),
  config: z.record(configKey, configValue).exactOptional(),
  ignore: z.array(configKey).max(256).exactOptional().describe('keys whose drift is ignored'),
  stop: stopSchema.exactOptional(),
});

const vmidKey = z
  .string()
  .refine((text) => parseVmid(text) !== null, `expected a vmid, ${VMID_MIN} to ${VMID_MAX}`);

export const documentSchema = z.strictObject({
  version: z.literal(1),
  guests: z.record(vmidKey, guestSchema),
});

export type DesiredDocument = z.infer<typeof documentSchema>;

/** The guests of one valid document. */
export function readDocument(document: DesiredDocument, source: string): DesiredGuest[] {
  const guests: DesiredGuest[] = [];
  for (const [key, guest] of Object.entries(document.guests)) {
    guests.push({
      vmid: requirePresent(parseVmid(key), `a vmid in "${key}"`),
      kind: guest.kind ?? null,
      name: guest.name ?? null,
      power: guest.power ?? 'unmanaged',
      mode: guest.mode ?? null,
      config: new Map(
        Object.entries(guest.config ?? {}).map(([name, value]) => [name, configText(value)]),
      ),
      ignore: new Set(guest.ignore ?? []),
      stop: readStop(guest.stop),
      source,
    });
  }
  return guests;
}

/** A desired value as PVE's text: booleans are 1 and 0, lists are joined as tags are. */
export function configText(value: z.infer<typeof configValue>): string | null {
  if (value === null) return null;
  if (typeof value === 'boolean') return value ? '1' : '0';
  return Array.isArray(value) ? value.join(';') : String(value);
}

function readStop(stop: z.infer<typeof stopSchema> | undefined): StopParams {
  const ms = stop?.timeout === undefined ? null : parseDurationMs(stop.timeout);
  const timeoutS = ms === null ? DEFAULT_STOP.timeout_s : Math.ceil(ms / 1000);
  return {
    mode: stop?.mode ?? DEFAULT_STOP.mode,
    timeout_s: Math.min(timeoutS, STOP_TIMEOUT_MAX_S),
    force: stop?.force ?? DEFAULT_STOP.force,
  };
}
