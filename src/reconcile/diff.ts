/**
 * The difference between a guest's desired and actual config, key by key, in three columns:
 * desired, current, and what PVE holds pending (PVE-FACTS 23). Pure.
 */
import type { DesiredGuest } from './desired.ts';
import { type GatePolicy, judge, worse } from './gate.ts';
import { HOLD_TAG } from './guards.ts';
import { type Guest, type GuestConfig, splitTags } from './guest.ts';
import type { Vmid } from './ids.ts';
import type { Reversibility } from './op.ts';
import type { Change } from './plan.ts';
import type { ConfigWrite, ValueSemantics } from './ports.ts';

/** What a secret looks like wherever people see it. */
export const MASK = '********';

export interface DiffContext {
  readonly semantics: ValueSemantics;
  readonly policy: GatePolicy;
  /** Has this write-only value been applied already? Compared by a salted hash. */
  isSecretApplied(vmid: Vmid, key: string, value: string): boolean;
}

export interface ConfigDiff {
  readonly changes: readonly Change[];
  /** What one set_config would carry; secrets unmasked. */
  readonly set: Readonly<Record<string, string>>;
  readonly delete: readonly string[];
  /** The worst class among `set` and `delete`. */
  readonly reversibility: Reversibility;
  /** Written already; PVE applies it when the guest starts again. */
  readonly restartRequired: readonly string[];
  /** Policy does not let desired state do this. */
  readonly denied: readonly { readonly key: string; readonly needs: string }[];
  /** PVE would refuse it, and everything that is written with it. */
  readonly invalid: readonly { readonly key: string; readonly why: string }[];
}

interface Draft {
  changes: Change[];
  set: Record<string, string>;
  delete: string[];
  reversibility: Reversibility;
  restartRequired: string[];
  denied: { key: string; needs: string }[];
  invalid: { key: string; why: string }[];
}

/** What all columns of a guest have in common. */
interface Subject {
  readonly guest: Guest;
  readonly config: GuestConfig;
  readonly context: DiffContext;
}

interface Column {
  readonly key: string;
  readonly desired: string | null;
  readonly current: string | null;
  /** Undefined: nothing pending; null: a delete is. */
  readonly pending: string | null | undefined;
}

/** The one value for it, so that it can be told by identity. */
export const NO_DIFFERENCE: ConfigDiff = {
  changes: [],
  set: {},
  delete: [],
  reversibility: 'benign',
  restartRequired: [],
  denied: [],
  invalid: [],
};

export function diffConfig(
  wanted: DesiredGuest,
  guest: Guest,
  config: GuestConfig,
  context: DiffContext,
): ConfigDiff {
  const { current: values, pending: changes } = config;
  const isNothingPending = changes.size === 0;
  const differing: string[] = [];
  // Ten thousand guests are planned with this: the same text with nothing pending is the common
  // case, and `forEach` makes no pair for each key.
  wanted.config.forEach((desired, key) => {
    const isSameText = (values.get(key) ?? null) === desired;
    const isQuiet = isNothingPending || !changes.has(key);
    if (!(isSameText && isQuiet)) differing.push(key);
  });
  if (differing.length === 0) return NO_DIFFERENCE;
  const draft = emptyDraft();
  const subject = { guest, config, context };
  for (const key of differing) {
    if (wanted.ignore.has(key)) continue;
    const current = values.get(key) ?? null;
    const change = changes.get(key);
    const pending = change?.kind === 'set' ? change.value : change && null;
    const written = wanted.config.get(key) ?? null;
    const desired = key === 'tags' ? keepHoldTag(written, pending ?? current) : written;
    compareKey({ key, desired, current, pending }, subject, draft);
  }
  return isEmpty(draft) ? NO_DIFFERENCE : sorted(draft);
}

