import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  BACKOFF_RESET_MS,
  type Backoff,
  isFlapping,
  nextBackoff,
  STARTS_MAX,
  STARTS_WINDOW_MS,
} from '../../src/reconcile/retry.ts';
import { seededRandom } from '../support/seeded-random.ts';
import { NOW_MS } from './plan-inputs.ts';

const LONGEST = { next: () => 0 };

describe('the pause after a failure', () => {
  it('is three times as long each time, up to five minutes', () => {
    const pauses: number[] = [];
    let backoff: Backoff | undefined;
    let nowMs = NOW_MS;
    for (let failure = 0; failure < 7; failure++) {
      backoff = nextBackoff(backoff, nowMs, 'failed', LONGEST);
      pauses.push((backoff.untilMs - nowMs) / 1_000);
      nowMs = backoff.untilMs;
    }
    expect(pauses).toEqual([2, 6, 18, 54, 162, 300, 300]);
  });

  it('is never less than half of that, whatever chance says', () => {
    fc.assert(
      fc.property(fc.integer(), fc.integer({ min: 1, max: 12 }), (seed, failures) => {
        const previous = { failures: failures - 1, untilMs: NOW_MS, reason: '' };
        const { untilMs } = nextBackoff(previous, NOW_MS, 'failed', seededRandom(seed));
        const fullMs = Math.min(2_000 * 3 ** (failures - 1), 300_000);
        expect(untilMs - NOW_MS).toBeGreaterThanOrEqual(fullMs / 2);
        expect(untilMs - NOW_MS).toBeLessThanOrEqual(fullMs);
      }),
    );
  });

  it('begins anew when the guest was fine for long', () => {
    const previous = { failures: 6, untilMs: NOW_MS, reason: 'failed' };
    const soon = nextBackoff(previous, NOW_MS + BACKOFF_RESET_MS, 'failed', LONGEST);
    const late = nextBackoff(previous, NOW_MS + BACKOFF_RESET_MS + 1, 'failed', LONGEST);
    expect([soon.failures, late.failures]).toEqual([7, 1]);
  });
});

const starts = (count: number, agoMs: number): number[] =>
  Array.from({ length: count }, () => NOW_MS - agoMs);

describe('a guest flaps', () => {
  it.each([
    { name: `not with ${STARTS_MAX - 1} starts`, list: starts(STARTS_MAX - 1, 1_000), is: false },
    { name: `with ${STARTS_MAX} of them`, list: starts(STARTS_MAX, 1_000), is: true },
    { name: 'not when they are ten minutes old', list: starts(9, STARTS_WINDOW_MS), is: false },
  ])('$name', ({ list, is }) => expect(isFlapping(list, NOW_MS)).toBe(is));
});
