/**
 * The lock on a guest's config file, which a task holds while it works and a PUT needs: whoever
 * waits longer than 10 s gives up (PVE-FACTS 19). First come, first served.
 */
import type { Clock } from './clock.ts';
import type { GuestKind } from './guest.ts';

const LOCK_TIMEOUT_MS = 10_000;

export class LockTimeout extends Error {}

export function lockFile(kind: GuestKind, vmid: number): string {
  return kind === 'qemu'
    ? `/var/lock/qemu-server/lock-${vmid}.conf`
    : `/run/lock/lxc/pve-config-${vmid}.lock`;
}

export class ConfigLocks {
  readonly #clock: Clock;
  /** The tail of each guest's queue: settles when the last one in it is done. */
  readonly #tails = new Map<number, Promise<void>>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  isHeld(vmid: number): boolean {
    return this.#tails.has(vmid);
  }

  /** Runs `work` alone on that guest's config. Throws LockTimeout, without having run it. */
  async hold<T>(vmid: number, work: () => Promise<T>, timeoutMs = LOCK_TIMEOUT_MS): Promise<T> {
    const before = this.#tails.get(vmid);
    const mine = Promise.withResolvers<void>();
    const tail = (before ?? Promise.resolve()).then(() => mine.promise);
    this.#tails.set(vmid, tail);
    const forget = (): boolean => this.#tails.get(vmid) === tail && this.#tails.delete(vmid);
    void tail.then(forget);
    try {
      if (before !== undefined) await this.#orTimeout(before, timeoutMs);
      return await work();
    } finally {
      mine.resolve();
    }
  }

  async #orTimeout(turn: Promise<void>, timeoutMs: number): Promise<void> {
    const cancel = new AbortController();
    const timeout = this.#clock.sleep(timeoutMs, cancel.signal).then(
      () => true,
      () => false,
    );
    const isLate = await Promise.race([turn.then(() => false), timeout]);
    cancel.abort(new Error('not needed'));
    if (isLate) throw new LockTimeout('got timeout');
  }
}
