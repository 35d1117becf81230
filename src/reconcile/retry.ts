/** Backoff and flapping: when a guest that needed work, or failed it, may be acted on again. */
import type { Random } from './clock.ts';
import type { Hold } from './ports.ts';

/** The first pause after a failure; each further one is three times as long. */
const BACKOFF_FIRST_MS = 2_000;
const BACKOFF_FACTOR = 3;
/** Five minutes: an operator who mends something sees it picked up soon. */
export const BACKOFF_MAX_MS = 300_000;
/** In sync for longer than the longest pause: the failures are history. */
export const BACKOFF_RESET_MS = 330_000;
/** Half the pause is certain, half is chance: guests that failed together come back apart. */
const JITTER_SHARE = 0.5;

/** A guest that needs more than this many starts within the window is left to a person. */
export const STARTS_MAX = 3;
export const STARTS_WINDOW_MS = 10 * 60_000;

export interface Backoff {
  readonly failures: number;
  readonly untilMs: number;
  readonly reason: string;
}

export function nextBackoff(
  previous: Backoff | undefined,
  nowMs: number,
  reason: string,
  random: Random,
): Backoff {
  const isFresh = previous === undefined || nowMs - previous.untilMs > BACKOFF_RESET_MS;
  const failures = isFresh ? 1 : previous.failures + 1;
  const pauseMs = Math.min(BACKOFF_FIRST_MS * BACKOFF_FACTOR ** (failures - 1), BACKOFF_MAX_MS);
  const waitMs = pauseMs * (1 - JITTER_SHARE * random.next());
  return { failures, untilMs: nowMs + Math.round(waitMs), reason };
}

export function isFlapping(starts: readonly number[], nowMs: number): boolean {
  return starts.filter((atMs) => nowMs - atMs < STARTS_WINDOW_MS).length >= STARTS_MAX;
}

/** The agent's own, of a guest that needed one start after the other. */
export function isFlappingHold({ reason }: Hold): boolean {
  return reason.startsWith('flapping');
}
