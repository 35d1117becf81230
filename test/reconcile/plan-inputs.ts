/** What the planner is given, made up: by hand for tables, at random for laws. */
import * as fc from 'fast-check';
import {
  type DesiredGuest,
  type DesiredState,
  MODES,
  NO_DESIRED_STATE,
  POWER_POLICIES,
} from '../../src/reconcile/desired.ts';
import type {
  ActualState,
  Guest,
  GuestConfig,
  NodeLook,
  PendingChange,
} from '../../src/reconcile/guest.ts';
import { parseUpid, parseVmid, type Upid, type Vmid } from '../../src/reconcile/ids.ts';
import { DEFAULT_STOP } from '../../src/reconcile/op.ts';
import type { PlanContext } from '../../src/reconcile/planner.ts';
import { POLICY } from '../support/agent-life.ts';
import { plainSemantics } from '../support/plain-semantics.ts';

export const NOW_MS = Date.UTC(2026, 10, 20, 12);

export function vmidOf(id: number): Vmid {
  const vmid = parseVmid(id);
  if (vmid === null) throw new Error(`not a vmid: ${id}`);
  return vmid;
}

export function upidOf(type: string, id: string): Upid {
  const upid = parseUpid(`UPID:pve1:00001000:00002000:6B00E844:${type}:${id}:root@pam:`);
  if (upid === null) throw new Error('not a UPID');
  return upid;
}

export function wantedGuest(fields: Partial<DesiredGuest> = {}): DesiredGuest {
  return {
    vmid: vmidOf(101),
    kind: null,
    name: null,
    power: 'unmanaged',
    mode: null,
    config: new Map(),
    ignore: new Set(),
    stop: DEFAULT_STOP,
    source: 'desired.yaml',
    ...fields,
  };
}

export function guestConfig(
  current: Readonly<Record<string, string>>,
  pending: Readonly<Record<string, PendingChange>> = {},
): GuestConfig {
  return {
    digest: 'd'.repeat(40),
    current: new Map(Object.entries(current)),
    pending: new Map(Object.entries(pending)),
    readAtMs: NOW_MS,
  };
}

export function seenGuest(fields: Partial<Guest> = {}): Guest {
  return {
    vmid: vmidOf(101),
    kind: 'qemu',
    name: 'web',
    power: 'stopped',
    qmpStatus: null,
    template: false,
    lock: null,
    tags: [],
    bootedAtMs: null,
    pid: null,
    ha: { kind: 'unmanaged' },
    config: { kind: 'known', config: guestConfig({}) },
    ...fields,
  };
}

export function desiredState(...guests: readonly DesiredGuest[]): DesiredState {
  return { ...NO_DESIRED_STATE, guests: new Map(guests.map((guest) => [guest.vmid, guest])) };
}

export function actualState(...guests: readonly Guest[]): ActualState {
  return {
    lookedAtMs: NOW_MS,
    guests: new Map(guests.map((guest) => [guest.vmid, guest])),
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

export const QUIET_NODE: NodeLook = { quorate: true, ha: 'absent', managed: new Map() };

export function planContext(fields: Partial<PlanContext> = {}): PlanContext {
  return {
    semantics: plainSemantics,
    policy: POLICY,
    pause: null,
    memoryOf: () => ({ hold: null, isInitialDone: false, backoff: null, unsettled: null }),
    isSecretApplied: () => false,
    ...fields,
  };
}

const KEYS = ['cores', 'description', 'net0', 'onboot', 'scsi1', 'tags'] as const;
const VALUES = ['1', '2', 'virtio=BC:24:11:00:00:01,bridge=vmbr0', 'virtio,bridge=vmbr0', 'x'];

const value = fc.constantFrom(...VALUES);
const key = fc.constantFrom(...KEYS);
const config = fc.dictionary(key, value, { maxKeys: 5 });
const pending = fc.dictionary(
  key,
  fc.oneof(
    value.map((text): PendingChange => ({ kind: 'set', value: text })),
    fc.constant<PendingChange>({ kind: 'delete' }),
  ),
  { maxKeys: 2 },
);

export function anyWanted(id: number): fc.Arbitrary<DesiredGuest> {
  return fc
    .record({
      power: fc.constantFrom(...POWER_POLICIES),
      mode: fc.option(fc.constantFrom(...MODES), { freq: 8 }),
      config: fc.dictionary(key, fc.option(value, { freq: 5 }), { maxKeys: 5 }),
      ignore: fc.subarray([...KEYS], { maxLength: 1 }),
    })
    .map(({ power, mode, config: wanted, ignore }) =>
      wantedGuest({
        vmid: vmidOf(id),
        power,
        mode,
        config: new Map(Object.entries(wanted)),
        ignore: new Set(ignore),
      }),
    );
}

export function anyGuest(id: number): fc.Arbitrary<Guest> {
  return fc
    .record({
      isRunning: fc.boolean(),
      current: config,
      pending,
      lock: fc.option(fc.constant('backup'), { freq: 10 }),
      template: fc.constantFrom(false, false, false, true),
    })
    .map(({ isRunning, current, pending: held, lock, template }) =>
      seenGuest({
        vmid: vmidOf(id),
        power: isRunning ? 'running' : 'stopped',
        bootedAtMs: isRunning ? NOW_MS - 1_000_000 : null,
        lock,
        template,
        config: { kind: 'known', config: guestConfig(current, held) },
      }),
    );
}
