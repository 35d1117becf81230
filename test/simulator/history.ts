/**
 * What became of the guests and which tasks ran, with real times, for tests that compare a client's
 * own account with it. It is told of every change by the node, and looks at what is new.
 */
import type { Guest } from './guest.ts';
import { haSid } from './guest.ts';
import type { PveNode } from './node.ts';
import { fullName } from './principal.ts';
import type { Task } from './tasks.ts';

/** A guest as it was from `at` on. Times are RFC 3339 on the real clock. */
export interface GuestMoment {
  readonly at: string;
  readonly vmid: number;
  readonly status: 'running' | 'stopped' | 'gone';
  /** When it was started; null while stopped. */
  readonly booted_at: string | null;
  /** The HA manager's word; null where it does not manage the guest. */
  readonly ha_state: string | null;
  /** With what is pending applied. */
  readonly config: Readonly<Record<string, string>>;
}

export interface TaskRun {
  readonly upid: string;
  readonly type: string;
  readonly id: string;
  readonly user: string;
  readonly began_at: string;
  ended_at: string | null;
  exit_status: string | null;
}

export class History {
  readonly #node: PveNode;
  readonly #guests: GuestMoment[] = [];
  readonly #tasks: TaskRun[] = [];
  readonly #known = new Map<number, { guest: Guest; run: Guest['run']; sign: string }>();
  readonly #running = new Map<Task, TaskRun>();

  constructor(node: PveNode) {
    this.#node = node;
    this.sync();
  }

  get guests(): readonly GuestMoment[] {
    return this.#guests;
  }

  /** In the order in which they began. */
  get tasks(): readonly TaskRun[] {
    return this.#tasks;
  }

  sync(): void {
    const at = new Date().toISOString();
    this.#noteTasks(at);
    const { guests, ha } = this.#node;
    for (const guest of guests.values()) {
      const known = this.#known.get(guest.vmid);
      const haState = ha.isManaged(haSid(guest)) ? ha.hastate(haSid(guest)) : null;
      const sign = `${guest.config.version} ${haState}`;
      if (known?.guest === guest && known.run === guest.run && known.sign === sign) continue;
      this.#known.set(guest.vmid, { guest, run: guest.run, sign });
      this.#guests.push(describe(guest, at, haState));
    }
    for (const vmid of this.#known.keys()) {
      if (guests.has(vmid)) continue;
      this.#known.delete(vmid);
      const gone = { status: 'gone', booted_at: null, ha_state: null, config: {} } as const;
      this.#guests.push({ at, vmid, ...gone });
    }
  }

  #noteTasks(at: string): void {
    for (const task of this.#node.tasks.running().reverse()) {
      if (this.#running.has(task)) continue;
      const { upid, type, id, owner } = task;
      const user = fullName(owner);
      const run = { upid, type, id, user, began_at: at, ended_at: null, exit_status: null };
      this.#running.set(task, run);
      this.#tasks.push(run);
    }
    for (const [task, run] of this.#running) {
      if (task.end === null) continue;
      run.ended_at = at;
      run.exit_status = task.end.status;
      this.#running.delete(task);
    }
  }
}

function describe({ vmid, run, config }: Guest, at: string, haState: string | null): GuestMoment {
  const values = new Map(config.current);
  for (const [key, value] of config.pending) values.set(key, value);
  for (const key of config.pendingDeletes) values.delete(key);
  const bootedAt = run.kind === 'running' ? new Date(run.sinceMs).toISOString() : null;
  return {
    at,
    vmid,
    status: run.kind,
    booted_at: bootedAt,
    ha_state: haState,
    config: Object.fromEntries(values),
  };
}
