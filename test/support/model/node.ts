/**
 * A PVE node in virtual time: guests, tasks, the HA manager, and the people and services that work
 * on it beside the agent. How the agent reaches it is api.ts.
 */

import type { GuestKind } from '../../../src/reconcile/guest.ts';
import { parseVmid, type Vmid } from '../../../src/reconcile/ids.ts';
import type { StopParams } from '../../../src/reconcile/op.ts';
import type { VirtualClock } from '../virtual-clock.ts';
import { type Behaviour, ModelGuest } from './guest.ts';
import { ModelHa } from './ha.ts';
import { PowerWork } from './power.ts';
import { type ModelTask, ModelTasks } from './tasks.ts';

export const NODE = 'pve1';
export const STRANGER = 'root@pam';

export interface GuestSetup {
  readonly kind?: GuestKind;
  readonly running?: boolean;
  readonly template?: boolean;
  readonly lock?: string;
  readonly qmp_status?: string;
  /** The HA manager's state of it; null: just added. */
  readonly ha?: string | null;
  readonly config?: Readonly<Record<string, string>>;
  readonly behaviour?: Partial<Behaviour>;
}

export class ModelNode {
  readonly clock: VirtualClock;
  readonly tasks: ModelTasks;
  readonly power: PowerWork;
  readonly ha: ModelHa;
  readonly guests = new Map<Vmid, ModelGuest>();
  /** Guests that live on other nodes of the cluster. */
  readonly elsewhere = new Map<Vmid, string>();
  isQuorate = true;

  constructor(clock: VirtualClock) {
    this.clock = clock;
    this.tasks = new ModelTasks(clock, NODE);
    this.power = new PowerWork(clock);
    this.ha = new ModelHa(clock, this.tasks, this.power);
  }

  add(id: number, setup: GuestSetup = {}): ModelGuest {
    const vmid = parseVmid(id);
    if (vmid === null) throw new Error(`not a vmid: ${id}`);
    const guest = new ModelGuest(vmid, setup.kind ?? 'qemu', setup.behaviour);
    for (const [key, value] of Object.entries(setup.config ?? {})) guest.config.set(key, value);
    if (setup.running === true) {
      guest.power = 'running';
      guest.qmpStatus = setup.qmp_status ?? (guest.kind === 'qemu' ? 'running' : null);
      // It has been up for a day.
      guest.bootedAtMs = this.clock.elapsedMs - 86_400_000;
      guest.pid = vmid * 1_000;
    }
    guest.isTemplate = setup.template ?? false;
    guest.lock = setup.lock ?? null;
    this.guests.set(vmid, guest);
    if (setup.ha !== undefined) this.ha.manage(guest, setup.ha);
    return guest;
  }

  guest(id: number): ModelGuest {
    const vmid = parseVmid(id);
    const guest = vmid === null ? undefined : this.guests.get(vmid);
    if (guest === undefined) throw new Error(`no guest ${id}`);
    return guest;
  }

  /** A start as PVE takes it: a task, of HA where HA has the guest. */
  start(guest: ModelGuest, user: string): ModelTask {
    if (guest.haState !== undefined) {
      return this.#spawnHa('hastart', guest, user, () => this.ha.request(guest, 'started'));
    }
    const type = guest.kind === 'qemu' ? 'qmstart' : 'vzstart';
    return this.tasks.spawn(type, guest.vmid, user, (signal) => this.power.start(guest, signal));
  }

  stop(guest: ModelGuest, params: StopParams, user: string): ModelTask {
    const isHard = params.mode === 'stop';
    const timeoutMs = params.timeout_s * 1_000;
    if (guest.haState !== undefined) {
      const stop = { isHard, timeoutMs };
      return this.#spawnHa('hastop', guest, user, () => this.ha.request(guest, 'stopped', stop));
    }
    const prefix = guest.kind === 'qemu' ? 'qm' : 'vz';
    const type = `${prefix}${isHard ? 'stop' : 'shutdown'}`;
    return this.tasks.spawn(type, guest.vmid, user, (signal) =>
      isHard
        ? this.power.stop(guest, signal)
        : this.power.shutdown(guest, { timeoutMs, isForced: params.force }, signal),
    );
  }

  #spawnHa(type: string, guest: ModelGuest, user: string, ask: () => string | null): ModelTask {
    return this.tasks.spawn(type, guest.vmid, user, async (signal) => {
      await this.clock.sleep(500, signal);
      signal.throwIfAborted();
      return ask() ?? 'OK';
    });
  }

  /** Somebody works on a guest, with a lock where that kind of work takes one. */
  stranger(
    type: string,
    guest: ModelGuest,
    how: { forMs: number; lock?: string; end?: string },
  ): ModelTask {
    if (how.lock !== undefined) guest.lock = how.lock;
    return this.tasks.spawn(type, guest.vmid, STRANGER, async (signal) => {
      await this.clock.sleep(how.forMs, signal);
      signal.throwIfAborted();
      if (how.lock !== undefined) guest.lock = null;
      return how.end || 'OK';
    });
  }

  migrate(guest: ModelGuest, to: string, forMs: number): ModelTask {
    guest.lock = 'migrate';
    const type = guest.kind === 'qemu' ? 'qmigrate' : 'vzmigrate';
    return this.tasks.spawn(type, guest.vmid, STRANGER, async (signal) => {
      await this.clock.sleep(forMs, signal);
      signal.throwIfAborted();
      this.guests.delete(guest.vmid);
      this.elsewhere.set(guest.vmid, to);
      return 'OK';
    });
  }

  /** It has not been down for a moment, and runs in another process than before. */
  moveLiveAndBack(guest: ModelGuest): void {
    guest.pid = guest.vmid * 1_000 + 999;
    guest.bootedAtMs = this.clock.elapsedMs;
  }

  /** The guest is another one from now on: rolled back, restored, made anew. */
  replace(guest: ModelGuest, type: string): ModelTask {
    return this.tasks.spawn(type, guest.vmid, STRANGER, async () => {
      if (type.endsWith('destroy')) this.guests.delete(guest.vmid);
      else guest.config.set('description', `after ${type}`);
      return 'OK';
    });
  }

  /** Another guest under a vmid that is free. */
  create(id: number, setup: GuestSetup = {}): ModelTask {
    const type = setup.kind === 'lxc' ? 'vzcreate' : 'qmcreate';
    return this.tasks.spawn(type, parseVmid(id), STRANGER, async () => {
      this.add(id, setup);
      return 'OK';
    });
  }

  /** `startall` and `stopall`: a task of the node, and one of each guest (PVE-FACTS 43). */
  bulk(type: 'startall' | 'stopall' | 'suspendall' | 'migrateall', gapMs: number): ModelTask {
    return this.tasks.spawn(type, null, STRANGER, async (signal) => {
      for (const guest of Array.from(this.guests.values())) {
        if (type === 'startall') this.start(guest, STRANGER);
        else if (type === 'stopall') {
          this.stop(guest, { mode: 'shutdown', timeout_s: 60, force: true }, STRANGER);
        }
        await this.clock.sleep(gapMs, signal);
        signal.throwIfAborted();
      }
      return 'OK';
    });
  }

  /** Every guest is off and every worker is gone. */
  reboot(): void {
    this.tasks.reboot();
    for (const guest of this.guests.values()) {
      if (guest.power === 'running') guest.powerOff();
      guest.isConfigLocked = false;
    }
  }
}
