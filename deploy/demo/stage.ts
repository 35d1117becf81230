/**
 * What the demo runs on: a temporary folder, a simulated node, the built program. Whatever was
 * begun here is ended by `strike`, in the reverse order, however the demo ends.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { parseDocument } from 'yaml';
import { type Simulator, startSimulator } from '../../test/simulator/start.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const PROGRAM = join(ROOT, 'dist', 'pve-reconciler.js');

/** A line of the agent's log. */
export type LogLine = Readonly<Record<string, unknown>> & { readonly message: string };

export interface Agent {
  /** Resolves with the first line, of those not yet waited for, that `matches`. */
  waitFor(what: string, matches: (line: LogLine) => boolean): Promise<LogLine>;
  /** SIGTERM, and its exit status. */
  stop(): Promise<number | null>;
}

type Command = (...args: string[]) => Promise<number | null>;

export interface Stage {
  readonly node: Simulator;
  readonly configFile: string;
  /** Runs one command to its end, its output shown; resolves with its exit status. */
  readonly run: Command;
  /** The same, with only the exit status of interest. */
  readonly check: Command;
  readonly startAgent: (onLine: (line: LogLine) => void) => Agent;
  readonly strike: () => Promise<void>;
}

type Output = 'inherit' | 'ignore' | 'pipe';

export async function setStage(): Promise<Stage> {
  const dir = mkdtempSync(join(tmpdir(), 'pve-reconciler-demo-'));
  const children = new Set<ChildProcess>();
  let node: Simulator | null = null;
  const strike = async (): Promise<void> => {
    await Promise.all([...children].map(endChild));
    await node?.stop();
    rmSync(dir, { recursive: true, force: true });
  };
  try {
    // Its files in our folder: it may be ended before it is up.
    const files = join(dir, 'node');
    mkdirSync(files);
    node = await startSimulator({ guests: 12, speed: 2, dir: files });
    const configFile = writeConfig(dir, node);
    const start = (args: readonly string[], out: Output, err: Output): ChildProcess => {
      const child = spawn(process.execPath, [PROGRAM, ...args, '--config', configFile], {
        stdio: ['ignore', out, err],
      });
      children.add(child);
      child.once('exit', () => children.delete(child));
      return child;
    };
    return {
      node,
      configFile,
      run: (...args) => exitOf(start(args, 'inherit', 'inherit')),
      check: (...args) => exitOf(start(args, 'ignore', 'inherit')),
      startAgent: (onLine) => followAgent(start(['agent'], 'inherit', 'pipe'), onLine),
      strike,
    };
  } catch (error) {
    await strike();
    throw error;
  }
}

/** deploy/examples as they are, but for where the node is and where files may be written. */
function writeConfig(dir: string, node: Simulator): string {
  cpSync(join(ROOT, 'deploy', 'examples'), dir, { recursive: true });
  const file = join(dir, 'config.yaml');
  const config = parseDocument(readFileSync(file, 'utf8'));
  const changes: readonly (readonly [readonly string[], unknown])[] = [
    [['proxmox', 'url'], node.url],
    [['proxmox', 'token_file'], node.tokenFile('agent')],
    [['proxmox', 'ca_file'], node.caFile],
    [['state_dir'], join(dir, 'state')],
    [['control', 'socket'], join(dir, 'agent.sock')],
    [['desired'], [{ file: join(dir, 'desired.d') }]],
    [['reconcile', 'interval'], '1s'],
    [['reconcile', 'config_interval'], '2s'],
  ];
  for (const [path, value] of changes) config.setIn(path, value);
  writeFileSync(file, config.toString());
  return file;
}

function followAgent(child: ChildProcess, onLine: (line: LogLine) => void): Agent {
  const seen: LogLine[] = [];
  const watchers = new Set<() => void>();
  if (child.stderr !== null) {
    createInterface({ input: child.stderr }).on('line', (text) => {
      const line = parseLine(text);
      seen.push(line);
      onLine(line);
      for (const look of watchers) look();
    });
  }
  const exited = exitOf(child);
  return {
    async waitFor(what, matches) {
      const found = new Promise<LogLine>((resolve) => {
        const look = (): void => {
          for (let line = seen.shift(); line !== undefined; line = seen.shift()) {
            if (!matches(line)) continue;
            watchers.delete(look);
            return resolve(line);
          }
        };
        watchers.add(look);
        look();
      });
      const ended = exited.then((code): never => {
        throw new Error(`the agent ended with ${code} while the demo waited for ${what}`);
      });
      return await Promise.race([found, ended]);
    },
    async stop() {
      child.kill('SIGTERM');
      return await exited;
    },
  };
}

/** A line of the log; what is none (an error at start) is shown as it is. */
function parseLine(text: string): LogLine {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === 'object' && value !== null && 'message' in value) {
      return { ...value, message: String(value.message) };
    }
  } catch {
    // not JSON
  }
  return { message: text };
}

function exitOf(child: ChildProcess): Promise<number | null> {
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', resolve);
  });
}

async function endChild(child: ChildProcess): Promise<void> {
  const ended = exitOf(child);
  child.kill('SIGKILL');
  await ended;
}
