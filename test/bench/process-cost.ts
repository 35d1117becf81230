/** What a process costs, as the kernel counts it. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { text } from 'node:stream/consumers';

export interface ProcessCost {
  readonly wallMs: number;
  readonly cpuMs: number;
}

/** Runs it to its end with all its children; throws with its last words where it fails. */
export async function runCosted(
  command: readonly string[],
  env: Readonly<Record<string, string>>,
): Promise<ProcessCost> {
  const child = spawn('bash', ['-c', 'TIMEFORMAT="%R %U %S"; time "$@" 1>&2', 'bash', ...command], {
    env: { ...process.env, ...env },
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  const [said, [code]] = await Promise.all([text(child.stderr), once(child, 'close')]);
  if (code !== 0) throw new Error(`${command[0]} ended with ${code}: ${said.slice(-2_000)}`);
  const [wall = 0, user = 0, system = 0] =
    said.trim().split('\n').at(-1)?.split(' ').map(Number) ?? [];
  return { wallMs: wall * 1_000, cpuMs: (user + system) * 1_000 };
}

const TICKS_PER_SECOND = 100;

/** CPU time of a running process so far. */
export function cpuMsOf(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
  const fields = stat
    .slice(stat.lastIndexOf(')') + 2)
    .split(' ')
    .map(Number);
  return (((fields[11] ?? 0) + (fields[12] ?? 0)) * 1_000) / TICKS_PER_SECOND;
}

/** Memory that is its own: resident, and not shared with others by mapping a file. */
export function memoryMibOf(pid: number): number {
  const status = readFileSync(`/proc/${pid}/status`, 'latin1');
  return Number(/^RssAnon:\s+(\d+) kB$/m.exec(status)?.[1]) / 1_024;
}
