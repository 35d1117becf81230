/**
 * Quorum and HA, as last seen: asked when something is about to be done, and kept as long as it may
 * be believed. Where HA has guests its state moves by itself, in rounds of 10 s (PVE-FACTS 33);
 * where it has none, and the cluster has quorum, there is nothing in it that a request could get
 * wrong unseen: PVE refuses what it cannot do, and whatever fails makes it be asked anew.
 */
import type { Clock } from './clock.ts';
import type { NodeLook } from './guest.ts';

/** As of a few seconds ago it serves every turn of the same pass. */
const MAX_AGE_MS = 10_000;
/** However quiet it is, everything is read again this often: hints may be missed. */
export const FULL_LOOK_INTERVAL_MS = 10 * 60_000;

/** `now`: at most a few seconds old, whatever it says. */
export type NodeLookNeed = 'now' | 'for_an_action';

export class KeptNodeLook {
  readonly #clock: Clock;
  readonly #read: () => Promise<NodeLook>;
  #kept: { readonly look: NodeLook; readonly readMs: number } | null = null;
  /** Lanes that ask at the same time share one request. */
  #reading: Promise<NodeLook> | null = null;

  constructor(clock: Clock, read: () => Promise<NodeLook>) {
    this.#clock = clock;
    this.#read = read;
  }

  async get(need: NodeLookNeed): Promise<NodeLook> {
    const nowMs = this.#clock.monotonicMs();
    const kept = this.#kept;
    if (kept !== null && nowMs - kept.readMs < maxAgeMs(kept.look, need)) return kept.look;
    this.#reading ??= this.#readNow(nowMs);
    return this.#reading;
  }

  async #readNow(readMs: number): Promise<NodeLook> {
    try {
      const look = await this.#read();
      this.#kept = { look, readMs };
      return look;
    } finally {
      this.#reading = null;
    }
  }

  /** Something did not go as expected. */
  forget(): void {
    this.#kept = null;
  }
}

function maxAgeMs({ quorate, managed }: NodeLook, need: NodeLookNeed): number {
  const isPlain = quorate !== false && managed?.size === 0;
  return isPlain && need === 'for_an_action' ? FULL_LOOK_INTERVAL_MS : MAX_AGE_MS;
}
