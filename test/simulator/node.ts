/**
 * The simulated node: everything that is true of it, in one place. It holds state and finds things;
 * what happens to them is in power.ts, set-config.ts, ha.ts and bulk.ts.
 */
import { missingConfig } from './api-error.ts';
import type { Clock } from './clock.ts';
import { Daemon } from './daemon.ts';
import { configFile, type Guest, type GuestKind } from './guest.ts';
import { HaManager } from './ha.ts';
import { ConfigLocks } from './locks.ts';
import type { Principal } from './principal.ts';
import { Tasks } from './tasks.ts';

/** How long a task of each type works, before speed. */
export type Durations = Readonly<Record<string, number>>;

/** Near the recorded ones (PVE-FACTS 6, transcripts start_ok, lxc_power). */
const DEFAULT_DURATIONS: Durations = {
  qmstart: 180,
  qmstop: 120,
  qmconfig: 15,
  qmreset: 40,
  qmpause: 60,
  qmresume: 20,
  vzstart: 800,
  vzstop: 600,
  vzsuspend: 60,
  hastart: 700,
  hastop: 700,
};

/** How a token authenticates: `USER@REALM!TOKENID` → secret and rights. */
export interface Token {
  readonly secret: string;
  readonly principal: Principal;
}

export interface NodeOptions {
  readonly name: string;
  readonly clock: Clock;
  readonly durations: Durations;
  readonly tokens: ReadonlyMap<string, Token>;
  readonly authDelayMs: number;
  /** How old /cluster/resources may be, before speed. */
  readonly resourcesLagMs: number;
  /** SHA-256 of the leaf certificate, as /nodes shows it. */
  readonly fingerprint: string;
}

export class PveNode {
  readonly name: string;
  readonly clock: Clock;
  readonly tokens: ReadonlyMap<string, Token>;
  readonly authDelayMs: number;
  readonly resourcesLagMs: number;
  /** Changes with the certificate. */
  fingerprint: string;
  readonly guests = new Map<number, Guest>();
  /** Guests that are on other nodes now, by vmid. */
  readonly elsewhere = new Map<number, { readonly node: string; readonly kind: GuestKind }>();
  /** Called after anything that a look at the host would show. */
  onChange: () => void = () => {};
  readonly tasks: Tasks;
  readonly locks: ConfigLocks;
  readonly daemon: Daemon;
  readonly ha: HaManager;
  readonly #durations: Durations;
  #broadcast: ReadonlyMap<number, string> = new Map();
  #nextBroadcastMs = 0;

  constructor(options: NodeOptions) {
    this.name = options.name;
    this.clock = options.clock;
    this.tokens = options.tokens;
    this.authDelayMs = options.authDelayMs;
    this.resourcesLagMs = options.resourcesLagMs;
    this.fingerprint = options.fingerprint;
    this.#durations = { ...DEFAULT_DURATIONS, ...options.durations };
    this.tasks = new Tasks(options.name, options.clock, () => this.onChange());
    this.locks = new ConfigLocks(options.clock);
    this.daemon = new Daemon(options.clock);
    this.ha = new HaManager(this);
  }

  durationMs(type: string): number {
    return this.#durations[type] ?? 0;
  }

  /** Sorted by vmid. */
  guestsOf(kind: GuestKind): Guest[] {
    return this.allGuests().filter((guest) => guest.kind === kind);
  }

  allGuests(): Guest[] {
    return [...this.guests.values()].sort((a, b) => a.vmid - b.vmid);
  }

  findGuest(kind: GuestKind, vmid: number): Guest | null {
    const guest = this.guests.get(vmid);
    return guest?.kind === kind ? guest : null;
  }

  /** A guest that is not there, or of the other kind → 500 (PVE-FACTS 7). */
  requireGuest(kind: GuestKind, vmid: number): Guest {
    const guest = this.findGuest(kind, vmid);
    if (guest === null) throw missingConfig(configFile(this.name, kind, vmid));
    return guest;
  }

  /**
   * The status as pvestatd last broadcast it, up to `resourcesLagMs` old (PVE-FACTS 18): of a VM it
   * is QEMU's own word, so that a paused one is `paused` here (transcript ha_106_acpi).
   */
  broadcastStatus(guest: Guest): string {
    const now = this.clock.monotonicMs();
    if (now >= this.#nextBroadcastMs) {
      this.#nextBroadcastMs = now + this.clock.scaled(this.resourcesLagMs);
      this.#broadcast = new Map(this.allGuests().map((each) => [each.vmid, statusWord(each)]));
    }
    return this.#broadcast.get(guest.vmid) ?? statusWord(guest);
  }

  setRunning(guest: Guest): void {
    const pid = this.tasks.takePid();
    guest.run = { kind: 'running', pid, sinceMs: this.clock.monotonicMs(), qmpStatus: 'running' };
  }
}

function statusWord({ kind, run }: Guest): string {
  return kind === 'qemu' && run.kind === 'running' ? run.qmpStatus : run.kind;
}
