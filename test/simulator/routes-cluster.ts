/** What is true of the node and the cluster: versions, time, status, resources, permissions. */
import { type Call, ok, type Result, type Routes } from './call.ts';
import { haSid } from './guest.ts';
import { resourceRow } from './guest-rows.ts';
import { hasPrivilege, privilegesAt } from './principal.ts';

const VERSION = { release: '9.2', repoid: '14a22df3b2f6ab2c', version: '9.2.11' };
const MEMORY_BYTES = 25_276_510_208;
const DISK_BYTES = 270_553_174_016;
const FIRST_VMID = 100;

function load(): Record<string, unknown> {
  return { cpu: 0.0647, mem: 905_609_216, disk: 24_363_253_760 };
}

function uptimeS(call: Call): number {
  return Math.floor(call.node.clock.uptimeMs() / 1000);
}

function nodes(call: Call): Result {
  const { node, principal } = call;
  const row = {
    id: `node/${node.name}`,
    level: '',
    node: node.name,
    type: 'node',
    status: 'online',
    ssl_fingerprint: node.fingerprint,
  };
  if (!hasPrivilege(principal, `/nodes/${node.name}`, 'Sys.Audit')) return ok([row]);
  const capacity = { maxcpu: 2, maxmem: MEMORY_BYTES, maxdisk: DISK_BYTES };
  return ok([{ ...row, uptime: uptimeS(call), ...load(), ...capacity }]);
}

function nodeStatus(call: Call): Result {
  return ok({
    uptime: uptimeS(call),
    cpu: 0.0743515850144092,
    wait: 0.00115273775216138,
    idle: 0,
    loadavg: ['0.00', '0.20', '0.26'],
    kversion: 'Linux 6.18.44-simulated #1 SMP PREEMPT_DYNAMIC @0',
    pveversion: `pve-manager/${VERSION.version}/${VERSION.repoid}`,
    'boot-info': { mode: 'legacy-bios' },
    'current-kernel': {
      sysname: 'Linux',
      release: '6.18.44-simulated',
      version: '#1 SMP PREEMPT_DYNAMIC @0',
      machine: 'x86_64',
    },
    cpuinfo: {
      model: 'Simulated CPU',
      vendor: 'AuthenticAMD',
      family: '26',
      mhz: '2596.096',
      flags: 'fpu',
      hvm: '',
      cores: 2,
      cpus: 2,
      sockets: 1,
      user_hz: 100,
    },
    ksm: { shared: 0 },
    swap: { total: 0, free: 0, used: 0 },
    memory: {
      total: MEMORY_BYTES,
      used: 907_264_000,
      free: 24_424_747_008,
      available: 24_369_246_208,
    },
    rootfs: {
      total: DISK_BYTES,
      used: 24_363_245_568,
      free: 246_189_928_448,
      avail: 84_581_048_320,
    },
  });
}

function nodeTime(call: Call): Result {
  const time = call.node.clock.nowS();
  return ok({ time, localtime: time, timezone: 'UTC' });
}

/** A node on its own has no `cluster` row; one that lost its cluster has, without quorum. */
function clusterStatus(call: Call): Result {
  const { name, ha } = call.node;
  const node = {
    id: `node/${name}`,
    type: 'node',
    name,
    nodeid: ha.isQuorate ? 0 : 1,
    ip: '192.0.2.2',
    online: 1,
    local: 1,
    level: '',
  };
  if (ha.isQuorate) return ok([node]);
  const cluster = { id: 'cluster', type: 'cluster', name: 'lab', nodes: 3, version: 3, quorate: 0 };
  return ok([cluster, node]);
}

function nextId(call: Call): Result {
  let vmid = FIRST_VMID;
  while (call.node.guests.has(vmid) || call.node.elsewhere.has(vmid)) vmid += 1;
  return ok(String(vmid));
}

function clusterOptions(call: Call): Result {
  const open = { 'allowed-tags': [] };
  if (!hasPrivilege(call.principal, '/', 'Sys.Audit')) return ok(open);
  return ok({ ...open, keyboard: 'en-us', description: '', mac_prefix: 'BC:24:11' });
}

