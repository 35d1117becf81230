/**
 * Writing a config: PUT for both kinds, POST in the background for QEMU (PVE-FACTS 19, 22–25). The
 * order of refusals is PVE's: nothing to do, unknown options, privileges, the file lock, digest,
 * the guest's lock.
 */
import { ApiError, internalError, parameterError } from './api-error.ts';
import type { Call } from './call.ts';
import { authorizeChange, isLive, isVolumeOption, requireReferences } from './config-rules.ts';
import { normalizeValue } from './config-values.ts';
import type { Guest, GuestKind } from './guest.ts';
import { noun } from './guest.ts';
import { LockTimeout, lockFile } from './locks.ts';
import { applyPending, dropRedundantPending } from './pending.ts';
import { endpointSchema, findProperty } from './schema.ts';
import type { Task } from './tasks.ts';

/** /etc/pve is read-only then (by source, not recorded). */
const NO_QUORUM = 'cluster not ready - no quorum?';

/** Parameters of the request that are no options of the guest. */
const NOT_OPTIONS = new Set(
  'node vmid digest delete revert force skiplock background_delay'.split(' '),
);

interface Update {
  readonly set: ReadonlyMap<string, string>;
  readonly deletes: readonly string[];
  readonly reverts: readonly string[];
  readonly digest: string | null;
  /** With deletes: a volume is destroyed instead of kept as unused. */
  readonly isForced: boolean;
}

/** Writes and answers when it is done. */
export async function putConfig(call: Call, kind: GuestKind): Promise<null> {
  const { guest, update } = prepare(call, kind);
  await underLock(call, guest, async () => {
    requireWritable(guest, update);
    applyUpdate(guest, update);
  });
  return null;
}

/** The UPID of the worker that writes, or null when it was done within `background_delay`. */
export async function postConfig(call: Call): Promise<string | null> {
  const { guest, update } = prepare(call, 'qemu');
  const { node, params, principal } = call;
  const task = await underLock(call, guest, async () => {
    requireWritable(guest, update);
    return node.tasks.start('qmconfig', String(guest.vmid), principal, async (worker) => {
      worker.log.push(`update VM ${guest.vmid}: ${commandLine(call)}`);
      await node.clock.sleep(node.durationMs('qmconfig'), worker.signal);
      for (const line of applyUpdate(guest, update)) worker.log.push(line);
    });
  });
  const delayS = params.integer('background_delay');
  return delayS !== null && (await endsWithin(call, task, delayS)) ? null : task.upid;
}

async function endsWithin(call: Call, task: Task, delayS: number): Promise<boolean> {
  const cancel = new AbortController();
  const tooLate = call.node.clock.sleep(delayS * 1000, cancel.signal).then(
    () => false,
    () => false,
  );
  const isDone = await Promise.race([task.done.then(() => true), tooLate]);
  cancel.abort(new Error('not needed'));
  return isDone;
}

function commandLine(call: Call): string {
  return call.params
    .entries()
    .filter(([key]) => !['node', 'vmid', 'digest', 'background_delay'].includes(key))
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, value]) => `-${key} ${key === 'cipassword' ? '<hidden>' : (value ?? '')}`)
    .join(' ');
}

function prepare(call: Call, kind: GuestKind): { guest: Guest; update: Update } {
  const { node, params, principal } = call;
  if (params.flag('skiplock') && !principal.isRoot) {
    throw parameterError({ skiplock: 'Only root may use this option.' });
  }
  const update = readUpdate(call);
  if (update.set.size + update.deletes.length + update.reverts.length === 0) {
    throw internalError('no options specified');
  }
  refuseContradictions(update, kind);
  if (!node.ha.isQuorate) throw internalError(NO_QUORUM);
  const guest = node.requireGuest(kind, params.vmid);
  for (const key of update.deletes) authorizeChange(principal, { guest, key, value: null });
  for (const [key, value] of update.set) {
    authorizeChange(principal, { guest, key, value });
    requireReferences(principal, { guest, key, value });
  }
  return { guest, update };
}

function readUpdate(call: Call): Update {
  const { params } = call;
  const set = new Map<string, string>();
  for (const [key, value] of params.entries()) {
    if (NOT_OPTIONS.has(key)) continue;
    if (value === null) {
      throw internalError(`unable to parse value of '${key}' - got undefined value`);
    }
    set.set(key, value);
  }
  return {
    set,
    deletes: splitList(params.text('delete')),
    reverts: splitList(params.text('revert')),
    digest: params.text('digest'),
    isForced: params.flag('force'),
  };
}

function splitList(text: string | null): string[] {
  return (text ?? '').split(/[,;\s\0]+/).filter((item) => item !== '');
}

