/** The families of events a script is written from: how common each is, and one event of it. */
import type { Fault } from '../support/model/faults.ts';
import type { Dice } from './dice.ts';
import { writeAction, writeBehaviour, writeWish } from './draws.ts';
import type { SimEvent } from './script.ts';

/** An event without its time, which its place gives; `laterMs` after that. */
type Unplaced<Event> = Event extends SimEvent ? Omit<Event, 'atMs'> & { laterMs?: number } : never;
export type UnplacedEvent = Unplaced<SimEvent>;

export interface Place {
  readonly dice: Dice;
  readonly atMs: number;
  readonly vmid: number;
  readonly isHa: boolean;
  /** Of the event in its family. */
  readonly index: number;
}

export interface Family {
  readonly name: string;
  /** Of the scripts that have it. */
  readonly share: number;
  /** Events of it in one script. */
  readonly most: number;
  readonly write: (place: Place) => UnplacedEvent | UnplacedEvent[];
}

const seconds = (dice: Dice, from: number, to: number): number =>
  dice.whole(from * 10, to * 10) * 100;

export const FAMILIES: readonly Family[] = [
  {
    name: 'crashes',
    share: 0.7,
    most: 6,
    write: ({ dice }) => ({
      kind: 'crash',
      how: dice.pick(['kill', 'kill', 'power_loss', 'sigterm']),
      afterSteps: dice.whole(0, 60),
      downMs: dice.pick([50, 1_000, 5_000, 60_000, 200_000]),
    }),
  },
  {
    name: 'disk faults',
    share: 0.25,
    most: 3,
    write: ({ dice }) => ({
      kind: 'disk',
      call: dice.pick(['append', 'sync', 'sync', 'create', 'rename', 'syncFolder', 'openAppend']),
      fault: dice.pick(['short', 'EIO', 'ENOSPC']),
    }),
  },
  {
    name: 'slow disk',
    share: 0.3,
    most: 2,
    write: ({ dice }) => ({
      kind: 'disk_slow',
      maxMs: dice.pick([20, 500, 3_000]),
      forMs: seconds(dice, 5, 120),
    }),
  },
  {
    name: 'outages',
    share: 0.35,
    most: 3,
    write: ({ dice }) => ({
      kind: 'wire',
      state: dice.pick(['down', 'stuck']),
      forMs: seconds(dice, 1, 120),
    }),
  },
  {
    name: 'slow wire',
    share: 0.35,
    most: 3,
    write: ({ dice }) => ({
      kind: 'wire_slow',
      maxMs: dice.pick([100, 1_000, 8_000]),
      forMs: seconds(dice, 5, 120),
    }),
  },
  {
    name: 'failing reads',
    share: 0.25,
    most: 2,
    write: ({ dice }) => ({
      kind: 'wire_flaky',
      share: dice.pick([0.05, 0.3, 0.8]),
      forMs: seconds(dice, 5, 120),
    }),
  },
  {
    name: 'lost and late answers',
    share: 0.6,
    most: 5,
    write: ({ dice }) => ({
      kind: 'fault',
      on: dice.pick(['start', 'stop', 'set_config']),
      fault: dice.pick<Fault>([
        { kind: 'cut_before' },
        { kind: 'cut_after' },
        { kind: 'cut_after' },
        { kind: 'answer_596', effectAfterMs: null },
        { kind: 'answer_596', effectAfterMs: seconds(dice, 1, 33) },
        { kind: 'no_worker_upid', hasEffect: false },
        { kind: 'refuse', code: 'guest_locked', message: 'VM is locked (backup)' },
        { kind: 'refuse', code: 'service_unavailable', message: 'too many redirects [595]' },
      ]),
    }),
  },
  {
    name: 'behaviour',
    share: 0.4,
    most: 4,
    write: ({ dice, vmid }) => ({ kind: 'behave', vmid, as: writeBehaviour(dice) }),
  },
  {
    name: 'locks',
    share: 0.3,
    most: 3,
    write: ({ dice, vmid }) => ({
      kind: 'lock',
      vmid,
      lock: dice.pick(['backup', 'snapshot', 'suspended']),
      forMs: seconds(dice, 1, 300),
    }),
  },
  {
    name: 'strangers',
    share: 0.3,
    most: 3,
    write: ({ dice, vmid }) => ({
      kind: 'stranger',
      vmid,
      type: dice.pick(['vzdump', 'qmsnapshot']),
      ...(dice.chance(0.7) ? { lock: 'backup' } : {}),
      forMs: seconds(dice, 1, 200),
    }),
  },
  {
    name: 'people',
    share: 0.5,
    most: 6,
    write: ({ dice, vmid }) => ({
      kind: 'person',
      vmid,
      does: dice.pick(['start', 'stop', 'power_off']),
    }),
  },
  {
    name: 'people write',
    share: 0.4,
    most: 5,
    write: ({ dice, vmid }) => ({
      kind: 'write',
      vmid,
      key: dice.pick(['cores', 'description', 'memory']),
      value: dice.pick(['1', '2', '1024', null]),
    }),
  },
  {
    name: 'hold tags',
    share: 0.25,
    most: 3,
    write: ({ dice, vmid }) => ({ kind: 'hold_tag', vmid, forMs: seconds(dice, 5, 300) }),
  },
  {
    name: 'paused guests',
    share: 0.15,
    most: 2,
    write: ({ dice, vmid }) => ({ kind: 'guest_pauses', vmid, forMs: seconds(dice, 5, 200) }),
  },
  {
    name: 'migrations',
    share: 0.2,
    most: 2,
    write: ({ dice, vmid, isHa }) =>
      isHa
        ? []
        : {
            kind: 'migrate',
            vmid,
            takesMs: seconds(dice, 1, 60),
            awayMs: seconds(dice, 1, 200),
          },
  },
  {
    name: 'replacements',
    share: 0.2,
    most: 2,
    write: ({ vmid }) => ({ kind: 'replace', vmid, type: 'qmrollback' }),
  },
  {
    name: 'destroyed and made anew',
    share: 0.1,
    most: 1,
    write: ({ dice, vmid, isHa }) =>
      isHa ? [] : { kind: 'destroy', vmid, awayMs: seconds(dice, 1, 200) },
  },
  {
    name: 'bulk tasks',
    share: 0.15,
    most: 2,
    write: ({ dice }) => ({
      kind: 'bulk',
      type: dice.pick(['startall', 'stopall']),
      gapMs: dice.pick([100, 3_000]),
    }),
  },
  {
    name: 'node reboots',
    share: 0.2,
    most: 2,
    write: ({ dice }) => ({ kind: 'reboot', downMs: seconds(dice, 5, 120) }),
  },
  {
    name: 'clock steps',
    share: 0.2,
    most: 3,
    write: ({ dice }) => ({
      kind: 'clock',
      byMs: dice.pick([-3_600_000, -90_000, -5_000, 5_000, 90_000, 3_600_000]),
    }),
  },
  {
    name: 'HA',
    share: 0.4,
    most: 4,
    write: ({ dice, vmid, isHa }) => {
      if (!isHa) return [];
      const forMs = seconds(dice, 5, 200);
      return dice.pick<UnplacedEvent>([
        { kind: 'ha_loses', count: dice.whole(1, 2) },
        { kind: 'ha_disarmed', forMs },
        { kind: 'ha_error', vmid, forMs },
      ]);
    },
  },
  { name: 'forgotten tasks', share: 0.25, most: 5, write: () => ({ kind: 'rotate' }) },
  {
    name: 'no quorum',
    share: 0.15,
    most: 2,
    write: ({ dice }) => ({ kind: 'no_quorum', forMs: seconds(dice, 1, 120) }),
  },
  {
    name: 'lost privileges',
    share: 0.15,
    most: 2,
    write: ({ dice }) => ({ kind: 'blind', forMs: seconds(dice, 1, 120) }),
  },
  {
    name: 'other wishes',
    share: 0.6,
    most: 6,
    write: ({ dice, vmid }) => ({
      kind: 'desire',
      vmid,
      wish: dice.chance(0.15) ? null : writeWish(dice),
    }),
  },
  {
    name: 'hub',
    share: 0.75,
    most: 8,
    write: ({ dice, vmid, index }) => ({
      kind: 'hub',
      vmid,
      key: `key-${index}`,
      action: writeAction(dice),
      lifeMs: dice.pick([60_000, 600_000, 3_600_000]),
      againMs: Array.from({ length: dice.whole(0, 4) }, () =>
        dice.pick([0, 1, 50, 1_000, 30_000, 200_000, 900_000]),
      ),
      ...(dice.chance(0.6) ? { holdMs: dice.pick([30_000, 600_000]) } : {}),
    }),
  },
  {
    name: 'several at once',
    share: 0.3,
    most: 2,
    write: ({ dice, vmid, index }) =>
      Array.from({ length: dice.whole(2, 6) }, (_, nth) => ({
        kind: 'hub' as const,
        laterMs: dice.pick([0, 0, 1, 700]),
        vmid,
        key: `burst-${index}-${nth}`,
        action: writeAction(dice),
        lifeMs: 3_600_000,
        againMs: [],
        holdMs: 600_000,
      })),
  },
  {
    name: 'operators',
    share: 0.4,
    most: 4,
    write: ({ dice, vmid }) => ({
      kind: 'operator',
      vmid,
      action: writeAction(dice),
      times: dice.pick([1, 1, 1, 2, 45]),
      holdMs: 60_000,
    }),
  },
  {
    name: 'cancelling',
    share: 0.3,
    most: 5,
    write: ({ vmid }) => ({ kind: 'cancel', vmid }),
  },
  {
    name: 'holds',
    share: 0.3,
    most: 4,
    write: ({ dice, vmid }) =>
      dice.pick<UnplacedEvent>([
        { kind: 'hold', vmid, forMs: seconds(dice, 5, 300) },
        { kind: 'hold', vmid, forMs: null },
        { kind: 'resume', vmid },
      ]),
  },
  {
    name: 'pauses',
    share: 0.15,
    most: 2,
    write: ({ dice }) => ({ kind: 'pause', forMs: seconds(dice, 5, 200) }),
  },
];