function resources(call: Call): Result {
  const { node, principal } = call;
  const type = call.params.text('type');
  const rows: Record<string, unknown>[] = [];
  if (type === null || type === 'vm') rows.push(...guestResources(call));
  const isAuditor = hasPrivilege(principal, `/nodes/${node.name}`, 'Sys.Audit');
  if ((type === null || type === 'node') && isAuditor) {
    const capacity = { maxcpu: 2, maxmem: MEMORY_BYTES, maxdisk: DISK_BYTES, 'cgroup-mode': 1 };
    const id = `node/${node.name}`;
    const what = { id, node: node.name, type: 'node', status: 'online', level: '' };
    rows.push({ ...what, uptime: uptimeS(call), ...load(), ...capacity });
  }
  if ((type === null || type === 'storage') && isAuditor) {
    const use = { disk: 24_363_253_760, maxdisk: DISK_BYTES, shared: 0, status: 'available' };
    const id = `storage/${node.name}/local`;
    const content = 'images,import,snippets,iso,vztmpl,backup,rootdir';
    const what = { id, storage: 'local', node: node.name, type: 'storage', plugintype: 'dir' };
    rows.push({ ...what, content, ...use });
  }
  if ((type === null || type === 'sdn') && isAuditor) {
    const id = `network/${node.name}/zone/localnetwork`;
    const what = { network: 'localnetwork', 'network-type': 'zone', type: 'network' };
    rows.push({ id, node: node.name, status: 'ok', ...what });
  }
  return ok(rows);
}

function guestResources(call: Call): Record<string, unknown>[] {
  const { node, principal } = call;
  const isVisible = (vmid: number): boolean => hasPrivilege(principal, `/vms/${vmid}`, 'VM.Audit');
  const here = node
    .allGuests()
    .filter((guest) => isVisible(guest.vmid))
    .map((guest) => {
      const status = node.broadcastStatus(guest);
      const hastate = node.ha.hastate(haSid(guest));
      return resourceRow(guest, node.clock.monotonicMs(), { node: node.name, status, hastate });
    });
  const there = [...node.elsewhere]
    .filter(([vmid]) => isVisible(vmid))
    .map(([vmid, { node: at, kind }]) => ({
      id: `${kind}/${vmid}`,
      vmid,
      type: kind,
      node: at,
      status: 'unknown',
      template: 0,
    }));
  return [...here, ...there];
}

const ROOT_PATHS = [
  '/',
  '/access',
  '/access/groups',
  '/nodes',
  '/pool',
  '/sdn',
  '/storage',
  '/vms',
];

function permissions(call: Call): Result {
  const { principal, params } = call;
  const flags = (path: string): Record<string, number> =>
    Object.fromEntries([...privilegesAt(principal, path)].map((name) => [name, 1]));
  const asked = params.text('path');
  if (asked !== null) return ok({ [asked]: flags(asked) });
  const paths = principal.acl.has('/') || principal.isRoot ? ROOT_PATHS : [];
  const all = new Set([...paths, ...principal.acl.keys()]);
  const rows = [...all].map((path) => [path, flags(path)] as const);
  return ok(Object.fromEntries(rows.filter(([, held]) => Object.keys(held).length > 0)));
}

export const clusterRoutes: Routes = {
  'GET /version': () => ok(VERSION),
  'GET /nodes': nodes,
  'GET /nodes/{node}/version': () => ok(VERSION),
  'GET /nodes/{node}/status': nodeStatus,
  'GET /nodes/{node}/time': nodeTime,
  'GET /nodes/{node}/storage': () => ok([]),
  'GET /cluster/status': clusterStatus,
  'GET /cluster/nextid': nextId,
  'GET /cluster/options': clusterOptions,
  'GET /cluster/resources': resources,
  'GET /access/permissions': permissions,
  'GET /access/ticket': () => ok(null),
};
