/** A guest of the model node: what it is, and how it behaves when something is asked of it. */
import { createHash } from 'node:crypto';
import type {
  Guest,
  GuestConfig,
  GuestKind,
  HaLook,
  PendingChange,
  Power,
} from '../../../src/reconcile/guest.ts';
import type { Vmid } from '../../../src/reconcile/ids.ts';
import type { VirtualClock } from '../virtual-clock.ts';

/** The scripted misbehaviour of a guest; each entry is used once. */
export interface Behaviour {
  startMs: number;
  /** How long it takes to obey a shutdown; null: it never does. */
  shutdownMs: number | null;
  /** Exit statuses of the next starts: an error keeps it stopped, `WARNINGS: n` does not. */
  startEnds: string[];
  stopEnds: string[];
  /** Set, it powers off by itself this long after each start. */
  diesAfterMs: number | null;
  /** A config change is answered with a UPID and takes this long; null: applied at once. */
  configTaskMs: number | null;
}

export const WELL_BEHAVED: Behaviour = {
  startMs: 200,
  shutdownMs: 2_000,
  startEnds: [],
  stopEnds: [],
  diesAfterMs: null,
  configTaskMs: null,
};

/** What QEMU takes while it runs; everything else waits for the next start. */
const HOT_KEYS: ReadonlySet<string> = new Set(['description', 'name', 'onboot', 'tags', 'net0']);

export const SECRET_KEY = 'cipassword';
const SECRET_SHOWN = '**********';

export class ModelGuest {
  readonly vmid: Vmid;
  readonly kind: GuestKind;
  readonly behaviour: Behaviour;
  power: Power = 'stopped';
  qmpStatus: string | null = null;
  isTemplate = false;
  lock: string | null = null;
  /** Ms since the beginning of virtual time: no step of the wall clock moves it. */
  bootedAtMs: number | null = null;
  pid: number | null = null;
  /** Its service's state in the HA manager; undefined: not managed. */
  haState: string | null | undefined = undefined;
  /** A shutdown that waits holds the guest's config lock (PVE-FACTS 19). */
  isConfigLocked = false;
  /** Power changes that took place, for what must happen exactly once. */
  starts = 0;
  stops = 0;
  writes = 0;
  readonly config = new Map<string, string>();
  readonly pending = new Map<string, PendingChange>();

  constructor(vmid: Vmid, kind: GuestKind, behaviour: Partial<Behaviour> = {}) {
    this.vmid = vmid;
    this.kind = kind;
    this.behaviour = { ...WELL_BEHAVED, ...behaviour };
  }

  /** Of the whole file with its pending part: content put back gives the old digest. */
  digest(): string {
    const lines = [...this.config, ...this.pending].map((entry) => JSON.stringify(entry)).sort();
    return createHash('sha1').update(lines.join('\n')).digest('hex');
  }

  powerOn(elapsedMs: number): void {
    this.applyPending();
    this.power = 'running';
    this.qmpStatus = this.kind === 'qemu' ? 'running' : null;
    this.bootedAtMs = elapsedMs;
    this.starts += 1;
    this.pid = this.vmid * 1_000 + this.starts;
  }

  powerOff(): void {
    if (this.power === 'running') this.stops += 1;
    this.applyPending();
    this.power = 'stopped';
    this.qmpStatus = null;
    this.bootedAtMs = null;
    this.pid = null;
  }

  applyPending(): void {
    for (const [key, change] of this.pending) {
      if (change.kind === 'set') this.config.set(key, change.value);
      else this.config.delete(key);
    }
    this.pending.clear();
  }

  /** One key, as PVE writes them: one after another. */
  write(key: string, value: string | null): void {
    this.writes += 1;
    this.pending.delete(key);
    const isPending = this.kind === 'qemu' && this.power === 'running' && !HOT_KEYS.has(key);
    if (isPending) {
      if (this.config.get(key) === (value ?? undefined)) return;
      this.pending.set(key, value === null ? { kind: 'delete' } : { kind: 'set', value });
      return;
    }
    if (value === null) this.config.delete(key);
    else this.config.set(key, value);
  }

  /** A password is not given back, only that there is one (PVE-FACTS 27). */
  read(nowMs: number): GuestConfig {
    const current = new Map(this.config);
    const pending = new Map(this.pending);
    if (current.has(SECRET_KEY)) current.set(SECRET_KEY, SECRET_SHOWN);
    if (pending.get(SECRET_KEY)?.kind === 'set') {
      pending.set(SECRET_KEY, { kind: 'set', value: SECRET_SHOWN });
    }
    return { digest: this.digest(), current, pending, readAtMs: nowMs };
  }

  /** As a list shows it; `isDetailed`: as its own status does. */
  look(isDetailed: boolean, clock: VirtualClock): Guest {
    const ha: HaLook =
      this.haState === undefined ? { kind: 'unmanaged' } : { kind: 'managed', state: this.haState };
    return {
      vmid: this.vmid,
      kind: this.kind,
      name: this.config.get('name') ?? null,
      power: this.power,
      qmpStatus: isDetailed ? this.qmpStatus : null,
      template: this.isTemplate,
      lock: this.lock,
      tags: (this.config.get('tags') ?? '').split(';').filter((tag) => tag !== ''),
      // PVE tells an uptime; what that makes of the boot's time is the reader's clock's work.
      bootedAtMs:
        this.bootedAtMs === null ? null : clock.now() - (clock.elapsedMs - this.bootedAtMs),
      pid: this.pid,
      ha: isDetailed ? ha : { kind: 'not_read' },
      config: { kind: 'not_read' },
    };
  }
}
