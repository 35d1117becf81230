/**
 * What the token may see, remembered, and read again after a surprise: a guest that is gone from
 * its list, or a list that is empty, may be a privilege taken away (PVE-FACTS 10).
 */
import type { Clock } from '../reconcile/clock.ts';
import type { Completeness } from '../reconcile/guest.ts';
import { permissions } from './answers.ts';
import type { PveApi, Result } from './api.ts';
import { type Permissions, seesAllGuests, seesAllTasks, seesHaStatus } from './permissions.ts';
import { readRequest } from './request.ts';
import { SharedRead } from './shared-read.ts';

/** Without a surprise: what was granted meanwhile is noticed by then. */
const MAX_AGE_MS = 10 * 60_000;

export class Access {
  readonly #clock: Clock;
  readonly #node: string;
  readonly #read: SharedRead<Result<Permissions>>;

  constructor(api: PveApi, clock: Clock, closed: AbortSignal) {
    this.#clock = clock;
    this.#node = api.node;
    const request = readRequest('/access/permissions');
    this.#read = new SharedRead(
      clock,
      (began) => api.ask(permissions, request, closed, began),
      (result) => result.kind === 'value',
    );
  }

  /** `sinceMs` (monotonic): only what was read after that counts; null: what is remembered. */
  async permissions(sinceMs: number | null, signal: AbortSignal): Promise<Result<Permissions>> {
    return this.#read.get(sinceMs ?? this.#clock.monotonicMs() - MAX_AGE_MS, signal);
  }

  async guests(sinceMs: number | null, signal: AbortSignal): Promise<Completeness> {
    const held = await this.permissions(sinceMs, signal);
    return held.kind === 'value'
      ? seesAllGuests(held.value)
      : { kind: 'unknown', problem: held.problem };
  }

  async tasks(signal: AbortSignal): Promise<Completeness> {
    const held = await this.permissions(null, signal);
    return held.kind === 'value'
      ? seesAllTasks(held.value, this.#node)
      : { kind: 'unknown', problem: held.problem };
  }

  async haStatus(signal: AbortSignal): Promise<boolean> {
    const held = await this.permissions(null, signal);
    return held.kind === 'value' && seesHaStatus(held.value);
  }
}
