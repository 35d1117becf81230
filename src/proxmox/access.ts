/**
 * What the token may see, remembered, and read again after a surprise: a guest that is gone from
 * its list, or a list that is empty, may be a privilege taken away (PVE-FACTS 10).
 */
import type { Clock } from '../reconcile/clock.ts';
import type { Completeness } from '../reconcile/guest.ts';
import type { Vmid } from '../reconcile/ids.ts';
import { permissions } from './answers.ts';
import type { PveApi, Result } from './api.ts';
import type { Failure } from './errors.ts';
import {
  guestPath,
  type Permissions,
  seesAllTasks,
  seesGuest,
  seesGuests,
  seesHaStatus,
} from './permissions.ts';
import { readRequest } from './request.ts';
import { SharedRead } from './shared-read.ts';

/** Without a surprise: what was granted meanwhile is noticed by then. */
const MAX_AGE_MS = 10 * 60_000;
/** Of guests that are in no list: somebody may ask for any vmid. */
const REMEMBERED_MAX = 10_000;

export class Access {
  readonly #api: PveApi;
  readonly #clock: Clock;
  readonly #closed: AbortSignal;
  readonly #read: SharedRead<Result<Permissions>>;
  /** On the paths of guests that were in no list at the last look. */
  readonly #ofGuests = new Map<Vmid, SharedRead<Result<Permissions>>>();

  constructor(api: PveApi, clock: Clock, closed: AbortSignal) {
    this.#api = api;
    this.#clock = clock;
    this.#closed = closed;
    this.#read = this.#reading({});
  }

  #reading(query: Readonly<Record<string, string>>): SharedRead<Result<Permissions>> {
    const request = readRequest('/access/permissions', {}, query);
    return new SharedRead(
      this.#clock,
      (began) => this.#api.ask(permissions, request, this.#closed, began),
      (result) => result.kind === 'value',
    );
  }

  /** `sinceMs` (monotonic): only what was read after that counts; null: what is remembered. */
  async permissions(sinceMs: number | null, signal: AbortSignal): Promise<Result<Permissions>> {
    return this.#read.get(sinceMs ?? this.#oldestMs(), signal);
  }

  #oldestMs(): number {
    return this.#clock.monotonicMs() - MAX_AGE_MS;
  }

  async guests(sinceMs: number | null, signal: AbortSignal): Promise<Completeness> {
    const held = await this.permissions(sinceMs, signal);
    return held.kind === 'value' ? seesGuests(held.value) : unknown(held);
  }

  /** Would this guest, which is in no list, be in one? */
  async guest(vmid: Vmid, signal: AbortSignal): Promise<Completeness> {
    return this.#judgeGuest(vmid, this.#readingOf(vmid), signal);
  }

  /** The same of one that has been missing from look to look: asked once in a while. */
  async missingGuest(vmid: Vmid, signal: AbortSignal): Promise<Completeness> {
    if (this.#ofGuests.size >= REMEMBERED_MAX) this.#ofGuests.clear();
    const read = this.#ofGuests.get(vmid) ?? this.#readingOf(vmid);
    this.#ofGuests.set(vmid, read);
    return this.#judgeGuest(vmid, read, signal);
  }

  #readingOf(vmid: Vmid): SharedRead<Result<Permissions>> {
    return this.#reading({ path: guestPath(vmid) });
  }

  async #judgeGuest(
    vmid: Vmid,
    read: SharedRead<Result<Permissions>>,
    signal: AbortSignal,
  ): Promise<Completeness> {
    const held = await read.get(this.#oldestMs(), signal);
    return held.kind === 'value' ? seesGuest(held.value, vmid) : unknown(held);
  }

  /** Of guests that were found again: once they go missing anew, they may be hidden by then. */
  forgetGuests(isFound: (vmid: Vmid) => boolean): void {
    for (const vmid of this.#ofGuests.keys()) if (isFound(vmid)) this.#ofGuests.delete(vmid);
  }

  async tasks(signal: AbortSignal): Promise<Completeness> {
    const held = await this.permissions(null, signal);
    return held.kind === 'value' ? seesAllTasks(held.value, this.#api.node) : unknown(held);
  }

  async haStatus(signal: AbortSignal): Promise<boolean> {
    const held = await this.permissions(null, signal);
    return held.kind === 'value' && seesHaStatus(held.value);
  }
}

function unknown({ problem }: Failure): Completeness {
  return { kind: 'unknown', problem };
}
