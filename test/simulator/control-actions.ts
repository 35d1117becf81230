/**
 * What the control port can do to the world: somebody else's hands, faults, restarts, the clock.
 * Each action is a schema for its body and a function (README, "Control API").
 */
import { z } from 'zod';
import type { Api } from './api.ts';
import { perform } from './api.ts';
import { type CertificateAuthority, createAuthority } from './certificates.ts';
import { faultSchema } from './faults.ts';
import type { Guest } from './guest.ts';
import type { History } from './history.ts';
import { LockTimeout } from './locks.ts';
import type { PveNode } from './node.ts';
import { applyPending } from './pending.ts';
import { turnOff } from './power.ts';
import { ROOT } from './principal.ts';
import { TaskError } from './tasks.ts';
import type { Wire } from './wire.ts';
import { addGuest, behaviourFields, behaviourOf, guestSchema, toText } from './world.ts';

export interface Controlled extends Api {
  readonly wire: Wire;
  readonly authority: CertificateAuthority;
  /** Null: nobody asked for it. */
  readonly history: History | null;
}

export class ControlError extends Error {
  override readonly name = 'ControlError';
}

export interface Action {
  readonly body: z.ZodType;
  run(world: Controlled, body: unknown, argument: string): unknown;
}

function action<T extends z.ZodType>(
  body: T,
  run: (world: Controlled, body: z.infer<T>, argument: string) => unknown,
): Action {
  return { body, run: (world, input, argument) => run(world, body.parse(input), argument) };
}

const nothing = z.strictObject({});

const somebody = z.strictObject({
  user: z.string().default('root@pam'),
  method: z.enum(['GET', 'PUT', 'POST', 'DELETE']),
  path: z.string().startsWith('/'),
  params: z.record(z.string(), z.unknown()).default({}),
});

const guestPatch = z.strictObject({
  running: z.boolean().optional(),
  qmp_status: z.enum(['running', 'paused', 'shutdown']).optional(),
  lock: z.string().nullable().optional(),
  set: z.record(z.string(), z.union([z.string(), z.number(), z.boolean()])).default({}),
  delete: z.array(z.string()).default([]),
  moved_to: z.string().optional(),
  ...behaviourFields,
});

const strangerTask = z.strictObject({
  type: z.string(),
  id: z.string().default(''),
  user: z.string().default('somebody@pam'),
  duration_ms: z.number().min(0).default(1000),
  exit_status: z.string().default('OK'),
  log: z.array(z.string()).default([]),
  holds_lock: z.boolean().default(false),
});

function requireGuest(world: Controlled, argument: string): Guest {
  const guest = world.node.guests.get(Number(argument));
  if (guest === undefined) throw new ControlError(`no guest ${argument}`);
  return guest;
}

async function actAsSomebody(world: Controlled, ask: z.infer<typeof somebody>): Promise<unknown> {
  const params = new Map(Object.entries(ask.params));
  const principal = { ...ROOT, user: ask.user };
  const { answer, data } = await perform(world, { ...ask, params, principal });
  return { status: answer.status, reason: answer.reason, data };
}

/** Changes by hand, without a task and without asking for the lock. */
function patchGuest(
  world: Controlled,
  patch: z.infer<typeof guestPatch>,
  argument: string,
): unknown {
  const guest = requireGuest(world, argument);
  const { node } = world;
  guest.behaviour = behaviourOf(guest.behaviour, patch);
  if (patch.running === true && guest.run.kind === 'stopped') {
    applyPending(guest);
    node.setRunning(guest);
  }
  if (patch.running === false) turnOff(guest);
  if (patch.qmp_status !== undefined && guest.run.kind === 'running') {
    guest.run = { ...guest.run, qmpStatus: patch.qmp_status };
  }
  const { current } = guest.config;
  for (const [key, value] of Object.entries(patch.set)) current.set(key, toText(value));
  for (const key of patch.delete) current.delete(key);
  if (patch.lock === null) current.delete('lock');
  else if (patch.lock !== undefined) current.set('lock', patch.lock);
  const isEdited = patch.lock !== undefined || patch.delete.length > 0;
  if (isEdited || Object.keys(patch.set).length > 0) guest.config.touch();
  if (patch.moved_to !== undefined) {
    node.guests.delete(guest.vmid);
    node.elsewhere.set(guest.vmid, { node: patch.moved_to, kind: guest.kind });
  }
  return describeGuest(guest);
}

