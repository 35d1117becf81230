/**
 * Tasks: their status and end, the lists they stand in, and what their types mean to the core.
 */
import type * as z from 'zod';
import { assertNever, type Problem } from '../reconcile/errors.ts';
import {
  type BulkTask,
  type EndedTask,
  isBulkType,
  type Replacement,
  type RunningTask,
} from '../reconcile/guest.ts';
import { parseVmid, type Upid, type Vmid } from '../reconcile/ids.ts';
import type {
  FoundTask,
  TaskEnd,
  TaskRole,
  TaskSearch,
  TaskSearchResult,
  TaskStatus,
} from '../reconcile/ports.ts';
import { beganLater } from '../reconcile/task-order.ts';
import { type TaskRow, taskLog, taskRows, taskStatus } from './answers.ts';
import type { PveApi, Result } from './api.ts';
import { classifyExit, shorten } from './errors.ts';
import type { NodeClock } from './node-clock.ts';
import { readRequest } from './request.ts';
import { readUpid, upidVmid } from './upid.ts';

/** The first lines say what was tried, the last ones why it failed. */
const LOG_LINES_KEPT = 50;
/** They go into the journal. */
const LOG_LINE_MAX_CHARS = 1_000;
/** Running tasks stand first in the list [task_list_filters], the newest ended ones after them. */
const RECENT_LIMIT = 50;
/** PVE keeps about 1,000 (PVE-FACTS 17); one guest has a few of them. */
const SEARCH_LIMIT = 500;
/** Tasks are dated in whole seconds, and so is what the offset is taken from. */
const SEARCH_MARGIN_MS = 5_000;
/** Where the node's clock is not known: it is mostly our own, at worst set to another hour. */
const UNKNOWN_CLOCK_MARGIN_MS = 2 * 3_600_000;

/**
 * A clone's task is filed under the guest it is cloned from, which stays what it is. Whether a guest
 * has moved, or is a template now, a look tells.
 */
const ROLES: Readonly<Record<string, TaskRole>> = {
  qmstart: 'start',
  vzstart: 'start',
  hastart: 'start',
  qmstop: 'stop',
  qmshutdown: 'stop',
  vzstop: 'stop',
  vzshutdown: 'stop',
  hastop: 'stop',
  qmreboot: 'restart',
  vzreboot: 'restart',
  qmconfig: 'set_config',
  qmcreate: 'replaces',
  qmrestore: 'replaces',
  qmdestroy: 'replaces',
  qmrollback: 'reverts',
  vzcreate: 'replaces',
  vzrestore: 'replaces',
  vzdestroy: 'replaces',
  vzrollback: 'reverts',
};

/** A console's task runs as long as its window is open, and does nothing to the guest. */
const CONSOLE_TYPES: ReadonlySet<string> = new Set(['vncproxy', 'spiceproxy', 'termproxy']);

/** PVE-FACTS 44. */
export function isConsole(type: string): boolean {
  return CONSOLE_TYPES.has(type);
}

export interface TaskLogPage {
  readonly lines: readonly string[];
  readonly total: number;
}

export interface TaskReaderOptions {
  readonly api: PveApi;
  readonly nodeClock: NodeClock;
  /** `user@realm!tokenid` of our own token. */
  readonly user: string;
}

export class TaskReader {
  readonly #api: PveApi;
  readonly #nodeClock: NodeClock;
  readonly #user: string;

  constructor(options: TaskReaderOptions) {
    this.#api = options.api;
    this.#nodeClock = options.nodeClock;
    this.#user = options.user;
  }

