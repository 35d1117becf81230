/**
 * Power actions of both kinds, with all their differences (PVE-FACTS 12–15, 20). What PVE refuses
 * at once throws ApiError; what its worker finds out later is the exit status of the task.
 */
import { internalError, parameterError } from './api-error.ts';
import { assertNever } from './assert-never.ts';
import type { Call } from './call.ts';
import {
  configFile,
  type Guest,
  type GuestKind,
  haSid,
  isTemplate,
  noun,
  taskPrefix,
} from './guest.ts';
import { LockTimeout, lockFile } from './locks.ts';
import type { PveNode } from './node.ts';
import { applyPending } from './pending.ts';
import { type Principal, ROOT } from './principal.ts';
import { type Task, TaskError, type TaskWork } from './tasks.ts';

const DEFAULT_TIMEOUT_S = 60;
/**
 * A qmreboot task lives on this long after its guest has gone (transcript restricted_token_ops).
 */
const REBOOT_LINGER_MS = 900;
const REBOOT_START_DELAY_MS = 80;
/** A vzreboot task ends this long after its container has come back. */
const REBOOT_END_MS = 60;

export type PowerAction = 'start' | 'stop' | 'shutdown' | 'reboot' | 'reset' | 'suspend' | 'resume';

/** Answers the UPID. */
export function requestPower(call: Call, kind: GuestKind, action: PowerAction): string {
  const { node, params, principal } = call;
  const guest = node.findGuest(kind, params.vmid);
  if (params.flag('skiplock') && !principal.isRoot) {
    throw parameterError({ skiplock: 'Only root may use this option.' });
  }
  refuseAtOnce(call, kind, action, guest);
  const isHaAction = action === 'start' || action === 'stop' || action === 'shutdown';
  if (guest !== null && isHaAction && node.ha.isManaged(haSid(guest))) {
    return requestFromHa(call, guest, action);
  }
  if (kind === 'qemu' && action === 'suspend' && params.flag('todisk') && guest !== null) {
    if (node.ha.isManaged(haSid(guest))) {
      throw internalError('Cannot suspend HA managed VM to disk');
    }
  }
  const type = taskType(kind, action);
  const work = workOf(call, kind, action);
  return node.tasks.start(type, String(params.vmid), principal, work).upid;
}

function taskType(kind: GuestKind, action: PowerAction): string {
  if (kind === 'qemu' && action === 'suspend') return 'qmpause';
  return `${taskPrefix(kind)}${action}`;
}

/** LXC looks before it forks; QEMU's worker finds out (PVE-FACTS 12). */
function refuseAtOnce(call: Call, kind: GuestKind, action: PowerAction, guest: Guest | null): void {
  const vmid = call.params.vmid;
  const isRunning = guest?.run.kind === 'running';
  if (kind === 'lxc') {
    if ((action === 'start' || action === 'resume') && isRunning) {
      throw internalError(`CT ${vmid} already running`);
    }
    if ((action === 'stop' || action === 'shutdown' || action === 'suspend') && !isRunning) {
      throw internalError(`CT ${vmid} not running`);
    }
  }
  const needsRunning = kind === 'qemu' && ['reset', 'suspend', 'resume'].includes(action);
  // The text says VM for containers too (transcript lxc_power).
  if ((action === 'reboot' || needsRunning) && !isRunning) {
    throw internalError(`VM ${vmid} not running`);
  }
}

function requestFromHa(call: Call, guest: Guest, action: 'start' | 'stop' | 'shutdown'): string {
  const { node, params, principal } = call;
  if (params.flag('overrule-shutdown')) {
    throw parameterError({ 'overrule-shutdown': 'Not applicable for HA resources.' });
  }
  const word = action === 'start' ? 'start' : 'stop';
  const timeoutS = action === 'stop' ? 0 : (params.integer('timeout') ?? DEFAULT_TIMEOUT_S);
  const task = node.tasks.start(`ha${word}`, String(guest.vmid), principal, async (running) => {
    running.log.push(`Requesting HA ${word} for ${noun(guest.kind)} ${guest.vmid}`);
    await node.clock.sleep(node.durationMs(`ha${word}`), running.signal);
    node.ha.request(guest, action, timeoutS, running.log);
  });
  return task.upid;
}

