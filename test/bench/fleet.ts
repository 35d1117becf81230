import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { buildProgram } from '../../deploy/build.ts';
import { openReader } from '../../src/journal/reader.ts';
import { type Daemon, type Host, makeHost, startDaemon } from '../agent/program.ts';
import { readOptions, wholeNumber } from '../support/script-options.ts';
import { type CountedNode, startCountedNode, type Traffic } from './counted-node.ts';
import { cpuMsOf, memoryMibOf } from './process-cost.ts';
import { median, report } from './report.ts';
import { type Cost, extrapolate, runAnsible, runBare, runProxmoxer } from './rival-costs.ts';

const STARTS = 100;
const FIRST_VMID = 1_000;
/** A tenth of the configs is due at each pass, as with the defaults of 30 s and 5 m. */
const OFTEN = { interval: '3s', config_interval: '30s' };
const USUAL_INTERVAL_MS = 30_000;
/** So that nothing but what is asked for comes between. */
const SELDOM = { interval: '10m', config_interval: '10m' };
const CONFIG = { name: 'guest', cores: 2, memory: 2048, onboot: 1, tags: 'prod;web' };

const USAGE = 'node test/bench/fleet.ts [--guests N,…] [--passes N] [--rounds N] [--ansible N]';
const { values, count, refuse } = readOptions(USAGE, {
  guests: { type: 'string', default: '100,1000' },
  passes: { type: 'string', default: '5' },
  rounds: { type: 'string', default: '3' },
  ansible: { type: 'string', default: '10' },
});
const passes = count('passes');
const rounds = count('rounds');
const sizes = values.guests
  .split(',')
  .map((text) => wholeNumber(text, 0) ?? refuse('--guests: expected numbers'));
const sample = count('ansible', 0);

const folder = mkdtempSync(join(tmpdir(), 'bench-fleet-'));
const program = join(folder, 'pve-reconciler.js');
process.env['PVE_RECONCILER_BUILT'] = program;
try {
  await buildProgram(program);
  for (const guests of sizes) {
    if (guests > 0) await benchPass(guests);
  }
  await benchStarts();
} finally {
  rmSync(folder, { recursive: true });
}

function vmidsOf(guests: number): readonly number[] {
  return Array.from({ length: guests }, (_, index) => FIRST_VMID + index);
}

function startNode(guests: number, running: boolean): Promise<CountedNode> {
  const made = vmidsOf(guests).map(
    (vmid) => ({ vmid, kind: 'qemu', running, config: CONFIG }) as const,
  );
  return startCountedNode({ world: { guests: made } });
}

function desired(guests: number, more: object = {}): object {
  const wanted = { power: 'running', ...more };
  return { version: 1, guests: Object.fromEntries(vmidsOf(guests).map((vmid) => [vmid, wanted])) };
}

function hostOf({ pve, url }: CountedNode): Host {
  return makeHost({
    url,
    node: pve.node,
    caFile: pve.caFile,
    tokenFile: (name) => pve.tokenFile(name),
  });
}

/** A pass that finds everything as it is to be. */
async function benchPass(guests: number): Promise<void> {
  await using node = await startNode(guests, true);
  const own = await daemonPass(node, desired(guests));
  const withConfig = await daemonPass(node, desired(guests, { config: CONFIG }));
  const bare = perPass(await runBare(node, 'pass', String(passes)), passes);
  const one = await runProxmoxer(node, 1);
  const script = extrapolate(one, await runProxmoxer(node, 1 + passes), { more: passes, times: 1 });
  const few = await runAnsible(node, vmidsOf(1));
  const ansible = extrapolate(few, await runAnsible(node, vmidsOf(1 + sample)), {
    more: sample,
    times: guests,
  });
  const name = `a pass over ${guests}`;
  const goals = guests === 1_000 ? { requests: { atLeast: 50 } } : {};
  compare(`${name}: Ansible / ours`, ansible, own, goals);
  compare(`${name}, configs: Ansible / ours`, ansible, withConfig, {});
  compare(`${name}: proxmoxer / ours`, script, own, {});
  compare(`${name}: ours / bare`, own, bare, {});
  const empty = await emptyProcessMib();
  report({
    name: `the agent over ${guests} / an empty Node process, memory`,
    figure: withConfig.mib / empty,
    detail: `${withConfig.mib.toFixed(0)} MiB against ${empty.toFixed(0)} MiB`,
  });
  report({
    name: `the agent over ${guests}, % of a core`,
    figure: (withConfig.cpuMs / USUAL_INTERVAL_MS) * 100,
    detail: `${withConfig.cpuMs.toFixed(0)} ms each 30 s, configs read in turn`,
  });
}

async function emptyProcessMib(): Promise<number> {
  const child = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1e6); console.log(1)']);
  await once(child.stdout, 'data');
  const mib = memoryMibOf(child.pid ?? 0);
  child.kill();
  return mib;
}

