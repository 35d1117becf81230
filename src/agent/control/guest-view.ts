/**
 * A guest as `status` and `GET /v1/guests` show it: desired, actual, drift, phase, conditions and
 * the last op, in the documented JSON shape (docs/CLI.md). Derived, never stored.
 */
import type { DesiredState, Mode } from '../../reconcile/desired.ts';
import type { Phase, Wait } from '../../reconcile/events.ts';
import { conditionOfHold } from '../../reconcile/guards.ts';
import type { ActualState, Guest } from '../../reconcile/guest.ts';
import { holdsInForce } from '../../reconcile/hold.ts';
import type { Vmid } from '../../reconcile/ids.ts';
import type { OpRecord } from '../../reconcile/op.ts';
import { leadingOps, phaseOf } from '../../reconcile/phase.ts';
import type { Condition, Plan, PlanEntry } from '../../reconcile/plan.ts';
import type { Hold, OpView } from '../../reconcile/ports.ts';
import { timeText } from '../time-text.ts';
import { type DescribeWait, describeWaits, type WaitDocument } from './op-document.ts';
import { conditionDocument, planEntryDocument } from './plan-document.ts';

export interface GuestView {
  readonly vmid: Vmid;
  readonly name: string | null;
  readonly kind: 'qemu' | 'lxc' | null;
  /** Null: nobody wants anything of it. */
  readonly desired: {
    readonly power: string;
    readonly mode: string;
    readonly source: string;
  } | null;
  /** Null: PVE does not list it, or could not be asked. */
  readonly actual: ActualView | null;
  /** Null: not desired. */
  readonly status: PlanEntry['status'] | null;
  /** Null: not known, or not desired. */
  readonly drift: boolean | null;
  readonly changes: unknown;
  readonly phase: Phase;
  readonly conditions: readonly Readonly<Record<string, unknown>>[];
  readonly hold: { readonly until: string | null; readonly reason: string } | null;
  /** Of its op in flight; null where it is not known, or does not wait. */
  readonly waiting_for: WaitDocument | null;
  readonly last_op: LastOpView | null;
}

interface ActualView {
  readonly power: string;
  readonly qmp_status: string | null;
  readonly lock: string | null;
  readonly template: boolean;
  readonly tags: readonly string[];
  readonly ha_state: string | null;
  readonly booted_at: string | null;
}

interface LastOpView {
  readonly op_id: string;
  readonly kind: string;
  readonly state: string;
  readonly at: string;
}

export interface GuestViewInput {
  /** Only these guests; `plan` and `actual` have no others. Null: all of them. */
  readonly only: ReadonlySet<Vmid> | null;
  readonly plan: Plan;
  /** The agent's. */
  readonly mode: Mode;
  readonly desired: DesiredState | null;
  readonly actual: ActualState | null;
  /** As they were last seen (`LastLook.known`). */
  readonly known: ReadonlyMap<Vmid, Guest>;
  readonly inFlight: readonly OpView[];
  /** The newest record known of each guest. */
  readonly lastOps: ReadonlyMap<Vmid, OpRecord>;
  /** As noted; what is over counts no more, also before the journal forgets it. */
  readonly holds: ReadonlyMap<Vmid, Hold>;
  /** Wall clock. */
  readonly nowMs: number;
  /** Why each waiting lane waits, where there are lanes. */
  readonly waits: ReadonlyMap<Vmid, Wait>;
}

/** By ascending vmid: every guest that PVE lists, or did when it was last seen, or somebody wants. */
export function viewGuests(given: GuestViewInput): GuestView[] {
  const input = { ...given, holds: holdsInForce(given) };
  const entries = new Map(input.plan.entries.map((entry) => [entry.vmid, entry]));
  const seen = input.actual?.guests.keys() ?? [];
  const vmids = new Set([...entries.keys(), ...seen, ...others(input)]);
  const leading = leadingOps(input.inFlight);
  const waitOf = describeWaits(input);
  return [...vmids]
    .sort((a, b) => a - b)
    .map((vmid) => {
      const parts = { entry: entries.get(vmid), leading: leading.get(vmid), waitOf };
      return viewGuest(vmid, parts, input);
    });
}

