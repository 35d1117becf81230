/** What the core asks of the ledger, as of now: the half of the port `OpLedger` that writes nothing. */
import type { Clock } from '../reconcile/clock.ts';
import type { OpId, Upid, Vmid } from '../reconcile/ids.ts';
import type { Hold, KeptKey, OpView, Pause } from '../reconcile/ports.ts';
import type { Ledger } from './ledger.ts';

export class LedgerReads {
  readonly #ledger: Ledger;
  readonly #clock: Pick<Clock, 'now'>;

  constructor(ledger: Ledger, clock: Pick<Clock, 'now'>) {
    this.#ledger = ledger;
    this.#clock = clock;
  }

  opsInFlight(): readonly OpView[] {
    return this.#ledger.opsInFlight();
  }

  inFlightCount(): number {
    return this.#ledger.inFlightCount();
  }

  endedOps(): readonly OpView[] {
    return this.#ledger.endedOps();
  }

  findOp(opId: OpId): OpView | null {
    return this.#ledger.findOp(opId);
  }

  childrenOf(opId: OpId): readonly OpView[] {
    return this.#ledger.childrenOf(opId);
  }

  findKey(idempKey: string): KeptKey | null {
    return this.#ledger.findKey(idempKey, this.#clock.now());
  }

  lastUpid(vmid: Vmid): Upid | null {
    return this.#ledger.lastUpid(vmid);
  }

  recentStarts(vmid: Vmid): readonly number[] {
    return this.#ledger.recentStarts(vmid, this.#clock.now());
  }

  wasStartedLately(vmid: Vmid): boolean {
    return this.#ledger.wasStartedLately(vmid, this.#clock.now());
  }

  rememberedSince(vmid: Vmid): number | null {
    return this.#ledger.rememberedSince(vmid, this.#clock.now());
  }

  holds(): ReadonlyMap<Vmid, Hold> {
    return this.#ledger.holds();
  }

  pause(): Pause | null {
    return this.#ledger.pause();
  }

  isInitialDone(vmid: Vmid): boolean {
    return this.#ledger.isInitialDone(vmid);
  }

  appliedSecret(vmid: Vmid, key: string): string | null {
    return this.#ledger.appliedSecret(vmid, key);
  }
}
