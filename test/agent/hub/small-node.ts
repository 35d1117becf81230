/**
 * A node small enough to see through: qemu guests that do at once what they are told, and a count
 * of what was sent to each. Where a turn is to take its time, `gate` holds it.
 */
import type { ActualState, Guest } from '../../../src/reconcile/guest.ts';
import { parseVmid, type Vmid } from '../../../src/reconcile/ids.ts';
import type { GuestApi, LookRequest, LookResult } from '../../../src/reconcile/ports.ts';

export function vmid(number: number): Vmid {
  const parsed = parseVmid(number);
  if (parsed === null) throw new Error(`not a vmid: ${number}`);
  return parsed;
}

export class SmallNode {
  readonly guests = new Map<Vmid, Guest>();
  /** Requests that changed something, in order: `start 101`. */
  readonly sent: string[] = [];
  /** Config values as they were written: `description=x`. */
  readonly written: string[] = [];
  /** Looks wait for it. */
  gate: Promise<void> = Promise.resolve();

  constructor(vmids: Iterable<number>) {
    for (const number of vmids) this.guests.set(vmid(number), stoppedGuest(vmid(number)));
  }

  readonly api: GuestApi = {
    observe: async () => this.#observe(),
    lookAtNode: async () => ({ quorate: true, ha: 'absent', managed: new Map() }),
    look: (request) => this.#look(request),
    start: async ({ vmid: id }) => this.#change(id, 'start', { power: 'running', bootedAtMs: 1 }),
    stop: async ({ vmid: id }) => this.#change(id, 'stop', { power: 'stopped', bootedAtMs: null }),
    setConfig: async ({ vmid: id }, { set }) => {
      const current = new Map(Object.entries(set));
      for (const [key, value] of current) this.written.push(`${key}=${value}`);
      const config = { digest: 'b'.repeat(40), current, pending: new Map(), readAtMs: 0 };
      return this.#change(id, 'set_config', { config: { kind: 'known', config } });
    },
    awaitTask: async () => ({ kind: 'vanished' }),
    taskStatus: async () => ({ kind: 'ended', end: { kind: 'vanished' } }),
    findTasks: async () => ({ kind: 'found', tasks: [] }),
  };

  #change(id: Vmid, what: string, fields: Partial<Guest>): { kind: 'done' } {
    const guest = this.guests.get(id) ?? stoppedGuest(id);
    this.sent.push(`${what} ${id}`);
    this.guests.set(id, { ...guest, ...fields });
    return { kind: 'done' };
  }

  async #look({ guest }: LookRequest): Promise<LookResult> {
    await this.gate;
    const found = this.guests.get(guest.vmid);
    return found === undefined
      ? { kind: 'gone', node: null }
      : { kind: 'found', guest: found, tasks: [] };
  }

  #observe(): ActualState {
    return {
      lookedAtMs: 0,
      guests: new Map(this.guests),
      qemu: { kind: 'complete' },
      lxc: { kind: 'complete' },
      tasks: [],
      tasksKnown: { kind: 'complete' },
      endedTasks: [],
      bulkTasks: [],
      elsewhere: new Map(),
      nowhere: new Set(),
      unseen: new Map(),
      replaced: new Map(),
    };
  }
}

function stoppedGuest(id: Vmid): Guest {
  const current = new Map([['name', `guest-${id}`]]);
  const config = { digest: 'a'.repeat(40), current, pending: new Map(), readAtMs: 0 };
  return {
    vmid: id,
    kind: 'qemu',
    name: `guest-${id}`,
    power: 'stopped',
    qmpStatus: 'stopped',
    template: false,
    lock: null,
    tags: [],
    bootedAtMs: null,
    pid: null,
    ha: { kind: 'unmanaged' },
    config: { kind: 'known', config },
  };
}
