import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { beganLater, type TaskStart } from '../../src/reconcile/task-order.ts';

/** So long after a boot, and what the node's clock said then. */
function at(uptimeS: number, startedS: number): TaskStart {
  return { pstart: uptimeS * 100, startedS };
}

describe('of two tasks that one began later which', () => {
  it.each<[string, TaskStart, TaskStart]>([
    ['began a second later', at(1_001, 50_001), at(1_000, 50_000)],
    ['began in the same second, some ticks later', at(1_000.5, 50_000), at(1_000.1, 50_000)],
    ['began after the clock was set back', at(1_000, 49_500), at(990, 50_000)],
    ['began after the clock was set on', at(1_000, 90_000), at(990, 50_000)],
    ['began after a reboot', at(60, 51_000), at(100_000, 50_000)],
    ['began after a reboot, on a node that is up for longer by now', at(9_000, 70_000), at(20, 9)],
  ])('%s', (_what, later, earlier) => {
    expect(beganLater(later, earlier)).toBe(true);
    expect(beganLater(earlier, later)).toBe(false);
  });

  it('is never both, and never itself', () => {
    const start = fc.record({ pstart: fc.nat(), startedS: fc.nat() });
    fc.assert(
      fc.property(start, start, (a, b) => {
        expect(beganLater(a, b) && beganLater(b, a)).toBe(false);
        expect(beganLater(a, a)).toBe(false);
      }),
    );
  });
});
