/**
 * Is the clock to be believed? A signature's lifetime and the memory of keys both hang on it: if it
 * runs behind what the journal has already dated, an op that expired, and whose key was forgotten,
 * would be taken again. So signed ops are refused until the clock has caught up.
 */
import type { Clock } from '../../reconcile/clock.ts';
import type { Problem } from '../../reconcile/errors.ts';
import { CLOCK_SKEW_MS } from '../../reconcile/intake.ts';

export interface ClockGuard {
  /** Null: the clock may be believed. Its hint: the code's own is about PVE. */
  objection(): (Problem & { readonly hint: string }) | null;
}

const HINT = "set the clock of the agent's host by NTP: `timedatectl`, `chronyc tracking`";

/** `lastRecordAtMs`: wall clock ms of the journal's last record when it was opened. */
export function createClockGuard({
  clock,
  lastRecordAtMs,
}: {
  readonly clock: Pick<Clock, 'now'>;
  readonly lastRecordAtMs: number;
}): ClockGuard {
  // The highest time seen, also since: a clock may step back while the agent runs.
  let newestMs = lastRecordAtMs;
  return {
    objection() {
      const nowMs = clock.now();
      newestMs = Math.max(newestMs, nowMs);
      const behindMs = newestMs - nowMs;
      if (behindMs <= CLOCK_SKEW_MS) return null;
      const seconds = Math.round(behindMs / 1000);
      const message = `the clock is ${seconds} s behind the journal: signed ops are refused until it has caught up`;
      return { code: 'service_unavailable', message, hint: HINT };
    },
  };
}
