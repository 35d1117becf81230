/** The built program as a process, for tests: run to its end, or kept as a daemon. */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { stringify } from 'yaml';
import type { Simulator } from '../simulator/start.ts';

/** Built once a run by test/support/built-program.ts. */
export function programFile(): string {
  const file = process.env['PVE_RECONCILER_BUILT'];
  if (file === undefined) throw new Error('the program has not been built for the tests');
  return file;
}

export interface Ended {
  readonly exit: number | null;
  readonly out: string;
  readonly err: string;
}

export function runProgram(...args: string[]): Promise<Ended> {
  const child = spawn(process.execPath, [programFile(), ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  return outcomeOf(child);
}

async function outcomeOf(child: ChildProcess): Promise<Ended> {
  const texts = { out: '', err: '' };
  child.stdout?.setEncoding('utf8').on('data', (text: string) => (texts.out += text));
  child.stderr?.setEncoding('utf8').on('data', (text: string) => (texts.err += text));
  const exit = await new Promise<number | null>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', resolve);
  });
  return { exit, ...texts };
}

export interface Daemon {
  readonly pid: number;
  /** Resolves when a line of its log matches. */
  saw(pattern: RegExp): Promise<void>;
  /** Sends the signal; resolves with the exit status. */
  end(signal: NodeJS.Signals): Promise<number | null>;
}

export function startDaemon(configFile: string): Daemon {
  const child = spawn(process.execPath, [programFile(), 'agent', '--config', configFile], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  const ended = new Promise<number | null>((resolve) => child.once('close', resolve));
  const lines: string[] = [];
  const watchers = new Set<() => void>();
  createInterface({ input: child.stderr }).on('line', (line) => {
    lines.push(line);
    for (const look of watchers) look();
  });
  return {
    pid: child.pid ?? 0,
    saw(pattern) {
      const found = new Promise<void>((resolve) => {
        const look = (): void => {
          if (!lines.some((line) => pattern.test(line))) return;
          watchers.delete(look);
          resolve();
        };
        watchers.add(look);
        look();
      });
      const early = ended.then((code) => {
        throw new Error(`it ended with ${code}: ${lines.join('\n')}`);
      });
      return Promise.race([found, early]);
    },
    end(signal) {
      child.kill(signal);
      return ended;
    },
  };
}

/** A folder with a configuration and desired state for one node; removed by `remove`. */
export interface Host {
  readonly dir: string;
  readonly configFile: string;
  /** Writes a file of the folder; a value that is no text as YAML. */
  write(name: string, content: unknown, mode?: number): string;
  /** A configuration like the host's own, but for what is said here. */
  configure(changes: Readonly<Record<string, unknown>>): string;
  remove(): void;
}

export function makeHost(node: Pick<Simulator, 'url' | 'tokenFile' | 'caFile' | 'node'>): Host {
  const dir = mkdtempSync(join(tmpdir(), 'pve-reconciler-host-'));
  let count = 0;
  const write = (name: string, content: unknown, mode = 0o600): string => {
    const file = join(dir, name);
    writeFileSync(file, typeof content === 'string' ? content : stringify(content), { mode });
    return file;
  };
  const proxmox = { url: node.url, token_file: node.tokenFile('agent'), ca_file: node.caFile };
  const base = {
    node: node.node,
    proxmox,
    state_dir: 'state',
    control: { socket: 'agent.sock' },
    desired: [{ file: 'desired.yaml' }],
    reconcile: { interval: '1s', config_interval: '1s' },
  };
  const configure = (changes: Readonly<Record<string, unknown>>): string => {
    count += 1;
    const more = changes['proxmox'];
    const merged = typeof more === 'object' ? { proxmox: { ...proxmox, ...more } } : {};
    return write(`config-${count}.yaml`, { ...base, ...changes, ...merged });
  };
  return {
    dir,
    configFile: configure({}),
    write,
    configure,
    remove: () => rmSync(dir, { recursive: true, force: true }),
  };
}
