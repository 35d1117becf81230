/**
 * What a chaos run leaves, from outside the agent: its journal as a reader of its own found it, what
 * the node received and did, what was asked and wanted, and what was done to the agent's processes.
 *
 * Times are milliseconds since 1970 on the clock that nobody moves. The agent's own clock stands
 * only in `at` and `until_ms` of its records.
 */
import type { OpKind } from '../../src/reconcile/op.ts';
import type { ContractReading } from '../e2e/contract-journal.ts';
import type { GuestMoment, TaskRun } from '../simulator/history.ts';
import type { LoggedRequest } from '../simulator/request-log.ts';

/** What somebody asked the agent for, and what it said. */
export interface Ask {
  readonly atMs: number;
  readonly origin: 'hub' | 'operator';
  readonly vmid: number;
  readonly kind: OpKind;
  /** Complete, as the agent's record has them. */
  readonly params: Readonly<Record<string, unknown>>;
  readonly key: string | null;
  readonly answer: Answer;
}

export type Answer =
  | { readonly kind: 'taken'; readonly opId: string }
  | { readonly kind: 'refused'; readonly code: string; readonly message: string }
  | { readonly kind: 'unanswered' };

export interface Wish {
  readonly power: 'running' | 'stopped' | 'initial' | 'unmanaged';
  readonly mode?: 'enforce' | 'observe';
  readonly config: Readonly<Record<string, string>>;
  readonly stop: { readonly timeout: string };
}

export type Wishes = Readonly<Record<number, Wish>>;

/** One process of the agent. */
export interface Life {
  readonly pid: number;
  readonly beganMs: number;
  endedMs: number | null;
  exit: number | null;
  signal: NodeJS.Signals | null;
  /** What was done to it that may end it. */
  readonly suffered: Set<Suffering>;
}

export type Suffering = 'kill' | 'terminate' | 'lost_lock' | 'full_disk' | 'held_lock';

export interface Interval {
  readonly fromMs: number;
  readonly toMs: number;
}

/** How long the journal's segments were at that time. */
export interface Growth {
  readonly atMs: number;
  readonly sizes: Readonly<Record<string, number>>;
}

export interface Evidence {
  readonly journal: ContractReading;
  readonly growth: readonly Growth[];
  /** `journal verify`; null: not run. */
  readonly verify: { readonly exit: number | null; readonly out: string } | null;
  /** The agent's. */
  readonly requests: readonly LoggedRequest[];
  readonly tasks: readonly TaskRun[];
  readonly guests: readonly GuestMoment[];
  readonly asks: readonly Ask[];
  /** Each as it was written, oldest first. */
  readonly wishes: readonly { readonly atMs: number; readonly wishes: Wishes }[];
  readonly lives: readonly Life[];
  /** When the agent, or its way to the node, stood still or was slow. */
  readonly slow: readonly Interval[];
  readonly clockMovedMs: readonly number[];
  /** How far it still was from what is wanted when its time was up. */
  readonly leftOver: readonly string[];
}
