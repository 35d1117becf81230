/** A moment that is told by both clocks: the wall clock, which tasks are dated by, may be set back. */
import type { Clock } from './clock.ts';

export interface Since {
  /** Wall clock. */
  readonly atMs: number;
  /** Null: an earlier life has noted it, and the wall clock alone tells. */
  readonly monotonicMs: number | null;
}

/**
 * On the clock as it goes now, which tasks are dated by: it may have been set back meanwhile. Rather
 * too early than too late, and from the beginning where nobody knows how long ago it was.
 */
export function earliest({ atMs, monotonicMs }: Since, clock: Clock): number {
  const nowMs = clock.now();
  if (monotonicMs === null) return atMs > nowMs ? 0 : atMs;
  return Math.min(atMs, nowMs - (clock.monotonicMs() - monotonicMs));
}
