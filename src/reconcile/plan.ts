/** The plan: the difference between desired and actual state, as data. */
import type { Mode, PowerPolicy } from './desired.ts';
import type { ErrorCode } from './errors.ts';
import type { GuestKind, Power } from './guest.ts';
import type { Vmid } from './ids.ts';
import type { Reversibility, SentAction } from './op.ts';

/** One managed key that is not as desired. Values of write-only keys are masked (`********`). */
export interface Change {
  readonly key: string;
  readonly desired: string | null;
  readonly current: string | null;
  /** What PVE holds pending: undefined nothing, null a delete. */
  readonly pending?: string | null;
  readonly reversibility: Reversibility;
  /** Desired is written already; PVE holds it pending until the guest starts again. */
  readonly isWritten: boolean;
}

/** An action that policy lets run unsigned. What it does not is the condition `gate_denied`. */
export interface PlannedAction {
  readonly action: SentAction;
  readonly reversibility: Reversibility;
  /** The config this was computed from (set_config). */
  readonly digest?: string;
  /** What people should know before it runs (HA cuts the power after its timeout, …). */
  readonly remarks: readonly string[];
}

export const CONDITION_CODES = [
  'not_found',
  'guest_moved',
  'kind_mismatch',
  'name_mismatch',
  'claimed_twice',
  'is_template',
  'guest_locked',
  'guest_busy',
  'unknown',
  'restart_required',
  'gate_denied',
  'invalid_value',
  'on_hold',
  'paused',
  'observe_only',
  'backing_off',
  'flapping',
  'suspended',
  'guest_paused',
  'io_error',
  'ha_transition',
  'ha_error',
  'ha_unavailable',
  'no_quorum',
  'node_bulk_task',
] as const;
export type ConditionCode = (typeof CONDITION_CODES)[number];

/** Something true of the guest that explains why it is, or is not, acted on. */
export interface Condition {
  readonly code: ConditionCode;
  readonly message: string;
  /** Of `unknown`: what was in the way. */
  readonly cause?: ErrorCode;
  readonly keys?: readonly string[];
  /** When it will be looked at again (wall clock ms), where that is known. */
  readonly untilMs?: number;
  /** The task that holds the guest. */
  readonly upid?: string;
}

/** What the guards say: may the actions run now? `code` and `message` say why not. */
export type Verdict =
  | { readonly kind: 'go' }
  /** Not now: it is looked at again by itself. */
  | { readonly kind: 'wait'; readonly condition: Condition }
  /** Not until somebody does something. */
  | { readonly kind: 'never'; readonly condition: Condition };

/**
 * - `in_sync`: nothing to do.
 * - `drift`: differs; `actions` say what would be done (or a condition why not).
 * - `skipped`: not looked at further (guard or mode), with its condition.
 * - `unknown`: could not be read; no action.
 */
export type PlanStatus = 'in_sync' | 'drift' | 'skipped' | 'unknown';

export interface PlanEntry {
  readonly vmid: Vmid;
  readonly kind: GuestKind | null;
  readonly name: string | null;
  readonly mode: Mode;
  readonly status: PlanStatus;
  readonly power: { readonly desired: PowerPolicy; readonly actual: Power | null };
  readonly changes: readonly Change[];
  /** In the order they run: stop, set_config, start. */
  readonly actions: readonly PlannedAction[];
  /** Whether the actions run; its condition stands in `conditions` too. */
  readonly verdict: Verdict;
  readonly conditions: readonly Condition[];
}

/** Entries by ascending vmid; every desired guest has one. */
export interface Plan {
  readonly entries: readonly PlanEntry[];
}

/** There is something to do, and it may be done now. */
export function isReady({ verdict, actions }: Pick<PlanEntry, 'verdict' | 'actions'>): boolean {
  return verdict.kind === 'go' && actions.length > 0;
}

export function hasWork({ entries }: Plan): boolean {
  return entries.some(isReady);
}
