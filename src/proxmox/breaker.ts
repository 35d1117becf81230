/**
 * The circuit breaker: while the node does not answer, or refuses the token, requests are not sent
 * but fail at once with the reason; one at a time probes whether that has changed.
 *
 * A wrong token gets a pause from its first 401 on: each 401 costs the node 3 s (PVE-FACTS 3).
 */
import type { Clock, Random } from '../reconcile/clock.ts';
import type { Problem } from '../reconcile/errors.ts';

/** One cut connection is nothing; three in a row with nothing between are a node that is down. */
const FAILURES_TO_OPEN = 3;
const UNREACHABLE_PAUSE_MS = { first: 1_000, most: 15_000 };
const UNAUTHORIZED_PAUSE_MS = { first: 30_000, most: 300_000 };

export class Breaker {
  readonly #clock: Clock;
  readonly #random: Random;
  #failures = 0;
  #pauseMs = 0;
  #untilMs = 0;
  #reason: Problem | null = null;
  #isProbing = false;

  constructor(clock: Clock, random: Random) {
    this.#clock = clock;
    this.#random = random;
  }

  /** Null: send it, and tell how it went. Else why it must not be sent. */
  admit(): Problem | null {
    if (this.#reason === null) return null;
    const waitMs = this.#untilMs - this.#clock.monotonicMs();
    if (waitMs <= 0 && !this.#isProbing) {
      this.#isProbing = true;
      return null;
    }
    const seconds = Math.max(1, Math.ceil(waitMs / 1000));
    const message = `not asked again for ${seconds} s: ${this.#reason.message}`;
    return { code: this.#reason.code, message };
  }

  answered(): void {
    this.#failures = 0;
    this.#pauseMs = 0;
    this.#reason = null;
    this.#isProbing = false;
  }

  unreachable(problem: Problem): void {
    this.#failures += 1;
    if (this.#failures >= FAILURES_TO_OPEN) this.#open(problem, UNREACHABLE_PAUSE_MS);
  }

  unauthorized(problem: Problem): void {
    this.#failures = FAILURES_TO_OPEN;
    this.#open(problem, UNAUTHORIZED_PAUSE_MS);
  }

  /** The request was abandoned by its caller: it says nothing about the node. */
  abandoned(): void {
    this.#isProbing = false;
  }

  #open(problem: Problem, pause: { readonly first: number; readonly most: number }): void {
    const doubled = Math.max(pause.first, Math.min(this.#pauseMs * 2, pause.most));
    this.#pauseMs = doubled;
    this.#reason = problem;
    this.#isProbing = false;
    // Agents of a cluster that lost the same node do not come back in step.
    this.#untilMs = this.#clock.monotonicMs() + doubled * (0.8 + 0.4 * this.#random.next());
  }
}
