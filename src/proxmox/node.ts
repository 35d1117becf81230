/** One PVE node, put together: the `GuestApi` of the core and what doctor and metrics ask. */
import type { Clock, Random } from '../reconcile/clock.ts';
import type { Problem } from '../reconcile/errors.ts';
import type { Upid } from '../reconcile/ids.ts';
import type { GuestApi } from '../reconcile/ports.ts';
import { Access } from './access.ts';
import { version } from './answers.ts';
import { PveApi } from './api.ts';
import { GuestChanges } from './changes.ts';
import { PveClient, type RequestInfo } from './client.ts';
import { GuestLists } from './guest-lists.ts';
import { GuestReads } from './guest-reads.ts';
import { Looks } from './looks.ts';
import { NodeClock } from './node-clock.ts';
import type { Permissions } from './permissions.ts';
import { readRequest } from './request.ts';
import { TaskWatcher } from './task-watcher.ts';
import { type TaskLogPage, TaskReader } from './tasks.ts';
import type { PveToken } from './token.ts';
import type { TlsTrust } from './trust.ts';

export interface ProxmoxOptions {
  /** `https://HOST:PORT`. */
  readonly url: string;
  readonly node: string;
  readonly token: PveToken;
  readonly tls: TlsTrust;
  readonly clock: Clock;
  readonly random: Random;
  /** Called for each request that was sent, when it has ended. Must not throw. */
  readonly onRequest?: (info: RequestInfo) => void;
}

type Asked<T> =
  | { readonly kind: 'value'; readonly value: T }
  | { readonly kind: 'failure'; readonly problem: Problem };

interface PveVersion {
  readonly version: string;
  readonly release: string;
}

export interface Proxmox {
  readonly guests: GuestApi;
  version(signal: AbortSignal): Promise<Asked<PveVersion>>;
  /** What the token may do: path to privilege to "passes on to what is below". Read anew. */
  permissions(signal: AbortSignal): Promise<Asked<Permissions>>;
  /** The node's clock minus ours in ms; null where the token may not read it (Sys.Audit). */
  clockOffsetMs(signal: AbortSignal): Promise<number | null>;
  /** A task's log from the line `start` on, a page of it; null where it cannot be read. */
  taskLog(upid: Upid, start: number, signal: AbortSignal): Promise<TaskLogPage | null>;
  /** Cuts what is under way; afterwards nothing is left open. */
  close(): Promise<void>;
}

/** Throws `config_invalid` for a URL, CA or fingerprint that cannot be used. Sends nothing. */
export function createProxmox(options: ProxmoxOptions): Proxmox {
  const { clock } = options;
  const closed = new AbortController();
  const client = new PveClient(options);
  const api = new PveApi(client, options.node);
  const nodeClock = new NodeClock(api, clock);
  const tasks = new TaskReader({ api, nodeClock, user: options.token.user });
  const access = new Access(api, clock, closed.signal);
  const lists = new GuestLists(api, tasks, clock, closed.signal);
  const watcher = new TaskWatcher(
    {
      status: (upid, signal) => tasks.status(upid, signal),
      listed: async (signal) => {
        const rows = await lists.tasks(clock.monotonicMs(), signal);
        return rows.kind === 'value' ? tasks.toStatuses(rows.value) : null;
      },
    },
    clock,
  );
  const reads = new GuestReads(api, clock);
  const looks = new Looks({ api, lists, reads, access, tasks, nodeClock, clock });
  const changes = new GuestChanges(api, nodeClock, clock);
  return {
    guests: {
      observe: (request, signal) => looks.observe(request, signal),
      lookAtNode: (signal) => looks.lookAtNode(signal),
      look: (request, signal) => looks.look(request, signal),
      start: (guest, signal) => changes.start(guest, signal),
      stop: (guest, params, signal) => changes.stop(guest, params, signal),
      setConfig: (guest, change, signal) => changes.setConfig(guest, change, signal),
      awaitTask: (upid, signal) => watcher.follow(upid, signal),
      taskStatus: (upid, signal) => tasks.status(upid, signal),
      findTasks: (search, signal) => looks.findTasks(search, signal),
    },
    version: (signal) => api.ask(version, readRequest('/version'), signal),
    permissions: (signal) => access.permissions(clock.monotonicMs(), signal),
    clockOffsetMs: (signal) => nodeClock.offsetMs(signal),
    taskLog: (upid, start, signal) => tasks.logFrom(upid, start, signal),
    close: async () => {
      closed.abort();
      watcher.close();
      await client.close();
    },
  };
}
