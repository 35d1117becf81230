/**
 * What the host itself shows of its guests, without a request (PVE-FACTS 29-31): a counter for each
 * config and for the cluster's files, and a file or a control group for each guest that runs.
 *
 * Two equal stamps mean that nothing has changed that could be seen here. Counters are pmxcfs' own
 * and begin again with it, so they are compared for inequality, together with its start time. A
 * mirror that nobody refreshes, or that is not understood, is none: the API is asked.
 */
import { readdir, readFile, stat } from 'node:fs/promises';
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

/** Null: there is no mirror, it is stale, or it is not understood. Never rejects. */
export async function readHostSigns(
  places: SignPlaces,
  { node, nowMs }: { readonly node: string; readonly nowMs: number },
): Promise<HostSigns | null> {
  try {
    const file = join(places.mirror, '.version');
    const { mtimeMs } = await stat(file);
    if (Math.abs(nowMs - mtimeMs) > MIRROR_AGE_MAX_MS) return null;
    const [version, vmlist, running] = await Promise.all([
      readJson(file, versionFile),
      readJson(join(places.mirror, '.vmlist'), vmlistFile),
      listRunning(places),
    ]);
    const tasklist = version.kvstore[node]?.tasklist;
    // Without it a task that begins would not be seen.
    if (tasklist === undefined) return null;
    const { starttime, 'user.cfg': users, 'ha/resources.cfg': ha } = version;
    const ids = Object.entries(vmlist.ids);
    const stamp = [starttime, version.vmlist, vmlist.version, users, ha, tasklist, running];
    return {
      stamp: JSON.stringify(stamp),
      configs: new Map(ids.map(([vmid, guest]) => [Number(vmid), `${starttime} ${guest.version}`])),
    };
  } catch {
    return null;
  }
}

async function readJson<T>(file: string, schema: z.ZodType<T>): Promise<T> {
  return schema.parse(JSON.parse(await readFile(file, 'utf8')));
}

async function listRunning({ qemuRun, cgroup }: SignPlaces): Promise<readonly string[]> {
  const [pids, ...groups] = await Promise.all([
    names(qemuRun, /^\d+\.pid$/),
    names(join(cgroup, 'qemu.slice'), /^\d+\.scope$/),
    names(join(cgroup, 'lxc'), /^\d+$/),
  ]);
  return [...pids, ...groups.flat()];
}

/** A folder that is not there has nothing running in it. */
async function names(folder: string, pattern: RegExp): Promise<readonly string[]> {
  const all = await readdir(folder).catch(() => []);
  return all.filter((name) => pattern.test(name)).sort();
}
