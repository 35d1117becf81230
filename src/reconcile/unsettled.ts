/**
 * Requests of the agent's earlier lives that may still begin, each until its time is over. Kept by
 * the monotonic clock: a step of the other must not cut it short.
 */
import type { Clock } from './clock.ts';
import type { Unsettled } from './guards.ts';
import type { OpId, Vmid } from './ids.ts';
import type { OpKind } from './op.ts';
import type { Op } from './op-shape.ts';

interface Request {
  readonly opId: OpId;
  readonly kind: OpKind;
  readonly endMs: number;
}

export class UnsettledRequests {
  readonly #clock: Clock;
  readonly #requests = new Map<Vmid, readonly Request[]>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** What may come last: what undoes it has to wait for that. */
  of(vmid: Vmid): Unsettled | null {
    const [last] = this.#pending(vmid).toSorted((a, b) => b.endMs - a.endMs);
    if (last === undefined) return null;
    const leftMs = last.endMs - this.#clock.monotonicMs();
    return { kind: last.kind, untilMs: this.#clock.now() + leftMs };
  }

  /** Another op has sent the same: a task that shows up may be either's. */
  hasTwin({ opId, vmid, action }: Op): boolean {
    const { kind } = action;
    return this.#pending(vmid).some((other) => other.kind === kind && other.opId !== opId);
  }

  /** `untilMs`: wall clock. */
  leave(op: Op, untilMs: number): void {
    this.forget(op);
    const endMs = this.#clock.monotonicMs() + untilMs - this.#clock.now();
    const { opId, vmid, action } = op;
    const request = { opId, kind: action.kind, endMs };
    this.#requests.set(vmid, [...this.#pending(vmid), request]);
  }

  forget({ opId, vmid }: Op): void {
    const others = this.#pending(vmid).filter((request) => request.opId !== opId);
    this.#requests.set(vmid, others);
  }

  #pending(vmid: Vmid): readonly Request[] {
    const requests = this.#requests.get(vmid) ?? [];
    const nowMs = this.#clock.monotonicMs();
    return requests.filter(({ endMs }) => endMs > nowMs);
  }
}
