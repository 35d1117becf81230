/** Desired state as the agent has read it, and when: what it does is judged by that. */
import type { DesiredGuest, DesiredState } from '../../src/reconcile/desired.ts';
import { parseVmid } from '../../src/reconcile/ids.ts';
import type { DesiredProvider } from '../../src/reconcile/ports.ts';
import { DesiredSource } from '../support/desired-source.ts';
import type { VirtualClock } from '../support/virtual-clock.ts';
import type { Wish } from './script.ts';

export class WatchedDesired implements DesiredProvider {
  readonly #clock: VirtualClock;
  readonly #source = new DesiredSource();
  readonly #wishes = new Map<number, object>();
  readonly #reads: { readonly atMs: number; readonly state: DesiredState }[] = [];

  constructor(clock: VirtualClock) {
    this.#clock = clock;
  }

  wish(vmid: number, wish: Wish): void {
    if (wish === null) this.#wishes.delete(vmid);
    else this.#wishes.set(vmid, wish);
    this.#source.put('desired.yaml', Object.fromEntries(this.#wishes));
  }

  /** As it is now, read or not. */
  now(): Promise<DesiredState> {
    return this.#source.read();
  }

  async read(): Promise<DesiredState> {
    const state = await this.#source.read();
    this.#reads.push({ atMs: this.#clock.elapsedMs, state });
    return state;
  }

  /** What the agent held to be desired of the guest, at any time since; null: nothing. */
  inForce(id: number, sinceMs: number): readonly (DesiredGuest | null)[] {
    const vmid = parseVmid(id);
    const first = this.#reads.findLastIndex(({ atMs }) => atMs < sinceMs);
    const reads = this.#reads.slice(Math.max(0, first));
    return reads.map(({ state }) => (vmid === null ? null : (state.guests.get(vmid) ?? null)));
  }

  onChange(): () => void {
    return () => undefined;
  }

  async close(): Promise<void> {}
}
