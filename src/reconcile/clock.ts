/** Time and chance, as ports: the core has neither of its own. */

export interface Clock {
  /** Wall clock, ms since 1970. May step. */
  now(): number;
  /** Never goes back; for ages and deadlines. */
  monotonicMs(): number;
  /** Resolves after `ms`, or at once when aborted (it never rejects). */
  sleep(ms: number, signal: AbortSignal): Promise<void>;
}

export interface Random {
  /** Uniform in [0, 1). */
  next(): number;
}
