/** What the workers of power tasks do to a guest, in virtual time. Each resolves to an exit status. */
import type { VirtualClock } from '../virtual-clock.ts';
import type { ModelGuest } from './guest.ts';

const STOP_MS = 300;
/** PVE gives up on a guest's config lock after this long (PVE-FACTS 19). */
const LOCK_WAIT_MS = 10_000;

export class PowerWork {
  readonly #clock: VirtualClock;

  constructor(clock: VirtualClock) {
    this.#clock = clock;
  }

  async start(guest: ModelGuest, signal: AbortSignal): Promise<string> {
    if (guest.isTemplate) return `you can't start a vm if it's a template`;
    if (guest.lock !== null && guest.lock !== 'suspended') return lockedText(guest);
    if (isRunning(guest)) return `${label(guest)} already running`;
    const end = guest.behaviour.startEnds.shift() ?? 'OK';
    await this.#clock.sleep(guest.behaviour.startMs, signal);
    signal.throwIfAborted();
    if (end !== 'OK' && !end.startsWith('WARNINGS')) return end;
    // Somebody was faster.
    if (isRunning(guest)) return `${label(guest)} already running`;
    guest.lock = null;
    guest.powerOn(this.#clock.elapsedMs);
    void this.#dieLater(guest);
    return end;
  }

  async stop(guest: ModelGuest, signal: AbortSignal): Promise<string> {
    if (guest.power === 'stopped') return 'OK';
    if (guest.lock !== null) return lockedText(guest);
    const end = guest.behaviour.stopEnds.shift() ?? 'OK';
    await this.#clock.sleep(STOP_MS, signal);
    signal.throwIfAborted();
    if (end === 'OK') guest.powerOff();
    return end;
  }

  async shutdown(
    guest: ModelGuest,
    how: { readonly timeoutMs: number; readonly isForced: boolean },
    signal: AbortSignal,
  ): Promise<string> {
    if (guest.power === 'stopped') return 'OK';
    if (guest.lock !== null) return lockedText(guest);
    const { shutdownMs } = guest.behaviour;
    const obeys =
      shutdownMs !== null && shutdownMs <= how.timeoutMs && guest.qmpStatus !== 'paused';
    guest.isConfigLocked = true;
    await this.#clock.sleep(obeys ? shutdownMs : how.timeoutMs, signal);
    guest.isConfigLocked = false;
    signal.throwIfAborted();
    if (obeys || how.isForced) {
      guest.powerOff();
      return 'OK';
    }
    return guest.kind === 'qemu'
      ? 'VM quit/powerdown failed - got timeout'
      : 'container did not stop';
  }

  /** Waits for the config lock; the text of the failure if it stays taken. */
  async awaitConfigLock(guest: ModelGuest, signal: AbortSignal): Promise<string | null> {
    if (guest.isConfigLocked) await this.#clock.sleep(LOCK_WAIT_MS, signal);
    return guest.isConfigLocked
      ? `can't lock file '/var/lock/qemu-server/lock-${guest.vmid}.conf' - got timeout`
      : null;
  }

  async #dieLater(guest: ModelGuest): Promise<void> {
    const { diesAfterMs } = guest.behaviour;
    if (diesAfterMs === null) return;
    await this.#clock.sleep(diesAfterMs, new AbortController().signal);
    if (guest.power === 'running') guest.powerOff();
  }
}

function isRunning({ power }: ModelGuest): boolean {
  return power === 'running';
}

export function label(guest: ModelGuest): string {
  return `${guest.kind === 'qemu' ? 'VM' : 'CT'} ${guest.vmid}`;
}

export function lockedText(guest: ModelGuest): string {
  return `${guest.kind === 'qemu' ? 'VM' : 'CT'} is locked (${guest.lock})`;
}
