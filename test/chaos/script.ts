/**
 * What happens in a chaos run, and when: written from one seed, so that a run can be repeated as far
 * as real processes repeat. Each event stands for itself.
 */
import { Dice } from '../sim/dice.ts';
import type { Wish, Wishes } from './evidence.ts';
import { FAMILIES, type Family } from './families.ts';
import { type ChaosGuest, writeGuests, writeWish } from './guests.ts';

export type KillMoment = 'now' | 'started' | 'task_running' | 'succeeded';

/** A fault of the node's, as its control port takes it. */
export type NodeFault = Readonly<Record<string, unknown>> & { readonly kind: string };

interface Asking {
  readonly vmid: number;
  readonly action: 'start' | 'stop' | 'restart' | 'set_config';
  readonly params: Readonly<Record<string, unknown>>;
  readonly hold?: string;
}

export type Happening =
  | { readonly kind: 'kill'; readonly at: KillMoment; readonly afterMs: number }
  | { readonly kind: 'terminate' }
  /** Shorter than the lock lives: it goes on. */
  | { readonly kind: 'pause_process'; readonly forMs: number }
  /** Until another agent has taken the lock over. */
  | { readonly kind: 'take_over' }
  | { readonly kind: 'fill_disk'; readonly forMs: number }
  | { readonly kind: 'move_clock'; readonly offsetS: number }
  | { readonly kind: 'cut'; readonly after: 'at_once' | 'request' | 'answer' }
  | { readonly kind: 'net_down'; readonly how: 'refuse' | 'swallow'; readonly forMs: number }
  | { readonly kind: 'net_slow'; readonly delayMs: number; readonly forMs: number }
  | { readonly kind: 'node_fault'; readonly fault: NodeFault }
  | { readonly kind: 'daemon'; readonly state: 'down' | 'stuck'; readonly forMs: number }
  | { readonly kind: 'restart_node'; readonly isForgetting: boolean }
  | { readonly kind: 'reboot_node'; readonly downMs: number }
  | {
      readonly kind: 'person';
      readonly vmid: number;
      readonly does: 'start' | 'stop' | 'shutdown' | 'power_off';
    }
  | {
      readonly kind: 'edit';
      readonly vmid: number;
      readonly key: string;
      readonly value: string;
    }
  | { readonly kind: 'lock'; readonly vmid: number; readonly forMs: number }
  | { readonly kind: 'tag_held'; readonly vmid: number; readonly forMs: number }
  | { readonly kind: 'stranger'; readonly vmid: number; readonly forMs: number }
  | { readonly kind: 'desire'; readonly vmid: number; readonly wish: Wish }
  | ({ readonly kind: 'operator' } & Asking)
  | ({
      readonly kind: 'hub';
      readonly key: string;
      readonly againMs: readonly number[];
    } & Asking)
  | { readonly kind: 'cancel'; readonly vmid: number }
  | { readonly kind: 'hold'; readonly vmid: number; readonly forText: string | null }
  | { readonly kind: 'resume'; readonly vmid: number }
  | { readonly kind: 'pause'; readonly forText: string };

export type ChaosEvent = { readonly atMs: number } & Happening;

export interface Script {
  readonly seed: number;
  readonly seconds: number;
  readonly guests: readonly ChaosGuest[];
  readonly wishes: Wishes;
  /** The state folder is on a disk that can be filled. */
  readonly hasSmallDisk: boolean;
  readonly segmentBytes: string;
  /** In the order of time. */
  readonly events: readonly ChaosEvent[];
}

/** The mean time between events of a run. */
const GAP_MS = 450;

export function writeScript(seed: number, seconds: number): Script {
  const dice = new Dice(seed);
  const guests = writeGuests(dice);
  const wished = guests.filter(({ role }) => role === 'wished');
  const wishes = Object.fromEntries(wished.map(({ vmid }) => [vmid, writeWish(dice)]));
  const hasSmallDisk = dice.chance(0.5);
  const segmentBytes = dice.pick(['8KiB', '64KiB', '16MiB']);
  const events: ChaosEvent[] = [];
  let atMs = 0;
  // The agent comes up first.
  for (;;) {
    atMs += dice.whole(0, 2 * GAP_MS);
    if (atMs > seconds * 1_000) break;
    const family = pickFamily(dice);
    if (family.name === 'full disk' && !hasSmallDisk) continue;
    events.push({ atMs, ...family.write({ dice, guests, index: events.length }) });
  }
  return { seed, seconds, guests, wishes, hasSmallDisk, segmentBytes, events };
}

function pickFamily(dice: Dice): Family {
  const total = FAMILIES.reduce((sum, { weight }) => sum + weight, 0);
  let left = dice.next() * total;
  const found = FAMILIES.find(({ weight }) => (left -= weight) < 0);
  if (found === undefined) throw new Error('no family');
  return found;
}
