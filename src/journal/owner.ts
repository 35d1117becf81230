/**
 * Who holds the journal: the readable file beside the lock, and whether that process is still
 * there. A pid alone says little, it is given out again: the start time in /proc goes with it, and
 * the boot and the pid namespace it counts in.
 */
import { randomBytes } from 'node:crypto';
import { readFileSync, readlinkSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { errnoOf } from './disk.ts';
import { isObject, isSeq, isText } from './op-record.ts';
import type { Opener } from './records.ts';

/** In state_dir, beside the lock. */
export const OWNER_NAME = 'journal.owner.json';

export interface Owner extends Opener {
  /** Random, of this one holding of the lock. */
  readonly token: string;
  /** /proc/PID/stat field 22, in clock ticks since boot. */
  readonly start_ticks: number;
  readonly pid_namespace: string;
  /** Added when a write or sync failed. */
  readonly poisoned?: boolean;
}

export function describeSelf(): Owner {
  return {
    pid: process.pid,
    host: hostname(),
    started_at: new Date(Date.now() - process.uptime() * 1000).toISOString(),
    boot_id: readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim(),
    start_ticks: ticksOf(readStat('self')),
    pid_namespace: readlinkSync('/proc/self/ns/pid'),
    token: randomBytes(16).toString('hex'),
  };
}

/** Null: the file's text names no owner. */
export function parseOwner(text: string): Owner | null {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return null;
  }
  return isObject(value) && isOwner(value) ? value : null;
}

function isOwner(value: object): value is Owner {
  const owner: Partial<Record<keyof Owner, unknown>> = value;
  return (
    isSeq(owner.pid) &&
    typeof owner.start_ticks === 'number' &&
    [owner.host, owner.started_at, owner.boot_id, owner.pid_namespace, owner.token].every(isText)
  );
}

/**
 * - `gone`: proven, its process is no more.
 * - `alive`: there is a process with its pid and start time.
 * - `unknown`: on another host or in another pid namespace; only time tells.
 */
export function judgeOwner(owner: Owner, self: Owner): 'gone' | 'alive' | 'unknown' {
  if (owner.host !== self.host) return 'unknown';
  if (owner.boot_id !== self.boot_id) return 'gone';
  if (owner.pid_namespace !== self.pid_namespace) return 'unknown';
  return startTicks(owner.pid) === owner.start_ticks ? 'alive' : 'gone';
}

export function describeOwner({ pid, host, started_at: startedAt }: Owner): string {
  return `process ${pid} on ${host}, started ${startedAt}`;
}

/** Null where there is no such process, or only what its parent has not yet collected. */
function startTicks(pid: number): number | null {
  let stat: readonly string[];
  try {
    stat = readStat(pid);
  } catch {
    return null;
  }
  const [state] = stat;
  return state === 'Z' || state === 'X' ? null : ticksOf(stat);
}

/** The fields of /proc/PID/stat from the third on, the state. */
function readStat(pid: number | 'self'): readonly string[] {
  const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
  // The command's name stands in parentheses and may hold spaces and parentheses itself.
  return stat.slice(stat.lastIndexOf(')') + 2).split(' ');
}

function ticksOf(stat: readonly string[]): number {
  return Number(stat[19]);
}

/** Who has the journal, or had it last; null: nobody. Throws where the file cannot be read. */
export function readOwner(stateDir: string): Owner | null {
  try {
    return parseOwner(readFileSync(join(stateDir, OWNER_NAME), 'utf8'));
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return null;
    throw error;
  }
}