function workOf(call: Call, kind: GuestKind, action: PowerAction): TaskWork {
  const { node, params, principal } = call;
  const { vmid } = params;
  const timeoutS = params.integer('timeout') ?? DEFAULT_TIMEOUT_S;
  switch (action) {
    case 'start':
      return startWork(node, kind, vmid);
    case 'stop':
      return async (task) => {
        if (params.flag('overrule-shutdown')) await overruleShutdowns(node, task, principal);
        await stopWork(node, kind, vmid)(task);
      };
    case 'shutdown':
      return shutdownWork(node, kind, vmid, { timeoutS, isForced: params.flag('forceStop') });
    case 'reboot':
      return rebootWork(node, kind, vmid, timeoutS);
    case 'suspend':
      return kind === 'qemu' ? setQmpStatus(node, vmid, 'paused') : containerSuspend(node, vmid);
    case 'resume':
      if (kind === 'lxc') return async () => Promise.reject(new TaskError('CT is not suspended'));
      return setQmpStatus(node, vmid, 'running');
    case 'reset':
      return (task) => node.clock.sleep(node.durationMs('qmreset'), task.signal);
    default:
      return assertNever(action);
  }
}

/** Runs the work under the guest's config lock, as every worker does. */
function locked(node: PveNode, kind: GuestKind, vmid: number, work: TaskWork): TaskWork {
  return async (task) => {
    const mustWait = node.locks.isHeld(vmid);
    if (mustWait) task.log.push('trying to acquire lock...');
    try {
      await node.locks.hold(vmid, () => {
        // Killed or interrupted while it waited.
        task.signal.throwIfAborted();
        if (mustWait) task.log.push(' OK');
        return work(task);
      });
    } catch (error) {
      if (!(error instanceof LockTimeout)) throw error;
      throw new TaskError(`can't lock file '${lockFile(kind, vmid)}' - got timeout`);
    }
  };
}

function requireUnlocked(guest: Guest): void {
  const lock = guest.config.current.get('lock');
  if (lock !== undefined) throw new TaskError(`${noun(guest.kind)} is locked (${lock})`);
}

export function startWork(node: PveNode, kind: GuestKind, vmid: number): TaskWork {
  return locked(node, kind, vmid, async (task) => {
    const guest = node.findGuest(kind, vmid);
    if (guest === null) throw noConfig(configFile(node.name, kind, vmid));
    // By source, not recorded.
    if (!node.ha.isQuorate) throw new TaskError('cluster not ready - no quorum?');
    if (isTemplate(guest)) {
      const what = kind === 'qemu' ? 'vm' : 'CT';
      throw new TaskError(`you can't start a ${what} if it's a template`);
    }
    const isSuspended = kind === 'qemu' && guest.config.current.get('lock') === 'suspended';
    if (!isSuspended) requireUnlocked(guest);
    if (guest.run.kind === 'running') {
      throw new TaskError(`${noun(kind)} ${vmid} already running`);
    }
    if (isSuspended) task.log.push('Resuming suspended VM');
    await node.clock.sleep(node.durationMs(`${taskPrefix(kind)}start`), task.signal);
    task.log.push(...guest.behaviour.startWarnings.map((text) => `WARN: ${text}`));
    if (guest.behaviour.startError !== null) throw new TaskError(guest.behaviour.startError);
    applyPending(guest);
    node.setRunning(guest);
    if (isSuspended) {
      guest.config.current.delete('lock');
      guest.config.touch();
      task.log.push('Resumed VM, removing state');
    }
  });
}

function noConfig(file: string): TaskError {
  return new TaskError(`Configuration file '${file}' does not exist`);
}

function requireStoppable(node: PveNode, kind: GuestKind, vmid: number): Guest {
  const guest = node.findGuest(kind, vmid);
  if (guest === null) {
    const what = `${noun(kind)} ${vmid}`;
    throw new TaskError(`unable to find configuration file for ${what} on node '${node.name}'`);
  }
  return guest;
}

export function stopWork(node: PveNode, kind: GuestKind, vmid: number): TaskWork {
  return locked(node, kind, vmid, async (task) => {
    const guest = requireStoppable(node, kind, vmid);
    // A guest that is down already is fine, even under a lock (PVE-FACTS 13).
    if (guest.run.kind === 'stopped') return;
    requireUnlocked(guest);
    await node.clock.sleep(node.durationMs(`${taskPrefix(kind)}stop`), task.signal);
    turnOff(guest);
  });
}

interface Shutdown {
  readonly timeoutS: number;
  readonly isForced: boolean;
}

export function shutdownWork(
  node: PveNode,
  kind: GuestKind,
  vmid: number,
  how: Shutdown,
): TaskWork {
  return locked(node, kind, vmid, async (task) => {
    const guest = requireStoppable(node, kind, vmid);
    if (guest.run.kind === 'stopped') return;
    requireUnlocked(guest);
    await shutDown(node, guest, task, how);
  });
}

