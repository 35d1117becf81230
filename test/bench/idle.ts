/**
 * What an agent costs a host where nothing happens: the built program, begun as the unit begins it,
 * beside a bare Node of the same runtime, with a simulated node of many guests, all of them in
 * sync. Exits with 1 when the goals do not hold.
 *
 *   node test/bench/idle.ts [--guests 200] [--settle 60] [--seconds 120] [--look]
 *
 * With `--look` as where pve-reconciler-look.service runs: quiet passes ask nothing then, and the
 * host's signs are looked at every second.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { makeHost, programFile } from '../agent/program.ts';
import { startSimulator } from '../simulator/start.ts';
import { setup, teardown } from '../support/built-program.ts';
import { readOptions } from '../support/script-options.ts';
import { report } from './report.ts';

const RSS_GOAL_MIB = 60;
const CPU_GOAL_PERCENT = 0.3;
/** Of /proc/PID/stat; the same on every Linux that Node runs on. */
const TICKS_PER_S = 100;

const USAGE = 'node test/bench/idle.ts [--guests N] [--settle N] [--seconds N] [--look]';
const { values, count } = readOptions(USAGE, {
  guests: { type: 'string', default: '200' },
  settle: { type: 'string', default: '60' },
  seconds: { type: 'string', default: '120' },
  look: { type: 'boolean', default: false },
});
const guestCount = count('guests', 0);
const seconds = count('seconds');
const settleSeconds = count('settle', 0);

await setup();
const node = await startSimulator({ guests: guestCount, look: values.look });
const host = makeHost(node);
const running: ChildProcess[] = [];
try {
  host.write('desired.yaml', { version: 1, guests: await asTheyAre() });
  // Intervals as they are without a configuration that says otherwise.
  const look = values.look ? startMirror() : {};
  const config = host.configure({ reconcile: { mode: 'enforce' }, ...look });
  const bare = start(process.execPath, '-e', 'setInterval(() => {}, 1e9)');
  const agent = start(process.execPath, programFile(), 'agent', '--config', config);
  await sleep(settleSeconds * 1000);
  const cpuBefore = cpuSeconds(agent);
  await node.resetRequests();
  await sleep(seconds * 1000);
  const cpuPercent = ((cpuSeconds(agent) - cpuBefore) / seconds) * 100;
  const requests = (await node.requests()).length;
  const bareMib = rssMib(bare);
  const agentMib = rssMib(agent);
  const over = `${guestCount} guests${values.look ? ', cheap looks' : ''}`;
  report({
    name: `idle, ${over}, MiB above a bare Node`,
    figure: agentMib - bareMib,
    atMost: RSS_GOAL_MIB,
    detail: `${agentMib.toFixed(1)} against ${bareMib.toFixed(1)} MiB`,
  });
  report({
    name: `idle, ${over}, % of a core`,
    figure: cpuPercent,
    atMost: CPU_GOAL_PERCENT,
    detail: `${requests} requests in ${seconds} s`,
  });
} finally {
  for (const child of running) child.kill('SIGKILL');
  await node.stop();
  host.remove();
  teardown();
}

/** Desired state that every guest is in already. */
async function asTheyAre(): Promise<Record<number, object>> {
  const guests = (await node.control('GET', '/guests')) as {
    vmid: number;
    status: string;
    config: Record<string, string>;
  }[];
  return Object.fromEntries(
    guests
      .filter(({ config }) => config['template'] === undefined)
      .map(({ vmid, status, config: { cores, memory } }) => [
        vmid,
        { power: status, config: { ...(cores && { cores }), ...(memory && { memory }) } },
      ]),
  );
}

/** What it is to be configured with. */
function startMirror(): object {
  const [mirror, seen] = [join(host.dir, 'mirror'), node.lookDir];
  const script = join(import.meta.dirname, '../../deploy/systemd/mirror-look');
  start(script, join(seen, 'etc-pve'), mirror);
  return {
    look: { mirror, qemu_run: join(seen, 'run/qemu-server'), cgroup: join(seen, 'cgroup') },
  };
}

function start(command: string, ...args: string[]): ChildProcess {
  const child = spawn(command, args, {
    stdio: ['ignore', 'ignore', 'ignore'],
    // As systemd starts it: NODE_EXTRA_CA_CERTS alone makes Node keep 10 MiB of certificates.
    env: {},
  });
  running.push(child);
  return child;
}

function rssMib({ pid }: ChildProcess): number {
  const kib = /^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
  return Number(kib) / 1024;
}

function cpuSeconds({ pid }: ChildProcess): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? [];
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_S;
}