  async status(upid: Upid, signal: AbortSignal): Promise<TaskStatus> {
    const values = { node: this.#api.node, upid };
    const request = readRequest('/nodes/{node}/tasks/{upid}/status', values);
    const result = await this.#api.ask(taskStatus, request, signal);
    if (result.kind === 'failure') {
      const isUnknown = result.status === 400 && result.errors['upid'] !== undefined;
      return isUnknown
        ? { kind: 'ended', end: { kind: 'vanished' } }
        : { kind: 'unreadable', problem: result.problem };
    }
    if (result.value.upid !== upid) {
      const message = `asked for ${upid}, PVE answered for ${result.value.upid}`;
      return { kind: 'unreadable', problem: { code: 'service_unavailable', message } };
    }
    if (result.value.status === 'running') return { kind: 'running' };
    return { kind: 'ended', end: await this.#end(upid, result.value, signal) };
  }

  /** Lines from `start` on, a page of them, and how many there are; null: not to be read. */
  async logFrom(upid: Upid, start: number, signal: AbortSignal): Promise<TaskLogPage | null> {
    const page = await this.#logPage(upid, start, signal);
    if (page.kind === 'failure') return null;
    const lines = page.value.map(({ t }) => shorten(t, LOG_LINE_MAX_CHARS));
    return isMadeUp(lines) ? { lines: [], total: 0 } : { lines, total: page.total };
  }

  /** Running tasks, all of them, and the newest of those that have ended. */
  async recent(signal: AbortSignal, began?: () => void): Promise<Result<readonly TaskRow[]>> {
    const page = await this.#list({ source: 'all', limit: RECENT_LIMIT }, signal, began);
    if (page.kind === 'failure') return page;
    const last = page.value.at(-1);
    const isFullOfRunning = page.value.length >= RECENT_LIMIT && last && isRunning(last);
    return isFullOfRunning ? this.#list({ source: 'all', limit: SEARCH_LIMIT }, signal) : page;
  }

  /** The same rows, or more where those do not reach back to `sinceMs` (our wall clock). */
  async reachBack(
    rows: readonly TaskRow[],
    sinceMs: number | null,
    signal: AbortSignal,
  ): Promise<readonly TaskRow[]> {
    const last = rows.at(-1);
    if (last === undefined || sinceMs === null || rows.length < RECENT_LIMIT) return rows;
    // Behind what began before that, and ended after it, may stand what has begun since.
    const lastEndMs = last.endtime === undefined ? null : this.#nodeClock.toAgentMs(last.endtime);
    if (lastEndMs !== null && lastEndMs <= sinceMs - SEARCH_MARGIN_MS) return rows;
    const more = await this.#list({ source: 'all', limit: SEARCH_LIMIT }, signal);
    return more.kind === 'value' ? more.value : rows;
  }

  async find(search: TaskSearch, signal: AbortSignal): Promise<TaskSearchResult> {
    const since = await this.#sinceS(search, signal);
    const { vmid } = search.guest;
    const query = { source: 'all', vmid, limit: SEARCH_LIMIT, since };
    const result = await this.#list(query, signal);
    if (result.kind === 'failure') return { kind: 'unknown', problem: result.problem };
    return this.#select(result.value, search, since);
  }

  /** What `find` would, from the newest tasks of the node; null: they do not go back far enough. */
  async findIn(
    rows: readonly TaskRow[],
    search: TaskSearch,
    signal: AbortSignal,
  ): Promise<TaskSearchResult | null> {
    const sinceS = await this.#sinceS(search, signal);
    const lastEndS = rows.at(-1)?.endtime ?? Number.POSITIVE_INFINITY;
    const isWhole = rows.length < RECENT_LIMIT || lastEndS <= sinceS;
    return isWhole ? this.#select(rows, search, sinceS) : null;
  }

  /** On the node's clock. */
  async #sinceS({ sinceMs }: TaskSearch, signal: AbortSignal): Promise<number> {
    const offsetMs = await this.#nodeClock.offsetMs(signal);
    const marginMs = offsetMs === null ? UNKNOWN_CLOCK_MARGIN_MS : SEARCH_MARGIN_MS;
    return Math.max(0, Math.floor((sinceMs + (offsetMs ?? 0) - marginMs) / 1000));
  }

  #select(rows: readonly TaskRow[], search: TaskSearch, sinceS: number): TaskSearchResult {
    const bound = search.newerThan === null ? null : readUpid(search.newerThan);
    const found = rows.filter((row) => {
      const fields = readUpid(row.upid);
      const isOther = upidVmid(fields) !== search.guest.vmid || fields.startedS < sinceS;
      return !isOther && (bound === null || beganLater(fields, bound));
    });
    return { kind: 'found', tasks: found.map((row) => this.#toFound(row)) };
  }

  /** What a list tells of its tasks; one that has failed is left out, its log says why. */
  toStatuses(rows: readonly TaskRow[]): ReadonlyMap<Upid, TaskStatus> {
    const statuses = new Map<Upid, TaskStatus>();
    for (const row of rows) {
      if (isRunning(row)) statuses.set(row.upid, { kind: 'running' });
      else if (row.status === 'OK') {
        statuses.set(row.upid, { kind: 'ended', end: { kind: 'ok', exitStatus: row.status } });
      }
    }
    return statuses;
  }

  /** Those that work on something: who looks on is left out. */
  toRunning(rows: readonly TaskRow[]): readonly RunningTask[] {
    return rows.filter(isRunning).flatMap(({ upid }) => {
      const { type, id, user, startedS } = readUpid(upid);
      if (isConsole(type)) return [];
      const startedAtMs = this.#nodeClock.toAgentMs(startedS);
      const isOurs = user === this.#user;
      return [{ upid, type, vmid: parseVmid(id), user, startedAtMs, isOurs }];
    });
  }

  /** Of others: what our own ops have done to a guest, they have looked at. */
  toEnded(rows: readonly TaskRow[]): readonly EndedTask[] {
    return rows.flatMap((row) => {
      const fields = readUpid(row.upid);
      const vmid = upidVmid(fields);
      const isOther = fields.user !== this.#user && !isConsole(fields.type);
      return vmid === null || isRunning(row) || !isOther ? [] : [{ upid: row.upid, vmid }];
    });
  }

  /** Bulk tasks running, or begun since `sinceMs` (our clock); null: all that the rows show. */
  toBulk(rows: readonly TaskRow[], sinceMs: number | null): readonly BulkTask[] {
    const found: BulkTask[] = [];
    for (const row of rows) {
      const { type, startedS } = readUpid(row.upid);
      if (!isBulkType(type)) continue;
      const startedAtMs = this.#nodeClock.toAgentMs(startedS);
      const endedAtMs = isRunning(row) ? null : this.#nodeClock.toAgentMs(row.endtime ?? startedS);
      const isRecent = sinceMs === null || startedAtMs >= sinceMs - SEARCH_MARGIN_MS;
      if (endedAtMs === null || isRecent) {
        found.push({ upid: row.upid, type, startedAtMs, endedAtMs });
      }
    }
    return found;
  }

  /** The last replacement of the guest under a vmid. */
  toReplaced(rows: readonly TaskRow[]): ReadonlyMap<Vmid, Replacement> {
    const replaced = new Map<Vmid, Replacement>();
    for (const row of rows) {
      const fields = readUpid(row.upid);
      const vmid = upidVmid(fields);
      const isReplaced = ROLES[fields.type] === 'replaces' && stateOf(row) === 'succeeded';
      if (vmid === null || !isReplaced || row.endtime === undefined) continue;
      const other = replaced.get(vmid);
      if (other !== undefined && beganLater(readUpid(other.upid), fields)) continue;
      replaced.set(vmid, {
        upid: row.upid,
        endedAtMs: this.#nodeClock.toAgentMs(row.endtime),
      });
    }
    return replaced;
  }

  #toFound(row: TaskRow): FoundTask {
    const { type, user, startedS } = readUpid(row.upid);
    return {
      upid: row.upid,
      role: ROLES[type] ?? 'other',
      isOurs: user === this.#user,
      state: stateOf(row),
      startedAtMs: this.#nodeClock.toAgentMs(startedS),
    };
  }

  #list(
    query: Readonly<Record<string, string | number>>,
    signal: AbortSignal,
    began?: () => void,
  ): Promise<Result<TaskRow[]>> {
    const request = readRequest('/nodes/{node}/tasks', { node: this.#api.node }, query);
    return this.#api.ask(taskRows, request, signal, began);
  }

  async #end(
    upid: Upid,
    status: z.output<typeof taskStatus>,
    signal: AbortSignal,
  ): Promise<TaskEnd> {
    const said = status.exitstatus?.trim() || 'unexpected status';
    const exitStatus = shorten(said, LOG_LINE_MAX_CHARS);
    const kind = exitKind(exitStatus);
    switch (kind) {
      case 'ok':
        return { kind, exitStatus };
      case 'warning':
      case 'unknown':
        return { kind, exitStatus, log: await this.#log(upid, signal) };
      case 'error': {
        const problem: Problem = { code: classifyExit(exitStatus), message: exitStatus };
        return { kind, exitStatus, problem, log: await this.#log(upid, signal) };
      }
      default:
        return assertNever(kind);
    }
  }

  /** First and last lines; empty where the log cannot be read (any more). */
  async #log(upid: Upid, signal: AbortSignal): Promise<readonly string[]> {
    const head = await this.#logPage(upid, 0, signal);
    if (head.kind === 'failure') return [];
    const lines = head.value.map(({ t }) => shorten(t, LOG_LINE_MAX_CHARS));
    if (head.total > lines.length && lines.length >= LOG_LINES_KEPT) {
      const start = Math.max(LOG_LINES_KEPT, head.total - LOG_LINES_KEPT);
      const tail = await this.#logPage(upid, start, signal);
      if (tail.kind === 'value')
        lines.push(...tail.value.map(({ t }) => shorten(t, LOG_LINE_MAX_CHARS)));
    }
    return isMadeUp(lines) ? [] : lines;
  }

  #logPage(
    upid: Upid,
    start: number,
    signal: AbortSignal,
  ): Promise<Result<z.output<typeof taskLog>>> {
    const values = { node: this.#api.node, upid };
    const query = { start, limit: LOG_LINES_KEPT };
    const request = readRequest('/nodes/{node}/tasks/{upid}/log', values, query);
    return this.#api.ask(taskLog, request, signal);
  }
}

/** PVE's words for an empty log and for a missing one [task_log_paging, task_status_errors]. */
function isMadeUp(lines: readonly string[]): boolean {
  return lines.length === 1 && /^(?:no content|unable to open file)/.test(lines[0] ?? '');
}

function exitKind(exitStatus: string): 'ok' | 'warning' | 'error' | 'unknown' {
  if (exitStatus === 'OK') return 'ok';
  if (/^WARNINGS: \d+$/.test(exitStatus)) return 'warning';
  return exitStatus === 'unexpected status' ? 'unknown' : 'error';
}

function stateOf(row: TaskRow): FoundTask['state'] {
  if (isRunning(row)) return 'running';
  const kind = exitKind(row.status ?? '');
  return kind === 'ok' || kind === 'warning' ? 'succeeded' : 'failed';
}

function isRunning(row: TaskRow): boolean {
  return row.endtime === undefined && (row.status === undefined || row.status === 'RUNNING');
}
