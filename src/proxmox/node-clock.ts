/**
 * The difference between the node's clock and the agent's. PVE dates tasks with its own, in whole
 * seconds; the two may be an hour apart. It is read from /nodes/N/time, and taken from the start
 * time of each task of our own on the way, which needs no privilege and no request.
 */
import type { Clock } from '../reconcile/clock.ts';
import { nodeTime } from './answers.ts';
import type { PveApi } from './api.ts';
import { readRequest } from './request.ts';

/** Clocks drift apart by well under a second in that time. */
const MEASURE_EVERY_MS = 10 * 60_000;
/** A slower answer bounds the moment PVE looked at its clock too loosely. */
const ANSWER_MAX_MS = 2_000;
/** Our own wall clock was stepped: what was measured against it is void. */
const STEP_MS = 2_000;
/** PVE cuts to seconds: on average it was half a second later. */
const HALF_SECOND_MS = 500;

interface Measured {
  readonly offsetMs: number;
  readonly atMs: number;
  /** Wall minus monotonic clock then; it changes when the wall clock is stepped. */
  readonly epochMs: number;
}

export class NodeClock {
  readonly #api: PveApi;
  readonly #clock: Clock;
  #measured: Measured | null = null;
  /** Not asked before then: the token may not read the node's time (Sys.Audit). */
  #askAfterMs = 0;

  constructor(api: PveApi, clock: Clock) {
    this.#api = api;
    this.#clock = clock;
  }

  /** PVE's clock minus ours in ms, measured anew when too old; null: not known. */
  async offsetMs(signal: AbortSignal): Promise<number | null> {
    const mayAsk = this.#clock.monotonicMs() >= this.#askAfterMs;
    if (this.#isFresh() || !mayAsk) return this.#measured?.offsetMs ?? null;
    const startedMs = this.#clock.now();
    const request = readRequest('/nodes/{node}/time', { node: this.#api.node });
    const result = await this.#api.ask(nodeTime, request, signal);
    if (result.kind === 'value') this.learn(result.value.time, startedMs);
    else if (result.status === 403) this.#askAfterMs = this.#clock.monotonicMs() + MEASURE_EVERY_MS;
    return this.#measured?.offsetMs ?? null;
  }

  /** PVE's clock said `seconds` some time between `startedMs` (our wall clock) and now. */
  learn(seconds: number, startedMs: number): void {
    const nowMs = this.#clock.now();
    const tookMs = nowMs - startedMs;
    if (tookMs < 0 || tookMs > ANSWER_MAX_MS) return;
    this.#measured = {
      offsetMs: seconds * 1000 + HALF_SECOND_MS - (startedMs + tookMs / 2),
      atMs: this.#clock.monotonicMs(),
      epochMs: nowMs - this.#clock.monotonicMs(),
    };
  }

  /** PVE's seconds on our clock; as they are while the offset is not known. */
  toAgentMs(seconds: number): number {
    return Math.round(seconds * 1000 - (this.#measured?.offsetMs ?? 0));
  }

  #isFresh(): boolean {
    if (this.#measured === null) return false;
    const { atMs, epochMs } = this.#measured;
    const monotonicMs = this.#clock.monotonicMs();
    const steppedMs = Math.abs(this.#clock.now() - monotonicMs - epochMs);
    return monotonicMs - atMs < MEASURE_EVERY_MS && steppedMs < STEP_MS;
  }
}
