/** The families of events a chaos script is written from: how common each is, and one event of it. */
import type { Dice } from '../sim/dice.ts';
import { type ChaosGuest, writeWish } from './guests.ts';
import type { Happening, NodeFault } from './script.ts';

export interface Place {
  readonly dice: Dice;
  readonly guests: readonly ChaosGuest[];
  /** Of the event in the script. */
  readonly index: number;
}

export interface Family {
  readonly name: string;
  readonly weight: number;
  readonly write: (place: Place) => Happening;
}

/** Of the requests that change a guest, as the node's faults are told of them. */
type Target = { readonly method?: string; readonly path: string };
const WRITES: readonly [Target, ...Target[]] = [
  { path: '/status/(?:start|stop|shutdown)$' },
  { method: 'POST', path: '/config$' },
  { method: 'PUT', path: '/config$' },
];
const READS = ['/tasks', '/qemu$', '/lxc$', '/config$', ''] as const;

function pickVmid({ dice, guests }: Place, roles: readonly ChaosGuest['role'][]): number {
  const fitting = guests.filter(({ role }) => roles.includes(role));
  return fitting[dice.whole(0, fitting.length - 1)]?.vmid ?? 0;
}

const wished = (place: Place): number => pickVmid(place, ['wished']);
const known = (place: Place): number => pickVmid(place, ['wished', 'asked']);

function writeAsking(place: Place) {
  const { dice } = place;
  const params = {
    mode: dice.pick(['shutdown', 'shutdown', 'stop'] as const),
    timeout_s: dice.pick([10, 20]),
    force: dice.chance(0.3),
  };
  const vmid = known(place);
  const hold = dice.chance(0.6) ? { hold: dice.pick(['5s', '20s']) } : {};
  const action = dice.pick(['start', 'stop', 'restart'] as const);
  return { vmid, action, params: action === 'start' ? {} : params, ...hold };
}

function writeHubAsking(place: Place) {
  const { dice } = place;
  if (dice.chance(0.7)) return writeAsking(place);
  const params = { set: { description: `asked ${dice.whole(1, 3)}` }, delete: [] };
  return { vmid: known(place), action: 'set_config', params, hold: '10s' } as const;
}

function writeNodeFault(dice: Dice): NodeFault {
  const effect = dice.chance(0.5);
  const on = dice.chance(0.7) ? dice.pick(WRITES) : { method: 'GET', path: dice.pick(READS) };
  const after = dice.whole(0, 2);
  const status = dice.pick([595, 596, 596, 500]);
  switch (dice.whole(0, 7)) {
    case 0:
      return { kind: 'delay', ...on, after, ms: dice.whole(100, 4_000), when: 'before' };
    case 1:
      return { kind: 'delay', ...on, after, ms: dice.whole(100, 4_000), when: 'after' };
    case 2:
      return { kind: 'hang', ...on, after, effect };
    case 3:
    case 4:
      return { kind: 'cut', ...on, after, effect };
    case 5:
      return { kind: 'half', ...on, after };
    default:
      // A 595 says that pvedaemon was not reached: nothing happened, ever.
      return {
        kind: 'error',
        ...on,
        after,
        status,
        reason: 'so it is',
        effect: effect && status !== 595 && status !== 500,
      };
  }
}

