/**
 * What the host itself shows of its guests, without a request (PVE-FACTS 29-31): a counter for each
 * config and for the cluster's files, and a file or a control group for each guest that runs.
 *
 * Two equal stamps mean that nothing has changed that could be seen here. Counters are pmxcfs' own
 * and begin again with it, so they are compared for inequality, together with its start time. A
 * mirror that nobody refreshes, or that is not understood, is none: the API is asked.
 */
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';

export interface SignPlaces {
  /** `.vmlist` and `.version`, kept up by pve-reconciler-look.service. */
  readonly mirror: string;
  /** A VM that runs has `VMID.pid` there. */
  readonly qemuRun: string;
  /** Below it `qemu.slice/VMID.scope` and `lxc/VMID` of those that run. */
  readonly cgroup: string;
}

export interface HostSigns {
  readonly stamp: string;
  /** Version of the config by vmid, with the start time it counts from. */
  readonly configs: ReadonlyMap<number, string>;
}

/** It is written every second. */
const MIRROR_AGE_MAX_MS = 10_000;

const counter = z.union([z.number(), z.string()]);

const versionFile = z.looseObject({
  starttime: counter,
  vmlist: counter,
  'user.cfg': counter.optional(),
  'ha/resources.cfg': counter.optional(),
  kvstore: z.record(z.string(), z.looseObject({ tasklist: counter.optional() })),
});

const vmlistFile = z.object({
  version: counter,
  ids: z.record(z.string(), z.object({ node: z.string(), type: z.string(), version: counter })),
});

/** Null: there is no mirror, it is stale, or it is not understood. Never throws. */
export type SignReader = (nowMs: number) => HostSigns | null;

/**
 * Of one node. It reads at once, as all of it lies in memory (tmpfs, control groups) and no read
 * ever waits: through the thread pool the same costs several times as much, every second.
 */
export function createSignReader(places: SignPlaces, node: string): SignReader {
  const versionName = join(places.mirror, '.version');
  const vmlistName = join(places.mirror, '.vmlist');
  /** What was read last and what it meant; it is seldom other than it was a second ago. */
  let last: { readonly seen: Seen; readonly signs: HostSigns | null } | null = null;
  return (nowMs) => {
    try {
      if (Math.abs(nowMs - statSync(versionName).mtimeMs) > MIRROR_AGE_MAX_MS) return null;
      const seen: Seen = [
        readFileSync(versionName, 'utf8'),
        readFileSync(vmlistName, 'utf8'),
        list(places.qemuRun),
        list(join(places.cgroup, 'qemu.slice')),
        list(join(places.cgroup, 'lxc')),
      ];
      const known = last;
      if (known !== null && seen.every((text, index) => text === known.seen[index])) {
        return known.signs;
      }
      last = { seen, signs: understand(seen, node) };
      return last.signs;
    } catch {
      return null;
    }
  };
}

/** Texts of files, then the names in folders. */
type Seen = readonly [
  version: string,
  vmlist: string,
  pids: string,
  scopes: string,
  containers: string,
];

function understand(seen: Seen, node: string): HostSigns | null {
  const [versionText, vmlistText, pids, scopes, containers] = seen;
  const version = versionFile.parse(JSON.parse(versionText));
  const vmlist = vmlistFile.parse(JSON.parse(vmlistText));
  const tasklist = version.kvstore[node]?.tasklist;
  // Without it a task that begins would not be seen.
  if (tasklist === undefined) return null;
  const { starttime, 'user.cfg': users, 'ha/resources.cfg': ha } = version;
  const ids = Object.entries(vmlist.ids);
  const running = [
    ...named(pids, /^\d+\.pid$/),
    ...named(scopes, /^\d+\.scope$/),
    ...named(containers, /^\d+$/),
  ];
  const stamp = [starttime, version.vmlist, vmlist.version, users, ha, tasklist, running];
  return {
    stamp: JSON.stringify(stamp),
    configs: new Map(ids.map(([vmid, guest]) => [Number(vmid), `${starttime} ${guest.version}`])),
  };
}

/** A folder that is not there has nothing running in it. */
function list(folder: string): string {
  try {
    return readdirSync(folder).join('/');
  } catch {
    return '';
  }
}

function named(names: string, pattern: RegExp): string[] {
  return names
    .split('/')
    .filter((name) => pattern.test(name))
    .sort();
}
