/**
 * What was really so, and when: every change of every guest of the model node, noted as it happens.
 * Checks ask whether something was true at any time of a window: what the agent says it has seen
 * was seen a little earlier than it says so.
 */
import type { Power } from '../../src/reconcile/guest.ts';
import type { ModelGuest } from '../support/model/guest.ts';
import type { ModelNode } from '../support/model/node.ts';

export interface GuestTruth {
  readonly atMs: number;
  readonly power: Power;
  readonly haState: string | null | undefined;
  readonly pid: number | null;
  /** With what is pending applied. */
  readonly config: ReadonlyMap<string, string>;
}

/** Null: it was not there. */
type Entry = { readonly atMs: number; readonly guest: GuestTruth | null };

export class Truth {
  readonly #node: ModelNode;
  readonly #entries = new Map<number, Entry[]>();

  constructor(node: ModelNode) {
    this.#node = node;
    const { guests } = node;
    const set = guests.set.bind(guests);
    const remove = guests.delete.bind(guests);
    guests.set = (vmid, guest) => {
      this.#watch(guest);
      set(vmid, guest);
      this.#note(vmid);
      return guests;
    };
    guests.delete = (vmid) => {
      const isGone = remove(vmid);
      this.#note(vmid);
      return isGone;
    };
  }

  #watch(guest: ModelGuest): void {
    const note = (): void => this.#note(guest.vmid);
    for (const key of ['power', 'haState', 'pid'] as const) watchField(guest, key, note);
    for (const changes of [guest.config, guest.pending]) watchMap<unknown>(changes, note);
  }

  #note(vmid: number): void {
    const atMs = this.#node.clock.elapsedMs;
    const guest = [...this.#node.guests.values()].find((each) => each.vmid === vmid);
    const entries = this.#entries.get(vmid) ?? [];
    this.#entries.set(vmid, entries);
    entries.push({ atMs, guest: guest === undefined ? null : describe(guest, atMs) });
  }

  /** Was it ever so from `sinceMs` up to now? */
  wasEver(vmid: number, sinceMs: number, isSo: (guest: GuestTruth | null) => boolean): boolean {
    const entries = this.#entries.get(vmid) ?? [];
    const first = entries.findLastIndex(({ atMs }) => atMs < sinceMs);
    return entries.slice(Math.max(0, first)).some(({ guest }) => isSo(guest));
  }
}

/** The field as before, and a call after each time it is set. */
function watchField(guest: ModelGuest, key: 'power' | 'haState' | 'pid', onSet: () => void): void {
  let value: unknown = guest[key];
  Object.defineProperty(guest, key, {
    configurable: true,
    enumerable: true,
    get: () => value,
    set: (next: unknown) => {
      value = next;
      onSet();
    },
  });
}

function watchMap<Value>(map: Map<string, Value>, onChange: () => void): void {
  const [set, remove] = [map.set.bind(map), map.delete.bind(map)];
  map.set = (key, value) => {
    set(key, value);
    onChange();
    return map;
  };
  map.delete = (key) => {
    const isGone = remove(key);
    onChange();
    return isGone;
  };
}

function describe(guest: ModelGuest, atMs: number): GuestTruth {
  const config = new Map(guest.config);
  for (const [key, change] of guest.pending) {
    if (change.kind === 'set') config.set(key, change.value);
    else config.delete(key);
  }
  const { power, haState, pid } = guest;
  return { atMs, power, haState, pid, config };
}
