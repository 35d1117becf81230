/** The real clock and the real dice. The only places that read them for the core. */
import { randomBytes } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import type { Clock, Random } from '../reconcile/clock.ts';

export const systemClock: Clock = {
  now: () => Date.now(),
  monotonicMs: () => performance.now(),
  async sleep(ms, signal) {
    // The port says: an abort ends the sleep, it is not an error.
    await delay(Math.max(0, ms), undefined, { signal }).catch(() => undefined);
  },
};

/** From the system's generator: op ids must not repeat over restarts. */
export const systemRandom: Random = {
  next: () => randomBytes(6).readUIntBE(0, 6) / 2 ** 48,
};
