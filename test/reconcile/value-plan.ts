/** The plan of one guest by what config values really mean to PVE, with policy and guards at rest. */
import { createValueSemantics } from '../../src/proxmox/values/same-value.ts';
import { documentSchema, NO_DESIRED_STATE, readDocument } from '../../src/reconcile/desired.ts';
import type { ActualState, Guest, GuestKind, PendingChange } from '../../src/reconcile/guest.ts';
import { parseVmid, type Vmid } from '../../src/reconcile/ids.ts';
import type { PlanEntry } from '../../src/reconcile/plan.ts';
import { type PlanContext, planGuests } from '../../src/reconcile/planner.ts';

export type Written = string | number | boolean | null | readonly (string | number)[];

const VMID = vmidOf(100);
const semantics = createValueSemantics();

export function planValues(scene: {
  readonly kind: GuestKind;
  readonly wanted: Readonly<Record<string, Written>>;
  readonly read: Readonly<Record<string, string>>;
  readonly pending?: Readonly<Record<string, PendingChange>>;
  readonly running?: boolean;
  readonly power?: 'initial';
  readonly isInitialDone?: boolean;
}): PlanEntry {
  const { kind, wanted, read, pending = {}, running = false, power } = scene;
  const document = documentSchema.parse({
    version: 1,
    guests: { 100: { config: wanted, ...(power === undefined ? {} : { power }) } },
  });
  const guests = new Map(readDocument(document, 'test').map((guest) => [guest.vmid, guest]));
  const guest: Guest = {
    vmid: VMID,
    kind,
    name: 'web',
    power: running ? 'running' : 'stopped',
    qmpStatus: null,
    template: false,
    lock: null,
    tags: [],
    bootedAtMs: null,
    pid: null,
    ha: { kind: 'not_read' },
    config: {
      kind: 'known',
      config: {
        digest: 'd'.repeat(40),
        current: new Map(Object.entries(read)),
        pending: new Map(Object.entries(pending)),
        readAtMs: 0,
      },
    },
  };
  const { entries } = planGuests(
    { ...NO_DESIRED_STATE, guests },
    actualOf(guest),
    null,
    contextOf(scene.isInitialDone ?? false),
  );
  const [entry] = entries;
  if (entry === undefined) throw new Error('no entry');
  return entry;
}

function actualOf(guest: Guest): ActualState {
  return {
    lookedAtMs: 0,
    guests: new Map([[guest.vmid, guest]]),
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

function contextOf(isInitialDone: boolean): PlanContext {
  return {
    semantics,
    policy: { mode: 'enforce', unsigned: 'benign', operator: 'benign', irreversibleSignatures: 2 },
    pause: null,
    memoryOf: () => ({ hold: null, isInitialDone, backoff: null, unsettled: null }),
    isSecretApplied: () => false,
  };
}

function vmidOf(number: number): Vmid {
  const vmid = parseVmid(number);
  if (vmid === null) throw new Error(`${number} is no vmid`);
  return vmid;
}