async function shutDown(node: PveNode, guest: Guest, task: Task, how: Shutdown): Promise<void> {
  const { obeysShutdown, shutdownMs } = guest.behaviour;
  const timeoutMs = how.timeoutS * 1000;
  if (obeysShutdown && shutdownMs <= timeoutMs) {
    await node.clock.sleep(shutdownMs, task.signal);
    turnOff(guest);
    return;
  }
  await node.clock.sleep(timeoutMs, task.signal);
  if (how.isForced) {
    if (guest.kind === 'qemu') task.log.push('VM still running - terminating now with SIGTERM');
    turnOff(guest);
    return;
  }
  if (guest.kind === 'qemu') throw new TaskError('VM quit/powerdown failed - got timeout');
  const command = `lxc-stop -n ${guest.vmid} --nokill --timeout ${how.timeoutS}`;
  task.log.push(`command '${command}' failed: exit code 1`);
  throw new TaskError('container did not stop');
}

/** Off, and what was pending is applied (PVE-FACTS 23). */
export function turnOff(guest: Guest): void {
  guest.run = { kind: 'stopped' };
  applyPending(guest);
}

/** The task ends while the VM is down; root@pam's own task starts it (PVE-FACTS 14). */
function rebootWork(node: PveNode, kind: GuestKind, vmid: number, timeoutS: number): TaskWork {
  return locked(node, kind, vmid, async (task) => {
    const guest = requireStoppable(node, kind, vmid);
    requireUnlocked(guest);
    if (kind === 'lxc') {
      await rebootContainer(node, guest, task, timeoutS);
      return;
    }
    await shutDown(node, guest, task, { timeoutS, isForced: false });
    await node.clock.sleep(REBOOT_LINGER_MS, task.signal);
    void startAfterReboot(node, guest);
  });
}

/** Somebody else's task, or the HA manager's (transcript ha_106_acpi). */
async function startAfterReboot(node: PveNode, guest: Guest): Promise<void> {
  await node.clock.sleep(REBOOT_START_DELAY_MS);
  const id = String(guest.vmid);
  if (!node.ha.isManaged(haSid(guest))) {
    node.tasks.start('qmstart', id, ROOT, startWork(node, guest.kind, guest.vmid));
    return;
  }
  node.tasks.start('hastart', id, ROOT, async (task) => {
    await node.clock.sleep(node.durationMs('hastart'), task.signal);
    node.ha.request(guest, 'start', 0, task.log);
  });
}

/** It stays `running`, with its pid gone in between (transcript lxc_reboot_timeline). */
async function rebootContainer(
  node: PveNode,
  guest: Guest,
  task: Task,
  timeoutS: number,
): Promise<void> {
  const before = guest.run;
  await shutDown(node, guest, task, { timeoutS, isForced: false });
  guest.run = before.kind === 'running' ? { ...before, pid: null } : before;
  await node.clock.sleep(node.durationMs('vzstart') * 2, task.signal);
  node.setRunning(guest);
  await node.clock.sleep(REBOOT_END_MS, task.signal);
}

/** Stops this user's waiting shutdowns of that guest, so that the stop gets the lock. */
async function overruleShutdowns(node: PveNode, task: Task, principal: Principal): Promise<void> {
  const mine = node.tasks
    .running()
    .filter((other) => other.id === task.id && /^(?:qm|vz)shutdown$/.test(other.type))
    .filter((other) => principal.isRoot || other.owner.user === principal.user);
  if (mine.length === 0) return;
  for (const other of mine) node.tasks.interrupt(other.upid);
  await Promise.all(mine.map((other) => other.done));
  const upids = mine.map((other) => other.upid).join(', ');
  task.log.push(`overruled ${mine[0]?.type ?? ''} tasks: ${upids}`);
}

function setQmpStatus(node: PveNode, vmid: number, status: 'running' | 'paused'): TaskWork {
  return locked(node, 'qemu', vmid, async (task) => {
    const guest = requireStoppable(node, 'qemu', vmid);
    const type = status === 'paused' ? 'qmpause' : 'qmresume';
    await node.clock.sleep(node.durationMs(type), task.signal);
    if (guest.run.kind === 'running') guest.run = { ...guest.run, qmpStatus: status };
  });
}

/** A host without CRIU, as the recorded one. */
function containerSuspend(node: PveNode, vmid: number): TaskWork {
  return async (task) => {
    await node.clock.sleep(node.durationMs('vzsuspend'), task.signal);
    const lxc = `lxc-checkpoint: ${vmid}: ../src/lxc/`;
    task.log.push(
      `${lxc}criu.c: criu_version_ok: 767 No such file or directory - ` +
        'execing criu failed, is it installed?',
      `${lxc}tools/lxc_checkpoint.c: checkpoint: 182 Checkpointing ${vmid} failed`,
    );
    const command = `lxc-checkpoint -n ${vmid} -s -D /var/lib/vz/dump`;
    throw new TaskError(`command '${command}' failed: exit code 1`);
  };
}
