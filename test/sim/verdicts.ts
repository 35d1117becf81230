/** What must hold in every run, by name, and what did not. */

export const CHECKS = [
  /** Its `received` record outlives every crash, and it comes to an end. */
  'acknowledged_op_is_never_lost',
  'key_succeeds_at_most_once',
  /** PVE sees at most one request an attempt, and its `started` is durable before. */
  'one_request_per_attempt',
  'order_within_a_lane',
  'one_task_of_ours_per_guest',
  'terminal_state_is_true',
  'reconciling_does_only_what_is_desired',
  'no_guest_is_stopped_unasked',
  'converges_when_faults_end',
  'journal_verifies',
  'memory_and_lanes_are_bounded',
  /** The agent halts when its disk fails, and never else. */
  'halts_only_when_the_disk_fails',
] as const;
export type CheckName = (typeof CHECKS)[number];

export interface Violation {
  readonly check: CheckName;
  readonly atMs: number;
  readonly message: string;
}

/** More tell nothing new. */
const VIOLATIONS_MAX = 50;

export class Verdicts {
  readonly #elapsedMs: () => number;
  readonly violations: Violation[] = [];

  constructor(elapsedMs: () => number) {
    this.#elapsedMs = elapsedMs;
  }

  fail(check: CheckName, message: string): void {
    if (this.violations.length >= VIOLATIONS_MAX) return;
    this.violations.push({ check, atMs: this.#elapsedMs(), message });
  }
}

export function describeViolation({ check, atMs, message }: Violation): string {
  return `${(atMs / 1_000).toFixed(3).padStart(9)} ${check}: ${message}`;
}
