/** What the engine says as it works: logs, metrics, progress and the event stream read it. */
import type { Problem } from './errors.ts';
import type { CorrelationId, Vmid } from './ids.ts';
import type { OpRecord } from './op.ts';
import type { Plan } from './plan.ts';

/** The transitional phase of a guest, derived from its op in flight. */
export const PHASES = ['steady', 'starting', 'stopping', 'restarting', 'configuring'] as const;
export type Phase = (typeof PHASES)[number];

/** Why work waits, and when it is looked at again. */
export interface Wait {
  readonly code: string;
  readonly message: string;
  readonly untilMs: number | null;
  readonly upid?: string;
}

export type EngineEvent =
  /** A record is durable. */
  | { readonly kind: 'op'; readonly record: OpRecord }
  | { readonly kind: 'waiting'; readonly vmid: Vmid; readonly wait: Wait | null }
  | {
      readonly kind: 'pass';
      readonly passId: CorrelationId;
      readonly plan: Plan;
      readonly durationMs: number;
    }
  | { readonly kind: 'problem'; readonly problem: Problem; readonly vmid?: Vmid }
  /** The engine cannot go on; the process must end (a poisoned journal, a broken invariant). */
  | { readonly kind: 'halted'; readonly error: unknown };
