/** A task as its status, the node's list and /cluster/tasks show it (PVE-FACTS 16, 17). */
import { fullName, type Principal } from './principal.ts';
import type { Task } from './tasks.ts';

type Row = Record<string, unknown>;

/** In status and archive the token stands apart from the user. */
function owner(principal: Principal): Row {
  return principal.tokenId === null
    ? { user: principal.user }
    : { user: principal.user, tokenid: principal.tokenId };
}

export function statusOfTask(task: Task): Row {
  return {
    upid: task.upid,
    node: task.node,
    pid: task.pid,
    pstart: task.pstart,
    starttime: task.starttime,
    type: task.type,
    id: task.id,
    ...owner(task.owner),
    status: task.end === null ? 'running' : 'stopped',
    ...(task.end === null ? {} : { exitstatus: task.end.status }),
  };
}

export function nodeTaskRow(task: Task): Row {
  const row = {
    upid: task.upid,
    node: task.node,
    pid: task.pid,
    pstart: task.pstart,
    starttime: task.starttime,
    type: task.type,
    id: task.id,
  };
  if (task.end === null) {
    return { ...row, user: fullName(task.owner), status: 'RUNNING', saved: '0' };
  }
  return { ...row, ...owner(task.owner), endtime: task.end.time, status: task.end.status };
}

/** `saved` is a number at first and text once the list was read back from disk. */
export function clusterTaskRow(task: Task, nowS: number): Row {
  const row = {
    upid: task.upid,
    node: task.node,
    starttime: task.starttime,
    type: task.type,
    id: task.id,
    ...owner(task.owner),
  };
  if (task.end === null) return row;
  return {
    ...row,
    endtime: task.end.time,
    status: task.end.status,
    saved: nowS - task.end.time <= 1 ? 1 : '1',
  };
}

export type TaskState = 'ok' | 'warning' | 'error' | 'unknown';

export function stateOfTask(task: Task): TaskState {
  const status = task.end?.status ?? '';
  if (status === 'OK') return 'ok';
  if (status.startsWith('WARNINGS: ')) return 'warning';
  return status === 'unexpected status' || status === '' ? 'unknown' : 'error';
}