/** The tag that holds a guest belongs to whoever put it there: it is neither drift nor taken away. */
function keepHoldTag(desired: string | null, actual: string | null): string | null {
  if (actual === null || !splitTags(actual).includes(HOLD_TAG)) return desired;
  const tags = new Set(splitTags(desired ?? '')).add(HOLD_TAG);
  return [...tags].sort().join(';');
}

/** Texts that differed and mean the same. */
function isEmpty({ changes }: Draft): boolean {
  return changes.length === 0;
}

function emptyDraft(): Draft {
  return {
    changes: [],
    set: {},
    delete: [],
    reversibility: 'benign',
    restartRequired: [],
    denied: [],
    invalid: [],
  };
}

function byKey(a: { readonly key: string }, b: { readonly key: string }): number {
  return a.key < b.key ? -1 : 1;
}

/** Key order in the document must not show in the plan. */
function sorted(draft: Draft): ConfigDiff {
  const entries = Object.entries(draft.set).sort(([a], [b]) => (a < b ? -1 : 1));
  return {
    changes: draft.changes.sort(byKey),
    set: Object.fromEntries(entries),
    delete: draft.delete.sort(),
    reversibility: draft.reversibility,
    restartRequired: draft.restartRequired.sort(),
    denied: draft.denied.sort(byKey),
    invalid: draft.invalid.sort(byKey),
  };
}

function compareKey(column: Column, subject: Subject, draft: Draft): void {
  const { kind } = subject.guest;
  const { semantics } = subject.context;
  const { key, desired, current, pending } = column;
  const isSecret = semantics.isWriteOnly(kind, key);
  const effective = pending === undefined ? current : pending;
  const isEffective = isSatisfied(column, effective, subject, isSecret);
  if (isEffective && pending === undefined) return;
  if (isEffective && isSatisfied(column, current, subject, isSecret)) return;
  const show = (value: string | null): string | null => (isSecret && value !== null ? MASK : value);
  const change = (reversibility: Reversibility, isWritten: boolean): Change => ({
    key,
    desired: show(desired),
    current: show(current),
    ...(pending === undefined ? {} : { pending: show(pending) }),
    reversibility,
    isWritten,
  });
  if (isEffective) {
    // A guest that is off takes the pending value when it starts: nothing is missing.
    if (subject.guest.power === 'stopped') return;
    draft.restartRequired.push(key);
    draft.changes.push(change('benign', true));
    return;
  }
  const from = effective ?? current;
  const to = desired === null ? null : semantics.fillIn({ kind, key, desired, actual: from });
  const reversibility = semantics.classify({ kind, key, from, to });
  draft.changes.push(change(reversibility, false));
  admit({ key, from, to, reversibility }, subject, draft);
}

function admit(
  write: Pick<ConfigWrite, 'key' | 'from' | 'to'> & { readonly reversibility: Reversibility },
  { guest: { kind }, config, context: { semantics, policy } }: Subject,
  draft: Draft,
): void {
  const { key, from, to, reversibility } = write;
  const why =
    (to === null ? null : semantics.refusal(kind, key, to)) ??
    semantics.refusalOfWrite({ kind, key, from, to, current: config.current });
  if (why !== null) {
    draft.invalid.push({ key, why });
    return;
  }
  const verdict = judge({ origin: 'reconcile', reversibility, signatures: 0 }, policy);
  if (verdict.kind === 'denied') {
    draft.denied.push({ key, needs: verdict.needs });
    return;
  }
  draft.reversibility = worse(draft.reversibility, reversibility);
  if (to === null) draft.delete.push(key);
  else draft.set[key] = to;
}

function isSatisfied(
  column: Column,
  value: string | null,
  { guest, context }: Subject,
  isSecret: boolean,
): boolean {
  const { key, desired } = column;
  if (desired === null) return value === null;
  // PVE answers a made-up text for a write-only key: only our own memory can tell.
  if (isSecret) return value !== null && context.isSecretApplied(guest.vmid, key, desired);
  return context.semantics.isSatisfied({ kind: guest.kind, key, desired, actual: value });
}
