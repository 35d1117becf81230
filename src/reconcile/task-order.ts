/** Which of two tasks of a node began later, by the two times that a UPID tells. */

export interface TaskStart {
  /** Of its worker: clock ticks since the node's boot (1/100 s). */
  readonly pstart: number;
  /** Seconds since 1970 on the node's clock. */
  readonly startedS: number;
}

const TICKS_PER_S = 100;

/**
 * Within one boot by ticks, which no step of the clock changes. Another boot came after all that
 * began in the one before. A clock that is set back by more than the node was up then looks like that.
 */
export function beganLater(a: TaskStart, b: TaskStart): boolean {
  const [earlier, later] = bootS(a) <= bootS(b) ? [a, b] : [b, a];
  const isSameBoot = bootS(later) <= earlier.startedS;
  if (isSameBoot && a.pstart !== b.pstart) return a.pstart > b.pstart;
  return a.startedS > b.startedS;
}

function bootS({ pstart, startedS }: TaskStart): number {
  return startedS - pstart / TICKS_PER_S;
}