export const FAMILIES: readonly Family[] = [
  {
    name: 'kill',
    weight: 6,
    write: ({ dice }) => ({
      kind: 'kill',
      at: dice.pick(['now', 'started', 'started', 'started', 'task_running', 'succeeded']),
      afterMs: dice.pick([0, 0, 1, 2, 5, 10, 30, 100]),
    }),
  },
  { name: 'terminate', weight: 2, write: () => ({ kind: 'terminate' }) },
  {
    name: 'pause process',
    weight: 2,
    write: ({ dice }) => ({ kind: 'pause_process', forMs: dice.whole(200, 6_000) }),
  },
  { name: 'take over', weight: 1, write: () => ({ kind: 'take_over' }) },
  {
    name: 'full disk',
    weight: 2,
    write: ({ dice }) => ({ kind: 'fill_disk', forMs: dice.whole(500, 4_000) }),
  },
  {
    name: 'clock',
    weight: 3,
    write: ({ dice }) => ({
      kind: 'move_clock',
      offsetS: dice.pick([0, 0, 30, -30, 50, -50, 120, -90]),
    }),
  },
  {
    name: 'cut',
    weight: 6,
    write: ({ dice }) => ({ kind: 'cut', after: dice.pick(['at_once', 'request', 'answer']) }),
  },
  {
    name: 'network down',
    weight: 3,
    write: ({ dice }) => ({
      kind: 'net_down',
      how: dice.pick(['refuse', 'swallow']),
      forMs: dice.whole(200, 4_000),
    }),
  },
  {
    name: 'slow network',
    weight: 3,
    write: ({ dice }) => ({
      kind: 'net_slow',
      delayMs: dice.whole(20, 1_500),
      forMs: dice.whole(1_000, 5_000),
    }),
  },
  {
    name: 'node fault',
    weight: 14,
    write: ({ dice }) => ({ kind: 'node_fault', fault: writeNodeFault(dice) }),
  },
  {
    name: 'pvedaemon',
    weight: 3,
    write: ({ dice }) => ({
      kind: 'daemon',
      state: dice.pick(['down', 'stuck', 'stuck']),
      forMs: dice.whole(500, 9_000),
    }),
  },
  {
    name: 'restart of the node’s daemons',
    weight: 2,
    write: ({ dice }) => ({ kind: 'restart_node', isForgetting: dice.chance(0.5) }),
  },
  {
    name: 'reboot',
    weight: 0.7,
    write: ({ dice }) => ({ kind: 'reboot_node', downMs: dice.whole(500, 3_000) }),
  },
  {
    name: 'people',
    weight: 14,
    write: (place) => ({
      kind: 'person',
      vmid: known(place),
      does: place.dice.pick(['start', 'stop', 'shutdown', 'power_off', 'power_off']),
    }),
  },
  {
    name: 'edits',
    weight: 8,
    write: (place) => ({
      kind: 'edit',
      vmid: known(place),
      ...place.dice.pick([
        { key: 'cores', value: '3' },
        { key: 'description', value: 'somebody was here' },
      ]),
    }),
  },
  {
    name: 'locks',
    weight: 3,
    write: (place) => ({ kind: 'lock', vmid: known(place), forMs: place.dice.whole(500, 6_000) }),
  },
  {
    name: 'hold tags',
    weight: 2,
    write: (place) => ({
      kind: 'tag_held',
      vmid: wished(place),
      forMs: place.dice.whole(4_000, 15_000),
    }),
  },
  {
    name: 'strangers’ tasks',
    weight: 3,
    write: (place) => ({
      kind: 'stranger',
      vmid: known(place),
      forMs: place.dice.whole(500, 6_000),
    }),
  },
  {
    name: 'desired state',
    weight: 8,
    write: (place) => ({ kind: 'desire', vmid: wished(place), wish: writeWish(place.dice) }),
  },
  {
    name: 'operators',
    weight: 12,
    write: (place) => ({ kind: 'operator', ...writeAsking(place) }),
  },
  {
    name: 'hub',
    weight: 12,
    write: (place) => ({
      kind: 'hub',
      key: `hub-${place.index}`,
      againMs: Array.from({ length: place.dice.whole(0, 3) }, () =>
        place.dice.pick([0, 50, 800, 5_000, 12_000]),
      ),
      ...writeHubAsking(place),
    }),
  },
  { name: 'cancel', weight: 3, write: (place) => ({ kind: 'cancel', vmid: known(place) }) },
  {
    name: 'hold',
    weight: 3,
    write: (place) => ({
      kind: 'hold',
      vmid: wished(place),
      forText: place.dice.pick([null, '10s', '30s']),
    }),
  },
  { name: 'resume', weight: 12, write: (place) => ({ kind: 'resume', vmid: wished(place) }) },
  {
    name: 'pause',
    weight: 1,
    write: ({ dice }) => ({ kind: 'pause', forText: dice.pick(['5s', '15s']) }),
  },
];