/** The daemon's own passes, one with another, after the first ones have read everything. */
async function daemonPass(node: CountedNode, document: object): Promise<Cost & { mib: number }> {
  const host = hostOf(node);
  host.write('desired.yaml', document);
  const daemon = startDaemon(host.configure({ reconcile: OFTEN }));
  try {
    await untilPasses(node, daemon, 3);
    const [cpuBefore, sinceMs] = [cpuMsOf(daemon.pid), performance.now()];
    const seen = await untilPasses(node, daemon, passes);
    const [wallMs, cpuMs] = [performance.now() - sinceMs, cpuMsOf(daemon.pid) - cpuBefore];
    return { ...perPass({ wallMs, cpuMs, ...seen }, seen.passes), mib: memoryMibOf(daemon.pid) };
  } finally {
    await daemon.end('SIGTERM');
    host.remove();
  }
}

/** What went over the wire until so many passes have been made. */
async function untilPasses(node: CountedNode, daemon: Daemon, count: number): Promise<Traffic> {
  const sum = { requests: 0, bytes: 0, passes: 0 };
  await node.take();
  while (sum.passes < count) {
    await Promise.race([delay(500), daemon.saw(/ halted /)]);
    const { requests, bytes, passes: seen } = await node.take();
    sum.requests += requests;
    sum.bytes += bytes;
    sum.passes += seen;
  }
  return sum;
}

function perPass({ wallMs, cpuMs, requests, bytes }: Cost, count: number): Cost {
  return {
    wallMs: wallMs / count,
    cpuMs: cpuMs / count,
    requests: requests / count,
    bytes: bytes / count,
  };
}

/** A hundred guests that are down are to run. */
async function benchStarts(): Promise<void> {
  const ours: Cost[] = [];
  const bare: Cost[] = [];
  for (let round = 0; round < rounds; round++) {
    ours.push(await startByAgent());
    await using node = await startNode(STARTS, false);
    bare.push(await runBare(node, 'start', ...vmidsOf(STARTS).map(String)));
  }
  const [own, least] = [middle(ours), middle(bare)];
  compare('100 starts: ours / bare', own, least, {
    wallMs: { atMost: 1.1 },
    requests: { atMost: 1.25 },
  });
  await using first = await startNode(STARTS, false);
  compare('100 starts: proxmoxer / ours', await runProxmoxer(first, 1), own, {});
  await using second = await startNode(STARTS, false);
  // Each guest once: what has been started is listed as stopped for a while (PVE-FACTS 18).
  const few = await runAnsible(second, vmidsOf(1));
  const many = await runAnsible(second, vmidsOf(2 + sample).slice(1));
  const ansible = extrapolate(few, many, { more: sample, times: STARTS });
  compare('100 starts: Ansible / ours', ansible, own, {});
}

/** From the first `started` to the last `succeeded` in its journal: the daemon runs already. */
async function startByAgent(): Promise<Cost> {
  await using node = await startNode(STARTS, false);
  const host = hostOf(node);
  host.write('desired.yaml', { version: 1, guests: {} });
  const daemon = startDaemon(host.configure({ reconcile: SELDOM }));
  try {
    await untilPasses(node, daemon, 1);
    await node.take();
    const cpuBefore = cpuMsOf(daemon.pid);
    host.write('desired.yaml', desired(STARTS));
    const reader = openReader(join(host.dir, 'state'));
    for (;;) {
      await Promise.race([delay(200), daemon.saw(/ halted /)]);
      const ended = await reader.listOps({ state: 'succeeded' });
      if (ended.length < STARTS) continue;
      const cpuMs = cpuMsOf(daemon.pid) - cpuBefore;
      const { requests, bytes } = await node.take();
      const [last] = ended;
      const found = await Promise.all(ended.map(({ op_id: opId }) => reader.readOp(opId)));
      const begun = found.flatMap((op) => (op.kind === 'found' ? (op.records[0]?.at ?? []) : []));
      const firstMs = Math.min(...begun.map((at) => Date.parse(at)));
      return { wallMs: Date.parse(last?.at ?? '') - firstMs, cpuMs, requests, bytes };
    }
  } finally {
    await daemon.end('SIGTERM');
    host.remove();
  }
}

function middle(costs: readonly Cost[]): Cost {
  return {
    wallMs: median(costs.map(({ wallMs }) => wallMs)),
    cpuMs: median(costs.map(({ cpuMs }) => cpuMs)),
    requests: median(costs.map(({ requests }) => requests)),
    bytes: median(costs.map(({ bytes }) => bytes)),
  };
}

type Goals = Partial<
  Record<keyof Cost, { readonly atMost: number } | { readonly atLeast: number }>
>;

/** A row for each of what both cost; none where there is nothing to compare with. */
function compare(name: string, left: Cost | null, right: Cost | null, goals: Goals): void {
  if (left === null || right === null) return;
  const words = { requests: 'requests', bytes: 'bytes', cpuMs: 'CPU', wallMs: 'wall' } as const;
  for (const key of ['requests', 'bytes', 'cpuMs', 'wallMs'] as const) {
    // The daemon's passes come when they are due, whatever they take.
    if (key === 'wallMs' && name.includes('pass')) continue;
    const detail = `${shown(left[key], key)} against ${shown(right[key], key)}`;
    report({
      name: `${name}, ${words[key]}`,
      figure: left[key] / right[key],
      ...goals[key],
      detail,
    });
  }
}

function shown(value: number, key: keyof Cost): string {
  const unit = key === 'requests' ? '' : key === 'bytes' ? ' KiB' : ' ms';
  return `${(key === 'bytes' ? value / 1_024 : value).toFixed(0)}${unit}`;
}