function refuseContradictions(update: Update, kind: GuestKind): void {
  const properties = endpointSchema(`PUT /nodes/{node}/${kind}/{vmid}/config`)?.properties ?? {};
  const isOption = (key: string): boolean =>
    !NOT_OPTIONS.has(key) && findProperty(properties, key) !== null;
  for (const [name, keys] of [
    ['delete', update.deletes],
    ['revert', update.reverts],
  ] as const) {
    for (const key of keys) {
      if (!isOption(key)) throw parameterError({ [name]: `unknown option '${key}'` });
      // Whichever it was, PVE names "delete" and leaves out a quote.
      if (update.set.has(key)) {
        throw parameterError({
          delete: `you can't use '-${key}' and -${name} ${key}' at the same time`,
        });
      }
    }
  }
  for (const key of update.reverts) {
    if (!update.deletes.includes(key)) continue;
    throw parameterError({
      revert: `you can't use '-delete ${key}' and -revert ${key}' at the same time`,
    });
  }
}

async function underLock<T>(call: Call, guest: Guest, work: () => Promise<T>): Promise<T> {
  try {
    return await call.node.locks.hold(guest.vmid, work);
  } catch (error) {
    if (!(error instanceof LockTimeout)) throw error;
    const file = lockFile(guest.kind, guest.vmid);
    throw internalError(`can't lock file '${file}' - got timeout`);
  }
}

const STALE = {
  qemu: 'checksum mismatch (file change by other user?)',
  lxc: 'detected modified configuration - file changed by other user? Try again.',
} as const;

function requireWritable(guest: Guest, update: Update): void {
  // An empty digest is ignored, any other must match exactly (PVE-FACTS 24).
  if (update.digest !== null && update.digest !== '' && update.digest !== guest.config.digest) {
    throw new ApiError(500, STALE[guest.kind]);
  }
  const lock = guest.config.current.get('lock');
  if (lock !== undefined && !update.deletes.includes('lock')) {
    throw internalError(`${noun(guest.kind)} is locked (${lock})`);
  }
}

/** Everything goes to pending first, and what can take effect now leaves it again. */
function applyUpdate(guest: Guest, update: Update): string[] {
  const { config } = guest;
  const log: string[] = [];
  config.rewriteEmptyValues();
  for (const key of update.reverts) {
    config.pending.delete(key);
    config.pendingDeletes.delete(key);
  }
  for (const key of update.deletes) {
    config.pending.delete(key);
    if (config.current.has(key)) config.pendingDeletes.add(key);
  }
  for (const [key, value] of update.set) {
    const text = normalizeValue(guest, key, value);
    config.pending.delete(key);
    config.pendingDeletes.delete(key);
    if (text !== null) config.pending.set(key, text);
    else if (config.current.has(key)) config.pendingDeletes.add(key);
    if (text !== null) log.push(...allocationLog(guest, key, value, text));
  }
  keepDeletedVolumes(guest, update);
  if (guest.run.kind === 'running') plugLive(guest);
  else applyPending(guest);
  dropRedundantPending(guest);
  config.touch();
  return log;
}

function allocationLog(guest: Guest, key: string, value: string, text: string): string[] {
  const size = /^local:(\d+)(?:,|$)/.exec(value)?.[1];
  if (size === undefined || !isVolumeOption(key) || guest.kind === 'lxc') return [];
  const file = text.split(',')[0]?.slice('local:'.length) ?? '';
  const bytes = Number(size) * 2 ** 30;
  return [
    `Formatting '/var/lib/vz/images/${file}', fmt=raw size=${bytes} preallocation=off`,
    `${key}: successfully created disk 'local:${file},size=${size}G'`,
  ];
}

/** A disk that is taken out stays as `unusedN` until that is deleted too. */
function keepDeletedVolumes(guest: Guest, update: Update): void {
  const { current } = guest.config;
  for (const key of update.deletes) {
    const value = current.get(key);
    if (value === undefined || !isVolumeOption(key) || update.isForced) continue;
    const file = value.split(',')[0] ?? '';
    if (value.includes('media=cdrom') || !file.startsWith('local:')) continue;
    let index = 0;
    while (current.has(`unused${index}`)) index += 1;
    current.set(`unused${index}`, file);
  }
}

function plugLive(guest: Guest): void {
  const { config } = guest;
  for (const key of config.pendingDeletes) {
    if (!isLive(guest.kind, key)) continue;
    config.current.delete(key);
    config.pendingDeletes.delete(key);
  }
  for (const [key, value] of config.pending) {
    if (!isLive(guest.kind, key)) continue;
    config.current.set(key, value);
    config.pending.delete(key);
  }
}
