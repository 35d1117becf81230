/**
 * startall, stopall and suspendall: a task of the node with an empty id, whose children carry the
 * caller's name. The parent is OK even if children fail (PVE-FACTS 43).
 */
import { permissionError } from './api-error.ts';
import { type Call, ok, Params, type Result, type Routes } from './call.ts';
import { type Guest, haSid, noun, taskPrefix } from './guest.ts';
import { requestPower, shutdownWork, startWork } from './power.ts';
import { hasPrivilege } from './principal.ts';
import { propertyOf } from './property-string.ts';
import { type Task, TaskError, type TaskWork } from './tasks.ts';

const DEFAULT_STOP_S = 180;

/** Without `vms` the privilege is needed on /, with it on each guest. */
function selectGuests(call: Call): Guest[] {
  const text = call.params.text('vms');
  const vmids = text?.split(/[,;\s]+/).filter((item) => item !== '');
  const paths = vmids === undefined ? ['/'] : vmids.map((vmid) => `/vms/${vmid}`);
  for (const path of paths) {
    if (!hasPrivilege(call.principal, path, 'VM.PowerMgmt')) {
      throw permissionError(path, 'VM.PowerMgmt');
    }
  }
  return call.node
    .allGuests()
    .filter((guest) => vmids === undefined || vmids.includes(String(guest.vmid)))
    .sort((a, b) => startupOrder(a) - startupOrder(b));
}

/** `startup: order=N`; guests without one come last. */
function startupOrder(guest: Guest): number {
  const startup = guest.config.current.get('startup');
  const order = propertyOf(startup, 'order') ?? /^\d+$/.exec(startup ?? '')?.[0];
  return order === undefined || order === null ? Number.MAX_SAFE_INTEGER : Number(order);
}

function parent(call: Call, type: string, work: TaskWork): Result {
  return ok(call.node.tasks.start(type, '', call.principal, work).upid);
}

async function child(call: Call, type: string, guest: Guest, work: TaskWork): Promise<string> {
  return call.node.tasks.start(type, String(guest.vmid), call.principal, work).done;
}

function startAll(call: Call): Result {
  const { node, params } = call;
  const isForced = params.flag('force');
  const guests = selectGuests(call);
  return parent(call, 'startall', async (task) => {
    for (const guest of guests) {
      const { current } = guest.config;
      const isWanted = isForced || current.get('onboot') === '1';
      const isOff = guest.run.kind === 'stopped' && current.get('template') !== '1';
      if (!isWanted || !isOff || node.ha.isManaged(haSid(guest))) continue;
      task.log.push(`Starting ${noun(guest.kind)} ${guest.vmid}`);
      const type = `${taskPrefix(guest.kind)}start`;
      await child(call, type, guest, startWork(node, guest.kind, guest.vmid));
      await startupDelay(call, guest, task);
    }
  });
}

async function startupDelay(call: Call, guest: Guest, task: Task): Promise<void> {
  const up = propertyOf(guest.config.current.get('startup'), 'up');
  if (up === null) return;
  task.log.push(`Waiting for ${up} seconds (startup delay)`);
  await call.node.clock.sleep(Number(up) * 1000, task.signal);
}

function stopAll(call: Call): Result {
  const { node, params } = call;
  const guests = selectGuests(call).reverse();
  const isSelected = params.text('vms') !== null;
  const isForced = params.text('force-stop') !== '0';
  return parent(call, 'stopall', async (task) => {
    for (const guest of guests) {
      if (guest.run.kind === 'stopped') continue;
      const isManaged = node.ha.isManaged(haSid(guest));
      if (isManaged && !isSelected) continue;
      const timeoutS = stopTimeoutS(call, guest);
      task.log.push(`Stopping ${noun(guest.kind)} ${guest.vmid} (timeout = ${timeoutS} seconds)`);
      if (isManaged) {
        const asked = new Params(
          new Map([
            ['vmid', guest.vmid],
            ['timeout', timeoutS],
          ]),
        );
        requestPower({ ...call, params: asked }, guest.kind, 'shutdown');
        continue;
      }
      const how = { timeoutS, isForced };
      const type = `${taskPrefix(guest.kind)}shutdown`;
      await child(call, type, guest, shutdownWork(node, guest.kind, guest.vmid, how));
    }
  });
}

/** `startup: down=N` wins over the request's timeout. */
function stopTimeoutS(call: Call, guest: Guest): number {
  const down = propertyOf(guest.config.current.get('startup'), 'down');
  return down === null ? (call.params.integer('timeout') ?? DEFAULT_STOP_S) : Number(down);
}

/** A host whose QEMU cannot save its state, as the recorded one: the lock stays behind. */
function suspendAll(call: Call): Result {
  const guests = selectGuests(call);
  return parent(call, 'suspendall', async (task) => {
    for (const guest of guests) {
      if (guest.kind !== 'qemu' || guest.run.kind === 'stopped') continue;
      task.log.push(`Suspending VM ${guest.vmid}`);
      await child(call, 'qmsuspend', guest, async () => {
        guest.config.current.set('lock', 'suspending');
        guest.config.touch();
        const why =
          "qmp command 'savevm-start' failed - The command savevm-start has not been found";
        throw new TaskError(`VM ${guest.vmid} ${why}`);
      });
    }
  });
}

export const bulkRoutes: Routes = {
  'POST /nodes/{node}/startall': startAll,
  'POST /nodes/{node}/stopall': stopAll,
  'POST /nodes/{node}/suspendall': suspendAll,
};