/** Also before the first plan: somebody may want to hold a guest that cannot be looked at. */
function others({ desired, known, only }: GuestViewInput): Iterable<Vmid> {
  const maps = [known, ...(desired === null ? [] : [desired.guests, desired.claimedTwice])];
  return only === null
    ? maps.flatMap((map) => [...map.keys()])
    : [...only].filter((vmid) => maps.some((map) => map.has(vmid)));
}

interface GuestParts {
  readonly entry: PlanEntry | undefined;
  readonly leading: OpView | undefined;
  readonly waitOf: DescribeWait;
}

function viewGuest(
  vmid: Vmid,
  { entry, leading, waitOf }: GuestParts,
  input: GuestViewInput,
): GuestView {
  const { desired, actual, lastOps } = input;
  const guest = actual?.guests.get(vmid);
  const named = guest ?? input.known.get(vmid);
  const wanted = desired?.guests.get(vmid);
  const last = lastOps.get(vmid);
  const hold = input.holds.get(vmid) ?? null;
  const status = entry?.status ?? (wanted === undefined ? null : 'unknown');
  return {
    vmid,
    name: named?.name ?? entry?.name ?? wanted?.name ?? null,
    kind: named?.kind ?? entry?.kind ?? wanted?.kind ?? null,
    desired:
      wanted === undefined
        ? null
        : { power: wanted.power, mode: wanted.mode ?? input.mode, source: wanted.source },
    actual: guest === undefined ? null : viewActual(guest),
    status,
    drift: driftOf(status),
    changes: entry === undefined ? [] : planEntryDocument(entry)['changes'],
    // Also of an op that still waits: whoever asked for it sees at once that it was taken.
    phase: leading === undefined ? 'steady' : phaseOf(leading.latest.kind),
    conditions: withHold(entry?.conditions ?? [], hold).map(conditionDocument),
    hold: hold && {
      until: hold.untilMs === null ? null : timeText(hold.untilMs),
      reason: hold.reason,
    },
    waiting_for: leading === undefined ? null : waitOf(leading.opId),
    last_op:
      last === undefined
        ? null
        : { op_id: last.op_id, kind: last.kind, state: last.state, at: last.at },
  };
}

function driftOf(status: GuestView['status']): boolean | null {
  return status === null || status === 'unknown' ? null : status === 'drift';
}

/**
 * A hold shows before the next pass. No plan names it where a tag holds the guest too, where the
 * guest could not be read, or where nobody wants anything of it.
 */
function withHold(planned: readonly Condition[], hold: Hold | null): readonly Condition[] {
  if (hold === null) return planned;
  const held = conditionOfHold(hold);
  const isHeld = ({ message }: Condition): boolean => message === held.message;
  return planned.some(isHeld)
    ? planned.map((condition) => (isHeld(condition) ? held : condition))
    : [...planned, held];
}

function viewActual(guest: Guest): ActualView {
  const { power, lock, template, tags, ha, bootedAtMs } = guest;
  return {
    power,
    qmp_status: guest.qmpStatus,
    lock,
    template,
    tags,
    ha_state: ha.kind === 'managed' ? ha.state : null,
    booted_at: bootedAtMs === null ? null : new Date(bootedAtMs).toISOString(),
  };
}

/** The newest ops of each guest are among these; a guest whose last is older shows none. */
export const LAST_OPS_READ_MAX = 5_000;

/** The newest record of each guest, from records in any order. */
export function newestByGuest(records: Iterable<OpRecord>): Map<Vmid, OpRecord> {
  const newest = new Map<Vmid, OpRecord>();
  for (const record of records) {
    const known = newest.get(record.vmid);
    if (known === undefined || known.seq < record.seq) newest.set(record.vmid, record);
  }
  return newest;
}
