/** /cluster/ha: resources, status, arming (PVE-FACTS 38, 39, 42). */
import { internalError } from './api-error.ts';
import { type Call, ok, type Result, type Routes } from './call.ts';
import type { HaManager, Requested, Resource } from './ha.ts';
import type { Service } from './ha-service.ts';

type Row = Record<string, unknown>;

/** `103` means vm:103 or ct:103, whichever there is. */
function sidOf(call: Call): string {
  const text = call.params.text('sid') ?? '';
  if (text.includes(':')) return text;
  return call.node.guests.get(Number(text))?.kind === 'lxc' ? `ct:${text}` : `vm:${text}`;
}

function resourceRow(ha: HaManager, sid: string): Row {
  const { requested, extra } = ha.requireResource(sid);
  const digest = ha.digest();
  return { sid, type: sid.split(':')[0], state: requested, ...Object.fromEntries(extra), digest };
}

const EXTRA = ['comment', 'failback', 'group', 'max_relocate', 'max_restart'];

function extraOf(call: Call): [string, string][] {
  return call.params
    .entries()
    .filter((entry): entry is [string, string] => EXTRA.includes(entry[0]) && entry[1] !== null);
}

function requestedOf(call: Call): Requested | null {
  return call.params.text('state') as Requested | null;
}

function addResource(call: Call): Result {
  const sid = sidOf(call);
  const vmid = Number(sid.split(':')[1]);
  const isVm = sid.startsWith('vm:');
  if (call.node.findGuest(isVm ? 'qemu' : 'lxc', vmid) === null) {
    throw internalError(`cannot add resource '${sid}', service does not exist`);
  }
  call.node.ha.addResource(sid, requestedOf(call) ?? 'started', extraOf(call));
  return ok(null);
}

/** How the service looks to people, between what is requested and what the CRM says. */
function shownState(ha: HaManager, sid: string, service: Service | undefined): string {
  const requested = ha.resources.get(sid)?.requested;
  if (requested === undefined) return 'deleting';
  if (requested === 'ignored') return 'ignored';
  if (service === undefined) return 'queued';
  if ('mode' in ha.armed && ha.armed.mode === 'ignore') return 'ignore';
  const isUp = requested === 'started' || requested === 'enabled';
  if (service.state === 'started') {
    if (!isUp) return 'stopping';
    return service.isRunning ? 'started' : 'starting';
  }
  if (service.state === 'stopped') {
    if (isUp) return 'starting';
    return requested === 'disabled' ? 'disabled' : 'stopped';
  }
  if (service.state === 'error' && requested === 'disabled') return 'clearing error flag';
  return service.state;
}

function serviceRow(ha: HaManager, sid: string): Row {
  const service = ha.services.get(sid);
  const resource = ha.resources.get(sid);
  const state = shownState(ha, sid, service);
  return {
    id: `service:${sid}`,
    type: 'service',
    sid,
    node: ha.node.name,
    state,
    status: `${sid} (${ha.node.name}, ${state})`,
    ...(service === undefined ? {} : { crm_state: service.state }),
    ...(resource === undefined ? {} : configuredRow(resource)),
  };
}

function configuredRow({ requested, extra }: Resource): Row {
  return {
    request_state: requested,
    max_restart: Number(extra.get('max_restart') ?? 1),
    max_relocate: Number(extra.get('max_relocate') ?? 1),
    failback: Number(extra.get('failback') ?? 1),
  };
}

/** `Sat Nov 21 00:33:50 2026` */
function asctime(seconds: number): string {
  const [day, date, month, year, time] = new Date(seconds * 1000).toUTCString().split(/,? /);
  return `${day} ${month} ${date?.replace(/^0/, ' ')} ${time} ${year}`;
}

function armedRows(ha: HaManager): Row[] {
  const node = ha.node.name;
  const { armed } = ha;
  const isOff = 'mode' in armed;
  const suffix = isOff ? `, resource mode: ${armed.mode}` : '';
  const watchdog =
    armed.kind === 'disarmed' ? 'released' : armed.kind === 'standby' ? 'standby' : 'active';
  const armedSuffix = isOff ? ` - ${armed.kind}${suffix}` : '';
  const fencing = {
    id: 'fencing',
    type: 'fencing',
    node,
    'armed-state': armed.kind,
    status: `${armed.kind}${suffix} (CRM watchdog ${watchdog})`,
    ...(isOff ? { resource_mode: armed.mode } : {}),
  };
  if (ha.lastCrmS === 0) return [fencing];
  const lrmMode = ha.isLrmDisarmed ? 'disarm mode, watchdog released' : 'active, watchdog active';
  return [
    {
      id: 'master',
      type: 'master',
      node,
      timestamp: ha.lastCrmS,
      status: `${node} (active, ${asctime(ha.lastCrmS)})${armedSuffix}`,
    },
    fencing,
    {
      id: `lrm:${node}`,
      type: 'lrm',
      node,
      timestamp: ha.lastLrmS,
      status: `${node} (${lrmMode}, ${asctime(ha.lastLrmS)})`,
    },
  ];
}

