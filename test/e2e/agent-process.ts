/** The agent as users run it: a process of its own, against a simulated node. */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Simulator } from '../simulator/start.ts';

const MAIN = new URL('../../src/agent/main.ts', import.meta.url).pathname;

export interface Ended {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface Workplace {
  readonly dir: string;
  readonly journal: string;
  readonly socket: string;
  /** Runs a command to its end. */
  run(...args: readonly string[]): Promise<Ended>;
  /** Starts the daemon; its end is awaited by `ended`. */
  start(...args: readonly string[]): {
    readonly child: ChildProcess;
    readonly ended: Promise<Ended>;
  };
  remove(): void;
}

/** A state dir, a config and desired state for this node. */
export function prepareWorkplace(
  pve: Simulator,
  { desired, config = {} }: { readonly desired: object; readonly config?: object },
): Workplace {
  const dir = mkdtempSync(join(tmpdir(), 'pve-reconciler-e2e-'));
  const desiredDir = join(dir, 'desired.d');
  mkdirSync(desiredDir);
  writeFileSync(join(desiredDir, 'guests.json'), JSON.stringify(desired));
  const socket = join(dir, 'agent.sock');
  const configFile = join(dir, 'config.yaml');
  const whole = {
    agent: pve.node,
    node: pve.node,
    proxmox: { url: pve.url, token_file: pve.tokenFile('agent'), ca_file: pve.caFile },
    state_dir: join(dir, 'state'),
    control: { socket },
    desired: [{ file: desiredDir }],
    reconcile: { interval: '1s' },
    ...config,
  };
  writeFileSync(configFile, JSON.stringify(whole));
  const start = (...args: readonly string[]): ReturnType<Workplace['start']> => {
    const child = spawn(process.execPath, [MAIN, '--config', configFile, ...args], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, NO_COLOR: '1' },
    });
    return { child, ended: collect(child) };
  };
  return {
    dir,
    socket,
    journal: join(dir, 'state', 'journal'),
    start,
    run: (...args) => start(...args).ended,
    remove: () => rmSync(dir, { recursive: true, force: true }),
  };
}

function collect(child: ChildProcess): Promise<Ended> {
  let stdout = '';
  let stderr = '';
  child.stdout?.setEncoding('utf8').on('data', (text: string) => {
    stdout += text;
  });
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
  });
  return new Promise((resolve) => {
    child.once('close', (code, signal) => resolve({ code, signal, stdout, stderr }));
  });
}
