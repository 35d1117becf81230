/**
 * What the client costs beside a bare node:https loop: same node, same requests, same concurrency,
 * in turns within one process. Exits with 1 when the goals do not hold.
 *
 * Then a long run, every tenth request refused and every hundredth abandoned, after which memory and
 * sockets must be what they were.
 *
 *   node test/bench/client.ts [--rounds 9] [--requests 2000] [--concurrency 2] [--long-run 100000]
 */
import { readdirSync, readFileSync } from 'node:fs';
import { Agent, request } from 'node:https';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import type { PveClient } from '../../src/proxmox/client.ts';
import { readRequest } from '../../src/proxmox/request.ts';
import { startSimulator } from '../simulator/start.ts';
import { clientFor, going } from '../support/pve-client.ts';
import { readOptions } from '../support/script-options.ts';
import { median, report } from './report.ts';

const WALL_GOAL = 1.1;
const CPU_GOAL = 1.25;
/** A leak of 50 bytes a request would show; what the collector leaves behind does not. */
const GROWTH_GOAL_BYTES = 5_000_000;

interface Cost {
  readonly wallMs: number;
  readonly cpuMs: number;
}

type AskOnce = () => Promise<unknown>;

const USAGE =
  'node test/bench/client.ts [--rounds N] [--requests N] [--concurrency N] [--long-run N]';
const { count } = readOptions(USAGE, {
  rounds: { type: 'string', default: '9' },
  requests: { type: 'string', default: '2000' },
  concurrency: { type: 'string', default: '2' },
  'long-run': { type: 'string', default: '100000' },
});
const rounds = count('rounds');
const requests = count('requests');
const concurrency = count('concurrency');
const longRun = count('long-run', 0);

const pve = await startSimulator({
  guests: 100,
  world: { guests: [{ vmid: 9000, kind: 'qemu', config: { name: 'bench', cores: '2' } }] },
});
const client = clientFor(pve);
const agent = new Agent({
  keepAlive: true,
  maxSockets: concurrency,
  ca: readFileSync(pve.caFile, 'utf8'),
});
const headers = { authorization: `PVEAPIToken=${pve.token('root')}` };
try {
  // Not passed on by pveproxy: for those that are, node:https reconnects each time, and we do not.
  const routes = ['/version', `/nodes/${pve.node}/qemu/9000/config`, '/cluster/resources'];
  for (const route of routes) {
    const ours = (): Promise<unknown> => askOurs(client, route);
    const bare = (): Promise<unknown> => askBare(agent, headers, route);
    await compare(route, ours, bare);
  }
  await showPassedOn();
  if (longRun > 0) await runLong();
} finally {
  agent.destroy();
  await client.close();
  await pve.stop();
}

async function compare(route: string, ours: AskOnce, bare: AskOnce): Promise<void> {
  await measure(ours);
  await measure(bare);
  const pairs: { ours: Cost; bare: Cost }[] = [];
  for (let round = 0; round < rounds; round++) {
    // In turns, and either first: what else the machine does hits both.
    if (round % 2 === 0) pairs.push({ ours: await measure(ours), bare: await measure(bare) });
    else pairs.push({ bare: await measure(bare), ours: await measure(ours) });
  }
  const wall = median(pairs.map((pair) => pair.ours.wallMs / pair.bare.wallMs));
  const cpu = median(pairs.map((pair) => pair.ours.cpuMs / pair.bare.cpuMs));
  const perRequest = median(pairs.map((pair) => pair.ours.wallMs)) / requests;
  const detail = `${(perRequest * 1000).toFixed(0)} us each`;
  const name = `GET ${route.replace('/nodes/', '/n/')} / node:https`;
  report({ name: `${name}, wall`, figure: wall, atMost: WALL_GOAL, detail });
  report({ name: `${name}, CPU`, figure: cpu, atMost: CPU_GOAL, detail });
}

/** The lists, which say `Connection: close` and stay open: what obeying it costs. */
async function showPassedOn(): Promise<void> {
  const route = `/nodes/${pve.node}/qemu`;
  const few = Math.min(requests, 300);
  const ours = await measure(() => askOurs(client, route), few);
  const bare = await measure(() => askBare(agent, headers, route), few);
  const detail = 'node:https does as it is told, and reconnects';
  const name = `GET ${route} / node:https, wall`;
  report({ name, figure: ours.wallMs / bare.wallMs, detail });
}

async function runLong(): Promise<void> {
  setFlagsFromString('--expose-gc');
  const collect: () => void = runInNewContext('gc');
  let n = 0;
  const ask = async (): Promise<void> => {
    n += 1;
    if (n % 100 === 0) {
      const signal = AbortSignal.timeout(1);
      await client.request(readRequest('/cluster/resources'), signal).catch(() => undefined);
    } else {
      await client.request(readRequest(n % 10 === 0 ? '/bogus' : '/version'), going);
    }
  };
  const heapBytes = (): number => {
    collect();
    return process.memoryUsage().heapUsed + process.memoryUsage().external;
  };
  await measure(ask, 5_000);
  const before = { bytes: heapBytes(), files: openFiles() };
  const cost = await measure(ask, longRun);
  const grownBytes = heapBytes() - before.bytes;
  const grownFiles = openFiles() - before.files;
  const detail = `after ${longRun} requests in ${(cost.wallMs / 1000).toFixed(1)} s`;
  const atMost = GROWTH_GOAL_BYTES / 1e6;
  report({ name: 'MB of memory more', figure: grownBytes / 1e6, atMost, detail });
  report({ name: 'open files more', figure: grownFiles, atMost: concurrency, detail });
}

function openFiles(): number {
  return readdirSync('/proc/self/fd').length;
}

async function measure(ask: AskOnce, count = requests): Promise<Cost> {
  const cpuBefore = process.cpuUsage();
  const began = performance.now();
  let left = count;
  const loop = async (): Promise<void> => {
    while (left-- > 0) await ask();
  };
  await Promise.all(Array.from({ length: concurrency }, loop));
  const cpu = process.cpuUsage(cpuBefore);
  return { wallMs: performance.now() - began, cpuMs: (cpu.user + cpu.system) / 1000 };
}

async function askOurs(client: PveClient, route: string): Promise<unknown> {
  const reply = await client.request(readRequest(route), going);
  if (reply.kind === 'failure') throw new Error(reply.problem.message);
  return reply.data;
}

function askBare(
  agent: Agent,
  headers: Readonly<Record<string, string>>,
  route: string,
): Promise<unknown> {
  return new Promise((resolve, reject) => {
    request(`${pve.url}/api2/json${route}`, { agent, headers }, (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.on('end', () => resolve(JSON.parse(Buffer.concat(chunks).toString('utf8'))));
      response.on('error', reject);
    })
      .on('error', reject)
      .end();
  });
}
