/** How long to wait before the next try: full jitter, so that agents do not come back together. */
import type { Random } from '../../reconcile/clock.ts';

const FIRST_MS = 1_000;
const MAX_MS = 60_000;

/** `failures`: in a row, from 0. Anything from nothing to the bound, which doubles up to a minute. */
export function backoffMs(failures: number, random: Random): number {
  return random.next() * Math.min(MAX_MS, FIRST_MS * 2 ** failures);
}