function describeGuest(guest: Guest): unknown {
  const { current, pending, pendingDeletes, digest } = guest.config;
  return {
    vmid: guest.vmid,
    kind: guest.kind,
    status: guest.run.kind,
    pid: guest.run.kind === 'running' ? guest.run.pid : null,
    config: Object.fromEntries(current),
    pending: Object.fromEntries(pending),
    pending_delete: [...pendingDeletes],
    digest,
    file: guest.config.text(),
  };
}

function startStrangerTask(world: Controlled, wanted: z.infer<typeof strangerTask>): unknown {
  const { node } = world;
  const [user = '', tokenId = null] = wanted.user.split('!');
  const owner = { ...ROOT, user, tokenId, isRoot: false };
  const task = node.tasks.start(wanted.type, wanted.id, owner, async (worker) => {
    worker.log.push(...wanted.log);
    const work = (): Promise<void> => node.clock.sleep(wanted.duration_ms, worker.signal);
    await (wanted.holds_lock ? holdLock(node, Number(wanted.id), work) : work());
    if (wanted.exit_status !== 'OK') throw new TaskError(wanted.exit_status);
  });
  return { upid: task.upid };
}

async function holdLock(node: PveNode, vmid: number, work: () => Promise<void>): Promise<void> {
  try {
    await node.locks.hold(vmid, work);
  } catch (error) {
    if (!(error instanceof LockTimeout)) throw error;
    throw new TaskError('got timeout');
  }
}

/** Every guest off, every worker dead; then the host starts what has `onboot`, as root@pam. */
async function rebootNode(world: Controlled, downMs: number): Promise<unknown> {
  const { node, wire } = world;
  wire.setRefusing(true);
  wire.dropConnections();
  node.tasks.killAll();
  await new Promise((resolve) => setTimeout(resolve, downMs));
  for (const guest of node.allGuests()) turnOff(guest);
  node.clock.reboot();
  wire.setRefusing(false);
  const path = `/nodes/${node.name}/startall`;
  await perform(world, { method: 'POST', path, params: new Map(), principal: ROOT });
  return {};
}

/** Resolves when no task runs and none has been started by one that just ended. */
async function settle(world: Controlled): Promise<unknown> {
  const { tasks } = world.node;
  for (let quiet = 0; quiet < 2; quiet += 1) {
    const running = tasks.running();
    if (running.length === 0) {
      await new Promise((resolve) => setImmediate(resolve));
      continue;
    }
    quiet = -1;
    await Promise.all(running.map((task) => task.done));
  }
  return {};
}

/** Another leaf for connections to come; of an authority nobody trusts, when so wanted. */
function newCertificate(world: Controlled, isTrusted: boolean): unknown {
  const authority = isTrusted ? world.authority : createAuthority();
  const leaf = authority.issue(world.node.name);
  world.wire.useLeaf(leaf);
  world.node.fingerprint = leaf.fingerprint;
  return { fingerprint: leaf.fingerprint };
}

