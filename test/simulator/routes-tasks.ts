/** /nodes/{node}/tasks and /cluster/tasks (PVE-FACTS 10, 16, 17). */
import { internalError, parameterError, permissionError } from './api-error.ts';
import { type Call, ok, type Result, type Routes } from './call.ts';
import { fullName, hasPrivilege, requirePrivilege } from './principal.ts';
import { clusterTaskRow, nodeTaskRow, stateOfTask, statusOfTask } from './task-rows.ts';
import type { Task } from './tasks.ts';
import { nodeOfUpid } from './upid.ts';

const DEFAULT_LIMIT = 50;
/** How many ended tasks the cluster-wide list keeps per node. */
const CLUSTER_TASKS = 25;

function isAuditor(call: Call): boolean {
  return hasPrivilege(call.principal, `/nodes/${call.node.name}`, 'Sys.Audit');
}

function isMine(call: Call, task: Task): boolean {
  return fullName(task.owner) === fullName(call.principal);
}

function listTasks(call: Call): Result {
  const { node, params } = call;
  const source = params.text('source') ?? 'archive';
  const isAll = isAuditor(call);
  const active = source === 'archive' ? [] : node.tasks.running();
  const archived = source === 'active' ? [] : node.tasks.archive();
  const tasks = [...active, ...archived].filter(
    (task) => (isAll || isMine(call, task)) && passesFilters(call, task),
  );
  const start = params.integer('start') ?? 0;
  const limit = params.integer('limit') ?? DEFAULT_LIMIT;
  const data = tasks.slice(start, limit === 0 ? undefined : start + limit).map(nodeTaskRow);
  // No match at all: `total` is left out (transcript task_list_filters).
  return tasks.length === 0 ? ok(data) : { data, total: tasks.length };
}

function passesFilters(call: Call, task: Task): boolean {
  const { params } = call;
  const vmid = params.text('vmid');
  const type = params.text('typefilter');
  const user = params.text('userfilter');
  const since = params.integer('since');
  const until = params.integer('until');
  const states = params.text('statusfilter')?.split(/[,;\s]+/);
  return (
    (vmid === null || task.id === vmid) &&
    (type === null || task.type === type) &&
    (user === null || fullName(task.owner).toLowerCase().includes(user.toLowerCase())) &&
    (since === null || task.starttime >= since) &&
    (until === null || task.starttime <= until) &&
    (states === undefined || states.includes(stateOfTask(task))) &&
    // Warnings count as errors here.
    (!params.flag('errors') || (task.end !== null && task.end.status !== 'OK'))
  );
}

/** 400 for what is no UPID or names no task we know. */
function requireTask(call: Call): Task {
  const upid = requireUpid(call);
  const task = call.node.tasks.find(upid);
  if (task === null) throw parameterError({ upid: 'no such task' });
  return task;
}

function requireUpid(call: Call): string {
  const upid = call.params.text('upid') ?? '';
  if (nodeOfUpid(upid) === null) throw parameterError({ upid: 'unable to parse worker upid' });
  return upid;
}

function requireAccess(call: Call, task: Task, privilege: string): void {
  if (isMine(call, task)) return;
  const path = `/nodes/${call.node.name}`;
  if (!hasPrivilege(call.principal, path, privilege)) throw permissionError(path, privilege);
}

function taskLog(call: Call): Result {
  const { params, node } = call;
  const task = node.tasks.find(requireUpid(call));
  if (task === null) {
    requirePrivilege(call.principal, `/nodes/${node.name}`, 'Sys.Audit');
    return { data: [{ n: 1, t: 'unable to open file - No such file or directory' }], total: 1 };
  }
  requireAccess(call, task, 'Sys.Audit');
  if (params.flag('download')) {
    if (params.text('start') !== null || params.text('limit') !== null) {
      throw internalError("'download' cannot be used together with 'start' or 'limit' parameters");
    }
    return { data: null, text: task.log.map((line) => `${line}\n`).join('') };
  }
  const lines = task.log.length === 0 ? ['no content'] : task.log;
  const start = params.integer('start') ?? 0;
  const limit = params.integer('limit') ?? DEFAULT_LIMIT;
  const data = lines
    .map((text, index) => ({ n: index + 1, t: text }))
    .slice(start, limit === 0 ? undefined : start + limit);
  return { data, total: lines.length };
}

/** The worker is asked to stop, and PVE waits a moment for it. */
async function stopTask(call: Call): Promise<Result> {
  const task = requireTask(call);
  requireAccess(call, task, 'Sys.Modify');
  if (task.end === null) {
    call.node.tasks.interrupt(task.upid);
    await call.node.clock.sleep(1000);
  }
  return ok(null);
}

/** Only auditors: `user` is compared after its token was cut off (transcript ha_restricted). */
function clusterTasks(call: Call): Result {
  if (!isAuditor(call)) return ok([]);
  const { tasks, clock } = call.node;
  const recent = tasks.archive().slice(0, CLUSTER_TASKS);
  const nowS = clock.nowS();
  return ok([...tasks.running(), ...recent].map((task) => clusterTaskRow(task, nowS)));
}

const one = '/nodes/{node}/tasks/{upid}';

export const taskRoutes: Routes = {
  'GET /nodes/{node}/tasks': listTasks,
  [`GET ${one}`]: () => ok([{ name: 'log' }, { name: 'status' }]),
  [`DELETE ${one}`]: stopTask,
  [`GET ${one}/status`]: (call) => {
    const task = requireTask(call);
    requireAccess(call, task, 'Sys.Audit');
    return ok(statusOfTask(task));
  },
  [`GET ${one}/log`]: taskLog,
  'GET /cluster/tasks': clusterTasks,
};
