/** A journal in a real folder, with real time. */
import { type Journal, type OpenOptions, openJournal } from '../../src/journal/journal.ts';
import type { Clock } from '../../src/reconcile/clock.ts';

export const realClock: Clock = {
  now: () => Date.now(),
  monotonicMs: () => performance.now(),
  sleep: (ms, signal) =>
    new Promise((resolve) => {
      const timer = setTimeout(resolve, ms);
      signal.addEventListener('abort', () => {
        clearTimeout(timer);
        resolve();
      });
    }),
};

export function openOnDisk(stateDir: string, options: Partial<OpenOptions> = {}): Promise<Journal> {
  return openJournal({
    stateDir,
    clock: realClock,
    random: { next: () => Math.random() },
    segmentBytes: 16 * 1024 * 1024,
    keepSegments: 1000,
    keepForMs: 90 * 86_400_000,
    onHalt: (error) => {
      throw error;
    },
    ...options,
  });
}
