/**
 * UPIDs: PVE's names of tasks, `UPID:node:pid:pstart:starttime:type:id:user:`. The text is the
 * identity; the fields are read from it here and nowhere else.
 */
import { parseUpid, parseVmid, type Upid, type Vmid } from '../reconcile/ids.ts';
import type { TaskStart } from '../reconcile/task-order.ts';

/** `pstart` has 8 or 9 hex digits (PVE-FACTS 16). */
export interface UpidFields extends TaskStart {
  readonly node: string;
  readonly pid: number;
  readonly type: string;
  /** Mostly a vmid; empty for a task of the node. */
  readonly id: string;
  /** `user@realm`, or `user@realm!tokenid`. */
  readonly user: string;
}

export function readUpid(upid: Upid): UpidFields {
  const [, node = '', pid = '', pstart = '', started = '', type = '', id = '', user = ''] =
    upid.split(':');
  return {
    node,
    pid: Number.parseInt(pid, 16),
    pstart: Number.parseInt(pstart, 16),
    startedS: Number.parseInt(started, 16),
    type,
    id,
    user,
  };
}

/** Null if the fields cannot make one. */
export function formatUpid(fields: UpidFields): Upid | null {
  const { node, pid, pstart, startedS, type, id, user } = fields;
  return parseUpid(
    `UPID:${node}:${hex(pid)}:${hex(pstart)}:${hex(startedS)}:${type}:${id}:${user}:`,
  );
}

/** The guest a task is about; null for a task of the node or of something else. */
export function upidVmid(fields: UpidFields): Vmid | null {
  return parseVmid(fields.id);
}

function hex(value: number): string {
  return value.toString(16).toUpperCase().padStart(8, '0');
}
