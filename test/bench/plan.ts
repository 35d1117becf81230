/**
 * `npm run bench:plan`: how long planning takes, measured against JSON.parse of the same actual
 * state in the same process, since that is the least anybody pays for having read it.
 *
 * 10,000 guests with 30 managed keys each: most as wanted to the letter, some written differently
 * and meaning the same, a few that differ. Exits with 1 if the ratio is above 1 or one guest's
 * re-plan above 50 µs. Figures of one machine say nothing; the ratio does.
 */

import { createValueSemantics } from '../../src/proxmox/values/same-value.ts';
import {
  type DesiredGuest,
  type DesiredState,
  NO_DESIRED_STATE,
} from '../../src/reconcile/desired.ts';
import type { ActualState, Guest, NodeLook } from '../../src/reconcile/guest.ts';
import { parseVmid } from '../../src/reconcile/ids.ts';
import { DEFAULT_STOP } from '../../src/reconcile/op.ts';
import { type PlanContext, planGuest, planGuests } from '../../src/reconcile/planner.ts';
import { POLICY } from '../support/agent-life.ts';
import { readOptions } from '../support/script-options.ts';
import { report } from './report.ts';

readOptions('npm run bench:plan', {});

const GUESTS = 10_000;
const KEYS = 30;
const RUNS = 21;
const RATIO_MAX = 1;
const REPLAN_MAX_US = 50;

const DIGEST = '0123456789abcdef0123456789abcdef01234567';
const NODE: NodeLook = { quorate: true, ha: 'absent', managed: new Map() };

interface World {
  readonly desired: DesiredState;
  readonly actual: ActualState;
  /** The actual state as text. */
  readonly json: string;
}

/** A config as it is found on real hosts: a few long values, many short ones. */
function makeConfig(index: number): Map<string, string> {
  const mac = index
    .toString(16)
    .padStart(6, '0')
    .replace(/(..)(..)(..)/, '$1:$2:$3')
    .toUpperCase();
  const config = new Map([
    ['boot', 'order=scsi0;ide2;net0'],
    ['cores', `${(index % 8) + 1}`],
    ['cpu', 'x86-64-v2-AES'],
    ['description', `guest number ${index}\nkept by hand`],
    ['memory', '4096'],
    ['name', `guest-${index}`],
    ['net0', `virtio=BC:24:11:${mac},bridge=vmbr0,firewall=1,tag=20`],
    ['onboot', '1'],
    ['ostype', 'l26'],
    ['scsihw', 'virtio-scsi-single'],
    ['sockets', '1'],
    ['tags', 'prod;web'],
  ]);
  for (let key = config.size; key < KEYS; key++) config.set(`option${key}`, `value ${key}`);
  return config;
}

/** Every tenth net leaves its MAC to PVE, every tenth tag list is in another order; one guest in a hundred differs, one is to be started. */
function wish(config: ReadonlyMap<string, string>, index: number): Map<string, string | null> {
  // Read from another text: no value is the same object as the one it is compared with.
  const wanted = new Map<string, string | null>(JSON.parse(JSON.stringify([...config])));
  const net0 = config.get('net0') ?? '';
  if (index % 10 === 0) wanted.set('net0', net0.replace(/=BC(?::..){5}/, ''));
  if (index % 10 === 1) wanted.set('tags', 'web;prod');
  if (index % 100 === 0) wanted.set('cores', '16');
  return wanted;
}

function makeWorld(): World {
  const guests = new Map<Guest['vmid'], Guest>();
  const wanted = new Map<Guest['vmid'], DesiredGuest>();
  const plain: unknown[] = [];
  for (let index = 0; index < GUESTS; index++) {
    const vmid = parseVmid(1_000 + index);
    if (vmid === null) continue;
    const current = makeConfig(index);
    const power = index % 100 === 1 ? 'stopped' : 'running';
    const guest = {
      vmid,
      kind: 'qemu',
      name: current.get('name') ?? null,
      power,
      qmpStatus: null,
      template: false,
      lock: null,
      tags: ['prod', 'web'],
      bootedAtMs: power === 'running' ? 1_795_000_000_000 + index : null,
      pid: power === 'running' ? 10_000 + index : null,
      ha: { kind: 'not_read' },
    } as const;
    const config = { digest: DIGEST, current, pending: new Map(), readAtMs: 1_795_000_000_000 };
    guests.set(vmid, { ...guest, config: { kind: 'known', config } });
    plain.push({ ...guest, config: { digest: DIGEST, current: Object.fromEntries(current) } });
    wanted.set(vmid, {
      vmid,
      kind: 'qemu',
      name: null,
      power: 'running',
      mode: null,
      config: wish(current, index),
      ignore: new Set(),
      stop: DEFAULT_STOP,
      source: 'bench',
    });
  }
  const complete = { kind: 'complete' } as const;
  const actual: ActualState = {
    lookedAtMs: 1_795_000_000_000,
    guests,
    qemu: complete,
    lxc: complete,
    tasks: [],
    tasksKnown: complete,
    endedTasks: [],
    bulkTasks: [],
    elsewhere: new Map(),
    nowhere: new Set(),
    unseen: new Map(),
    replaced: new Map(),
  };
  return { desired: { ...NO_DESIRED_STATE, guests: wanted }, actual, json: JSON.stringify(plain) };
}

/**
 * Median of each, ms. They run in turn, so that a busy machine slows them all alike, and in both
 * orders, so that none always pays for the garbage of the one before.
 */
function measure(...jobs: readonly (() => unknown)[]): number[] {
  const times = jobs.map((): number[] => []);
  for (let count = 0; count < RUNS; count++) {
    const turns = [...jobs.entries()];
    for (const [index, job] of count % 2 === 0 ? turns : turns.toReversed()) {
      const startMs = performance.now();
      job();
      times[index]?.push(performance.now() - startMs);
    }
  }
  return times.map((own) => own.sort((a, b) => a - b)[Math.floor(RUNS / 2)] ?? Number.NaN);
}

const { desired, actual, json } = makeWorld();
const context: PlanContext = {
  semantics: createValueSemantics(),
  policy: POLICY,
  pause: null,
  memoryOf: () => ({ hold: null, isInitialDone: false, backoff: null, unsettled: null }),
  isSecretApplied: () => false,
};
const around = { tasks: [], bulkTasks: [], node: NODE };
const [parseMs = Number.NaN, planMs = Number.NaN, oneMs = Number.NaN] = measure(
  () => JSON.parse(json),
  () => planGuests(desired, actual, NODE, context),
  () => {
    for (const wanted of desired.guests.values()) {
      const guest = actual.guests.get(wanted.vmid);
      if (guest !== undefined) planGuest(wanted, guest, around, context);
    }
  },
);
const ratio = planMs / parseMs;
const replanUs = (oneMs * 1_000) / GUESTS;
const { entries } = planGuests(desired, actual, NODE, context);
const changed = entries.filter(({ actions }) => actions.length > 0).length;

const detail = `${GUESTS} guests with ${KEYS} keys, ${changed} with actions; ${planMs.toFixed(0)} ms`;
report({ name: 'plan / JSON.parse of what was read', figure: ratio, atMost: RATIO_MAX, detail });
report({ name: 'one guest planned again, us', figure: replanUs, atMost: REPLAN_MAX_US, detail });