/** `METHOD /path`; a trailing `*` takes one argument. */
export const ACTIONS: Readonly<Record<string, Action>> = {
  'GET /requests': action(nothing, ({ log }) => ({ count: log.count, requests: log.entries() })),
  'DELETE /requests': action(nothing, ({ log }) => {
    log.reset();
    return {};
  }),
  'GET /history': action(nothing, ({ history }) => {
    if (history === null) throw new ControlError('started without --history');
    return { guests: history.guests, tasks: history.tasks };
  }),
  'GET /faults': action(nothing, ({ faults }) => faults.list()),
  'POST /faults': action(faultSchema, ({ faults }, fault) => ({ id: faults.add(fault) })),
  'DELETE /faults': action(nothing, ({ faults }) => {
    faults.clear();
    return {};
  }),
  'POST /somebody': action(somebody, actAsSomebody),
  'GET /guests': action(nothing, ({ node }) => node.allGuests().map(describeGuest)),
  'POST /guests': action(guestSchema, ({ node }, entry) => {
    addGuest(node, entry);
    return {};
  }),
  'GET /guests/*': action(nothing, (world, _body, vmid) =>
    describeGuest(requireGuest(world, vmid)),
  ),
  'PATCH /guests/*': action(guestPatch, patchGuest),
  'DELETE /guests/*': action(nothing, (world, _body, vmid) => {
    world.node.guests.delete(requireGuest(world, vmid).vmid);
    return {};
  }),
  'POST /tasks': action(strangerTask, startStrangerTask),
  'POST /tasks/kill': action(z.strictObject({ upid: z.string() }), ({ node }, { upid }) => {
    node.tasks.kill(upid);
    return {};
  }),
  'POST /tasks/forget': action(nothing, ({ node }) => {
    node.tasks.forget();
    return {};
  }),
  'POST /settle': action(nothing, settle),
  'POST /await': action(
    z.strictObject({ method: z.string().optional(), path: z.string() }),
    ({ log }, { method, path }) =>
      log.whenReceived({ path: new RegExp(path), ...(method === undefined ? {} : { method }) }),
  ),
  'POST /daemon': action(
    z.strictObject({ down: z.boolean().optional(), stuck: z.int().min(0).max(3).optional() }),
    ({ node }, wanted) => {
      if (wanted.down !== undefined) node.daemon.setDown(wanted.down);
      if (wanted.stuck !== undefined) node.daemon.setStuck(wanted.stuck);
      return node.daemon.state;
    },
  ),
  'POST /restart': action(
    z.strictObject({ forget_tasks: z.boolean().default(true) }),
    ({ node, wire }, { forget_tasks: isForgetting }) => {
      wire.dropConnections();
      if (isForgetting) node.tasks.forget();
      return {};
    },
  ),
  'POST /reboot': action(z.strictObject({ down_ms: z.number().min(0).default(0) }), (world, body) =>
    rebootNode(world, body.down_ms),
  ),
  'POST /ha': action(
    z.strictObject({ quorate: z.boolean().optional(), crm_down: z.boolean().optional() }),
    ({ node: { ha } }, wanted) => {
      ha.isQuorate = wanted.quorate ?? ha.isQuorate;
      ha.isCrmDown = wanted.crm_down ?? ha.isCrmDown;
      return { quorate: ha.isQuorate, crm_down: ha.isCrmDown };
    },
  ),
  'POST /ha/services/*': action(z.strictObject({ state: z.string() }), (world, body, sid) => {
    world.node.ha.forceState(decodeURIComponent(sid), body.state);
    return {};
  }),
  'POST /clock': action(z.strictObject({ offset_s: z.number() }), ({ node }, body) => {
    node.clock.setOffset(body.offset_s * 1000);
    return { now_s: node.clock.nowS() };
  }),
  'POST /certificate': action(
    z.strictObject({ trusted: z.boolean().default(true) }),
    (world, { trusted }) => newCertificate(world, trusted),
  ),
  'GET /connections': action(nothing, ({ wire }) => ({
    open: wire.connectionsOpen(),
    opened: wire.connectionsOpened(),
  })),
  'DELETE /connections': action(nothing, ({ wire }) => {
    wire.dropConnections();
    return {};
  }),
};
