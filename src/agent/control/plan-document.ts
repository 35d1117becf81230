/**
 * The plan as JSON: the documented shape of `plan --json` and `GET /v1/plan` (docs/CLI.md). It
 * holds no secret: write-only values are masked in actions as they are in changes.
 */
import type { RejectedDocument } from '../../reconcile/desired.ts';
import { MASK } from '../../reconcile/diff.ts';
import type { OpKind } from '../../reconcile/op.ts';
import type {
  Change,
  Condition,
  Plan,
  PlanEntry,
  PlannedAction,
  PlanStatus,
} from '../../reconcile/plan.ts';
import { timeText } from '../time-text.ts';

export interface PlanSummary {
  readonly guests: number;
  readonly status: Readonly<Record<PlanStatus, number>>;
  /** Guests whose actions wait for something or somebody. */
  readonly held_back: number;
  readonly actions: Readonly<Record<OpKind, number>>;
}

export function planDocument(
  plan: Plan,
  rejected: readonly RejectedDocument[],
): Readonly<Record<string, unknown>> {
  return {
    summary: summarise(plan),
    guests: plan.entries.map(planEntryDocument),
    rejected_documents: rejected.map(({ source, problem: { code, message }, isInForce }) => ({
      source,
      code,
      message,
      last_good_in_force: isInForce,
    })),
  };
}

export function planEntryDocument(entry: PlanEntry): Readonly<Record<string, unknown>> {
  const { vmid, kind, name, mode, status, power } = entry;
  return {
    vmid,
    kind,
    name,
    mode,
    status,
    power,
    changes: entry.changes.map(({ isWritten, ...change }) => ({
      ...change,
      is_written: isWritten,
    })),
    actions: entry.actions.map((action) => actionDocument(action, entry.changes)),
    runs: entry.verdict.kind,
    conditions: entry.conditions.map(conditionDocument),
  };
}

export function conditionDocument({
  untilMs,
  ...condition
}: Condition): Readonly<Record<string, unknown>> {
  const until = untilMs === undefined ? {} : { until: timeText(untilMs) };
  return { ...condition, ...until };
}

function actionDocument(
  { action, reversibility, digest, remarks }: PlannedAction,
  changes: readonly Change[],
): Readonly<Record<string, unknown>> {
  const masked = new Set(changes.filter(({ desired }) => desired === MASK).map(({ key }) => key));
  const params =
    action.kind === 'set_config'
      ? {
          set: Object.fromEntries(
            Object.entries(action.params.set).map(([key, value]) => [
              key,
              masked.has(key) ? MASK : value,
            ]),
          ),
          delete: action.params.delete,
        }
      : action.params;
  return {
    kind: action.kind,
    params,
    reversibility,
    ...(digest === undefined ? {} : { digest }),
    remarks,
  };
}

export function summarise({ entries }: Plan): PlanSummary {
  const status: Record<PlanStatus, number> = { in_sync: 0, drift: 0, skipped: 0, unknown: 0 };
  const actions: Record<OpKind, number> = { start: 0, stop: 0, restart: 0, set_config: 0 };
  let heldBack = 0;
  for (const entry of entries) {
    status[entry.status] += 1;
    if (entry.actions.length > 0 && entry.verdict.kind !== 'go') heldBack += 1;
    else for (const { action } of entry.actions) actions[action.kind] += 1;
  }
  return { guests: entries.length, status, held_back: heldBack, actions };
}