function currentStatus({ node }: Call): Result {
  const { ha } = node;
  const quorum = {
    id: 'quorum',
    type: 'quorum',
    node: node.name,
    status: ha.isQuorate ? 'OK' : 'No quorum on node!',
    quorate: ha.isQuorate ? 1 : 0,
  };
  const sids = new Set([...ha.sids(), ...ha.services.keys()]);
  return ok([quorum, ...armedRows(ha), ...[...sids].map((sid) => serviceRow(ha, sid))]);
}

function managerStatus({ node }: Call): Result {
  const { ha } = node;
  const quorum = { node: node.name, quorate: ha.isQuorate ? '1' : '0' };
  if (ha.lastCrmS === 0) return ok({ manager_status: { node_status: {} }, quorum });
  const services = [...ha.services].map(
    ([sid, service]) => [sid, { node: node.name, ...serviceStatus(service, node.name) }] as const,
  );
  const results = [...ha.results].map(([uid, { sid, state, exitCode }]) => [
    uid,
    { sid, state, exit_code: exitCode },
  ]);
  const isDisarmed = ha.isLrmDisarmed;
  return ok({
    quorum,
    manager_status: {
      master_node: node.name,
      node_status: { [node.name]: 'online' },
      service_status: Object.fromEntries(services),
      timestamp: ha.lastCrmS,
      ...('mode' in ha.armed ? { disarm: { mode: ha.armed.mode, state: ha.armed.kind } } : {}),
    },
    lrm_status: {
      [node.name]: {
        mode: isDisarmed ? 'disarm' : 'active',
        state: isDisarmed ? 'wait_for_agent_lock' : 'active',
        results: Object.fromEntries(results),
        timestamp: ha.lastLrmS,
      },
    },
  });
}

function serviceStatus(service: Service, node: string): Row {
  return {
    state: service.state,
    uid: service.uid,
    ...(service.isRunning ? { running: 1 } : {}),
    ...(service.timeout === null ? {} : { timeout: service.timeout }),
    ...(service.cmd === null ? {} : { cmd: service.cmd }),
    ...(service.failures === 0 ? {} : { failed_nodes: Array(service.failures).fill(node) }),
  };
}

function arm(call: Call, wanted: 'arm' | 'freeze' | 'ignore'): Result {
  call.node.ha.wanted = wanted;
  return ok(null);
}

const resources = '/cluster/ha/resources';

export const haRoutes: Routes = {
  [`POST ${resources}/{sid}/migrate`]: () => {
    throw internalError('there is no other node');
  },
  'GET /cluster/ha': () => ok(['status', 'resources', 'groups', 'rules'].map((id) => ({ id }))),
  'GET /cluster/ha/groups': () => {
    throw internalError('cannot index groups: ha groups have been migrated to rules');
  },
  'GET /cluster/ha/rules': () => ok([]),
  'GET /cluster/ha/status': () =>
    ok(['current', 'manager_status', 'disarm-ha', 'arm-ha'].map((name) => ({ name }))),
  'GET /cluster/ha/status/current': currentStatus,
  'GET /cluster/ha/status/manager_status': managerStatus,
  'POST /cluster/ha/status/arm-ha': (call) => arm(call, 'arm'),
  'POST /cluster/ha/status/disarm-ha': (call) =>
    arm(call, call.params.text('resource-mode') === 'ignore' ? 'ignore' : 'freeze'),
  [`GET ${resources}`]: ({ node }) => ok(node.ha.sids().map((sid) => resourceRow(node.ha, sid))),
  [`POST ${resources}`]: addResource,
  [`GET ${resources}/{sid}`]: (call) => ok(resourceRow(call.node.ha, sidOf(call))),
  [`PUT ${resources}/{sid}`]: (call) => {
    call.node.ha.updateResource(sidOf(call), requestedOf(call), extraOf(call));
    return ok(null);
  },
  [`DELETE ${resources}/{sid}`]: (call) => {
    call.node.ha.removeResource(sidOf(call));
    return ok(null);
  },
};
