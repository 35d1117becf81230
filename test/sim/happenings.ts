/** Makes the events of a script happen, and undoes what is to pass. */
import { assertNever } from '../../src/reconcile/errors.ts';
import { HOLD_TAG } from '../../src/reconcile/guards.ts';
import { parseVmid } from '../../src/reconcile/ids.ts';
import { type ModelGuest, WELL_BEHAVED } from '../support/model/guest.ts';
import { STRANGER } from '../support/model/node.ts';
import type { SimEvent } from './script.ts';
import type { SimWorld } from './sim-world.ts';

const HARD_STOP = { mode: 'stop', timeout_s: 60, force: false } as const;
const USUAL_WIRE_MS = 5;

export class Happenings {
  readonly #world: SimWorld;
  /** Aborted when all faults end: whatever is to pass passes then. */
  readonly #calm = new AbortController();

  constructor(world: SimWorld) {
    this.#world = world;
  }

  /** Now, and undone after its time or when all is to be calm. */
  #forAWhile(forMs: number, undo: () => void): void {
    void this.#world.clock.sleep(forMs, this.#calm.signal).then(undo);
  }

  #guest(id: number): ModelGuest | undefined {
    return [...this.#world.node.guests.values()].find(({ vmid }) => vmid === id);
  }

  #onGuest(id: number, act: (guest: ModelGuest) => void): void {
    const guest = this.#guest(id);
    if (guest !== undefined) act(guest);
  }

  happen(event: SimEvent): void {
    const { agent, clock, holds, asked, watched } = this.#world;
    switch (event.kind) {
      case 'crash':
        return agent.armCrash(event.how, event.afterSteps, event.downMs);
      case 'disk':
        agent.mood.faults.push(event);
        return;
      case 'disk_slow':
        agent.mood.maxSyncMs = event.maxMs;
        return this.#forAWhile(event.forMs, () => {
          agent.mood.maxSyncMs = 0;
        });
      case 'clock':
        clock.stepWall(event.byMs);
        this.#world.steppedAtMs = clock.elapsedMs;
        return holds.forgetTimed();
      case 'desire':
        watched.wish(event.vmid, event.wish);
        return agent.running?.passes.wake();
      case 'hub':
        return void asked.hub(event);
      case 'operator':
        return asked.operator(event);
      case 'cancel':
      case 'hold':
      case 'resume':
      case 'pause':
        return void this.#command(event);
      case 'wire':
      case 'wire_slow':
      case 'wire_flaky':
      case 'fault':
      case 'blind':
        return this.#onWire(event);
      default:
        return this.#onNode(event);
    }
  }

  #onWire(
    event: Extract<SimEvent, { kind: 'wire' | 'wire_slow' | 'wire_flaky' | 'fault' | 'blind' }>,
  ): void {
    const { api } = this.#world;
    switch (event.kind) {
      case 'wire':
        api.wire.state = event.state;
        return this.#forAWhile(event.forMs, () => {
          api.wire.state = 'up';
        });
      case 'wire_slow':
        this.#world.maxWireMs = event.maxMs;
        return this.#forAWhile(event.forMs, () => {
          this.#world.maxWireMs = USUAL_WIRE_MS;
        });
      case 'wire_flaky':
        this.#world.flakyShare = event.share;
        return this.#forAWhile(event.forMs, () => {
          this.#world.flakyShare = 0;
        });
      case 'fault':
        return api.faults.plan(event.on, event.fault);
      case 'blind':
        api.views.isBlind = true;
        return this.#forAWhile(event.forMs, () => {
          api.views.isBlind = false;
        });
      default:
        return assertNever(event);
    }
  }

  #onNode(event: NodeEvent): void {
    const { node, agent } = this.#world;
    switch (event.kind) {
      case 'bulk':
        node.bulk(event.type, event.gapMs);
        return;
      case 'reboot':
        agent.end('power_loss', event.downMs);
        return node.reboot();
      case 'ha_loses':
        node.ha.losesNext = event.count;
        return;
      case 'ha_disarmed':
        node.ha.isDisarmed = true;
        return this.#forAWhile(event.forMs, () => {
          node.ha.isDisarmed = false;
        });
      case 'no_quorum':
        node.isQuorate = false;
        return this.#forAWhile(event.forMs, () => {
          node.isQuorate = true;
        });
      case 'rotate':
        return node.tasks.rotate();
      default:
        return this.#onGuest(event.vmid, (guest) => this.#toGuest(guest, event));
    }
  }

  #toGuest(guest: ModelGuest, event: GuestEvent): void {
    const { node } = this.#world;
    switch (event.kind) {
      case 'behave':
        Object.assign(guest.behaviour, event.as);
        return;
      case 'lock':
        guest.lock ??= event.lock;
        return this.#forAWhile(event.forMs, () => {
          if (guest.lock === event.lock) guest.lock = null;
        });
      case 'stranger': {
        const { lock } = event;
        node.stranger(event.type, guest, { forMs: event.forMs, ...(lock ? { lock } : {}) });
        return;
      }
      case 'person':
        if (event.does === 'start') node.start(guest, STRANGER);
        else if (event.does === 'stop') node.stop(guest, HARD_STOP, STRANGER);
        else guest.powerOff();
        return;
      case 'write':
        return guest.write(event.key, event.value);
      case 'hold_tag':
        guest.write('tags', HOLD_TAG);
        return this.#forAWhile(event.forMs, () => guest.write('tags', null));
      case 'guest_pauses':
        if (guest.power !== 'running' || guest.kind !== 'qemu') return;
        guest.qmpStatus = 'paused';
        return this.#forAWhile(event.forMs, () => {
          if (guest.power === 'running') guest.qmpStatus = 'running';
        });
      case 'migrate':
        if (guest.lock !== null) return;
        node.migrate(guest, 'pve2', event.takesMs);
        return this.#forAWhile(event.takesMs + event.awayMs, () => this.#bringBack(guest));
      case 'replace':
        node.replace(guest, event.type);
        return;
      case 'destroy':
        guest.powerOff();
        node.replace(guest, 'qmdestroy');
        return this.#forAWhile(event.awayMs, () => {
          if (this.#guest(guest.vmid) === undefined) node.create(guest.vmid, { kind: guest.kind });
        });
      case 'ha_error':
        if (guest.haState === undefined) return;
        guest.haState = 'error';
        return this.#forAWhile(event.forMs, () => this.#clearHa(guest));
      default:
        return assertNever(event);
    }
  }

  /** The same guest, from the other node. */
  #bringBack(guest: ModelGuest): void {
    const { node } = this.#world;
    guest.lock = null;
    if (!node.elsewhere.delete(guest.vmid)) return;
    if (this.#guest(guest.vmid) === undefined) node.guests.set(guest.vmid, guest);
  }

  #clearHa(guest: ModelGuest): void {
    if (guest.haState !== 'error') return;
    guest.haState = guest.power === 'running' ? 'started' : 'stopped';
  }

  async #command(
    event: Extract<SimEvent, { kind: 'cancel' | 'hold' | 'resume' | 'pause' }>,
  ): Promise<void> {
    const { running } = this.#world.agent;
    if (running === null) return;
    const { engine, ledger, passes } = running;
    const nowMs = this.#world.clock.now();
    try {
      if (event.kind === 'pause') {
        const pause = { untilMs: nowMs + event.forMs, reason: 'by hand' };
        return await ledger.note({ kind: 'pause', pause });
      }
      const vmid = parseVmid(event.vmid);
      if (vmid === null) return;
      if (event.kind === 'cancel') {
        const op = ledger.opsInFlight().findLast(({ first }) => first.vmid === vmid);
        if (op !== undefined) await engine.cancel(op.opId);
      } else if (event.kind === 'hold') {
        const untilMs = event.forMs === null ? null : nowMs + event.forMs;
        await ledger.note({ kind: 'hold', hold: { vmid, untilMs, reason: 'by hand' } });
      } else {
        await ledger.note({ kind: 'resume_guest', vmid });
        engine.forgive(vmid);
        passes.wake();
      }
    } catch {
      // The agent is ending: whoever asked is told so.
    }
  }

  /** All faults end; what they have broken is mended as a person would. */
  calm(): void {
    const { node, agent, api } = this.#world;
    this.#calm.abort();
    agent.disarm();
    for (const on of ['start', 'stop', 'set_config'] as const) {
      while (api.faults.take(on) !== null);
    }
    node.ha.losesNext = 0;
    for (const guest of node.guests.values()) this.mend(guest);
  }

  mend(guest: ModelGuest): void {
    Object.assign(guest.behaviour, WELL_BEHAVED, { startEnds: [], stopEnds: [] });
    const isAtWork = this.#world.node.tasks.all.some(
      ({ vmid, end }) => vmid === guest.vmid && end === null,
    );
    if (!isAtWork) guest.lock = null;
    this.#clearHa(guest);
  }
}

type NodeEvent = Exclude<
  SimEvent,
  {
    kind:
      | 'crash'
      | 'disk'
      | 'disk_slow'
      | 'clock'
      | 'desire'
      | 'hub'
      | 'operator'
      | 'cancel'
      | 'hold'
      | 'resume'
      | 'pause'
      | 'wire'
      | 'wire_slow'
      | 'wire_flaky'
      | 'fault'
      | 'blind';
  }
>;
type GuestEvent = Exclude<
  NodeEvent,
  { kind: 'bulk' | 'reboot' | 'ha_loses' | 'ha_disarmed' | 'no_quorum' | 'rotate' }
>;
