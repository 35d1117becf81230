/** What others cost at the same work on the same node; null where one is not installed. */
import { execFile, spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { CountedNode, Traffic } from './counted-node.ts';
import { type ProcessCost, runCosted } from './process-cost.ts';

export type Cost = ProcessCost & Pick<Traffic, 'requests' | 'bytes'>;

/** Debian's own, which is the one its packages are for. */
const PYTHON = '/usr/bin/python3';
const RIVALS = join(import.meta.dirname, 'rivals');
const QUIET = { PYTHONWARNINGS: 'ignore', ANSIBLE_PYTHON_INTERPRETER: PYTHON };

const isInstalled = {
  ansible: isThere('ansible-playbook', '--version'),
  proxmoxer: isThere(PYTHON, '-c', 'import proxmoxer'),
};
for (const [name, isIt] of Object.entries(isInstalled)) {
  if (!isIt) console.log(`not shown, because it is not installed: ${name}`);
}

function isThere(command: string, ...args: readonly string[]): boolean {
  return spawnSync(command, args).status === 0;
}

/** What all costs go through; nothing is counted twice. */
async function counted(node: CountedNode, run: () => Promise<ProcessCost>): Promise<Cost> {
  await node.take();
  const cost = await run();
  return { ...cost, ...(await node.take()) };
}

/** `job`: `pass TIMES` or `start VMID…`. Measured within the process, without its start. */
export function runBare(node: CountedNode, ...job: readonly string[]): Promise<Cost> {
  const { url, pve } = node;
  const args = [join(RIVALS, 'bare.ts'), url, pve.caFile, pve.token('agent'), pve.node, ...job];
  return counted(node, async () => {
    const { stdout } = await promisify(execFile)(process.execPath, args);
    const cost: ProcessCost = JSON.parse(stdout);
    return cost;
  });
}

/** So many passes, in which what is down is started. */
export async function runProxmoxer(node: CountedNode, passes: number): Promise<Cost | null> {
  if (!isInstalled.proxmoxer) return null;
  const args = [String(node.port), secretOf(node), node.pve.node, String(passes)];
  return counted(node, () => runCosted([PYTHON, join(RIVALS, 'started.py'), ...args], QUIET));
}

/** One play over these guests, a task for each. */
export async function runAnsible(
  node: CountedNode,
  vmids: readonly number[],
): Promise<Cost | null> {
  if (!isInstalled.ansible) return null;
  const { port, pve } = node;
  const vars = { port, secret: secretOf(node), node: pve.node, vmids };
  const args = ['-i', 'localhost,', '-c', 'local', '-e', JSON.stringify(vars)];
  const command = ['ansible-playbook', ...args, join(RIVALS, 'started.yaml')];
  return counted(node, () => runCosted(command, QUIET));
}

function secretOf({ pve }: CountedNode): string {
  return pve.token('agent').split('=')[1] ?? '';
}

/** So many times what one of the `more` cost beyond `few`: without the start of the process. */
export function extrapolate(
  few: Cost | null,
  many: Cost | null,
  { more, times }: { readonly more: number; readonly times: number },
): Cost | null {
  if (few === null || many === null) return null;
  const grow = (of: keyof Cost): number => ((many[of] - few[of]) / more) * times;
  return {
    wallMs: grow('wallMs'),
    cpuMs: grow('cpuMs'),
    requests: grow('requests'),
    bytes: grow('bytes'),
  };
}
