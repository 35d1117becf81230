import { describe, expect, it } from 'vitest';
import { Breaker } from '../../src/proxmox/breaker.ts';
import type { Problem } from '../../src/reconcile/errors.ts';
import { VirtualClock } from './virtual-clock.ts';

const DOWN: Problem = { code: 'service_unavailable', message: 'connect ECONNREFUSED' };
const REFUSED: Problem = { code: 'unauthorized', message: 'Authentication failed!' };

function make(): { readonly clock: VirtualClock; readonly breaker: Breaker } {
  const clock = new VirtualClock();
  return { clock, breaker: new Breaker(clock, { next: () => 0.5 }) };
}

function fail(breaker: Breaker, times: number): void {
  for (let n = 0; n < times; n++) breaker.unreachable(DOWN);
}

describe('the circuit breaker', () => {
  it('stays shut for failures with an answer between them', () => {
    const { breaker } = make();
    fail(breaker, 2);
    breaker.answered();
    fail(breaker, 2);
    expect(breaker.admit()).toBeNull();
  });

  it('opens after three failures in a row, and says why and for how long', () => {
    const { breaker } = make();
    fail(breaker, 3);
    expect(breaker.admit()).toEqual({
      code: 'service_unavailable',
      message: 'not asked again for 1 s: connect ECONNREFUSED',
    });
  });

  it('lets one request through to probe, and all once it was answered', async () => {
    const { breaker, clock } = make();
    fail(breaker, 3);
    await clock.advance(1_000);
    expect(breaker.admit()).toBeNull();
    expect(breaker.admit()).not.toBeNull();
    breaker.answered();
    expect(breaker.admit()).toBeNull();
    expect(breaker.admit()).toBeNull();
  });

  it('waits twice as long after each probe that failed, up to 15 s', async () => {
    const { breaker, clock } = make();
    fail(breaker, 3);
    const waits: number[] = [];
    for (let n = 0; n < 6; n++) {
      let waitedMs = 0;
      while (breaker.admit() !== null) {
        await clock.advance(500);
        waitedMs += 500;
      }
      waits.push(waitedMs);
      breaker.unreachable(DOWN);
    }
    expect(waits).toEqual([1_000, 2_000, 4_000, 8_000, 15_000, 15_000]);
  });

  it('a probe that was abandoned does not keep the next one out', async () => {
    const { breaker, clock } = make();
    fail(breaker, 3);
    await clock.advance(1_000);
    expect(breaker.admit()).toBeNull();
    breaker.abandoned();
    expect(breaker.admit()).toBeNull();
  });

  it('a refused token is not sent again for 30 s', async () => {
    const { breaker, clock } = make();
    breaker.unauthorized(REFUSED);
    await clock.advance(29_000);
    expect(breaker.admit()?.code).toBe('unauthorized');
    await clock.advance(1_000);
    expect(breaker.admit()).toBeNull();
  });
});
