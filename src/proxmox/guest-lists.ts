/** The node's lists: qemu, lxc, tasks; each shared by all who look at the same time. */
import type { Clock } from '../reconcile/clock.ts';
import type { Guest, GuestKind } from '../reconcile/guest.ts';
import type { Vmid } from '../reconcile/ids.ts';
import { guestRows, type TaskRow } from './answers.ts';
import type { PveApi, Result } from './api.ts';
import { middle } from './guest-reads.ts';
import { readGuest } from './guest-values.ts';
import { readRequest } from './request.ts';
import { SharedRead } from './shared-read.ts';
import type { TaskReader } from './tasks.ts';

export type GuestMap = ReadonlyMap<Vmid, Guest>;

export class GuestLists {
  readonly #api: PveApi;
  readonly #clock: Clock;
  readonly #guests: Readonly<Record<GuestKind, SharedRead<Result<GuestMap>>>>;
  readonly #tasks: SharedRead<Result<readonly TaskRow[]>>;

  /** `closed` ends what is under way. */
  constructor(api: PveApi, tasks: TaskReader, clock: Clock, closed: AbortSignal) {
    this.#api = api;
    this.#clock = clock;
    this.#guests = {
      qemu: new SharedRead(clock, (began) => this.#readGuests('qemu', closed, began), isValue),
      lxc: new SharedRead(clock, (began) => this.#readGuests('lxc', closed, began), isValue),
    };
    this.#tasks = new SharedRead(clock, (began) => tasks.recent(closed, began), isValue);
  }

  guests(kind: GuestKind, sinceMs: number, signal: AbortSignal): Promise<Result<GuestMap>> {
    return this.#guests[kind].get(sinceMs, signal);
  }

  /** Running tasks, and the newest of those that have ended. */
  tasks(sinceMs: number, signal: AbortSignal): Promise<Result<readonly TaskRow[]>> {
    return this.#tasks.get(sinceMs, signal);
  }

  async #readGuests(
    kind: GuestKind,
    signal: AbortSignal,
    began: () => void,
  ): Promise<Result<GuestMap>> {
    const request = readRequest(`/nodes/{node}/${kind}`, { node: this.#api.node });
    let beganMs = this.#clock.now();
    const result = await this.#api.ask(guestRows, request, signal, () => {
      beganMs = this.#clock.now();
      began();
    });
    if (result.kind === 'failure') return result;
    const atMs = middle(beganMs, this.#clock.now());
    const guests = new Map<Vmid, Guest>();
    for (const row of result.value) guests.set(row.vmid, readGuest(kind, row, atMs));
    return { kind: 'value', value: guests, total: result.total };
  }
}

function isValue(result: Result<unknown>): boolean {
  return result.kind === 'value';
}
