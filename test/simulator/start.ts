/**
 * Starts a simulated node in a process of its own and talks to its control port. For tests and the
 * demo; the process ends with `stop()`, with the process that started it, or by its pid.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { request as httpRequest } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { z } from 'zod';
import type { Fault } from './faults.ts';
import type { GuestMoment, TaskRun } from './history.ts';
import type { LoggedRequest } from './request-log.ts';
import type { Ready } from './server.ts';
import type { worldSchema } from './world.ts';

/** The world file's content; every field may be left out. */
type WorldInput = z.input<typeof worldSchema>;
/** A fault as POST /faults takes it. */
export type FaultInput = Partial<Fault> & Pick<Fault, 'kind'> & Readonly<Record<string, unknown>>;

export interface SimulatorOptions {
  readonly world?: WorldInput;
  /** Made-up guests besides those of `world`. */
  readonly guests?: number;
  readonly speed?: number;
  readonly port?: number;
  /** Keep .vmlist, .version and pid files in `lookDir`. */
  readonly look?: boolean;
  /** Note with each write how long the files of this folder are. */
  readonly watch?: string;
  /** Keep what `history()` answers. */
  readonly history?: boolean;
  /** Left out: a temporary folder, removed by `stop()`. */
  readonly dir?: string;
}

interface NodeHistory {
  readonly guests: readonly GuestMoment[];
  readonly tasks: readonly TaskRun[];
}

export interface Simulator {
  readonly url: string;
  readonly controlUrl: string;
  readonly caFile: string;
  readonly fingerprint: string;
  readonly node: string;
  readonly dir: string;
  /** Filled only with the option `look`. */
  readonly lookDir: string;
  readonly pid: number;
  /** Path of `root`, `agent`, `audit`, `nobody` or one of the world's own. */
  tokenFile(name: string): string;
  /** `USER@REALM!TOKENID=SECRET` */
  token(name: string): string;
  /** One request to the control port; throws with its error text. */
  control(method: string, path: string, body?: unknown): Promise<unknown>;
  addFault(fault: FaultInput): Promise<void>;
  /** What was received since the start or the last reset, oldest first. */
  requests(): Promise<readonly LoggedRequest[]>;
  resetRequests(): Promise<void>;
  /** What became of guests and tasks since the start, oldest first. */
  history(): Promise<NodeHistory>;
  /** Resolves when a request that matches has been received, also if it was already. */
  received(request: { readonly method?: string; readonly path: string }): Promise<void>;
  /** Resolves when no task runs. */
  settle(): Promise<void>;
  stop(): Promise<void>;
}

export async function startSimulator(options: SimulatorOptions = {}): Promise<Simulator> {
  const isTemporary = options.dir === undefined;
  const dir = options.dir ?? mkdtempSync(join(tmpdir(), 'pve-simulator-'));
  // In a test run it is bundled, by test/support/built-program.ts: it starts in a third of the time.
  const main = process.env['PVE_SIMULATOR_BUILT'] ?? new URL('main.ts', import.meta.url).pathname;
  const args = [main, '--die-with-parent', '--dir', dir];
  // It cleans up after itself even when we are killed.
  if (isTemporary) args.push('--remove-dir');
  if (options.world !== undefined) {
    const file = join(dir, 'world.json');
    writeFileSync(file, JSON.stringify(options.world));
    args.push('--world', file);
  }
  if (options.guests !== undefined) args.push('--guests', String(options.guests));
  if (options.speed !== undefined) args.push('--speed', String(options.speed));
  if (options.port !== undefined) args.push('--port', String(options.port));
  const lookDir = join(dir, 'look');
  if (options.look === true) args.push('--look', lookDir);
  if (options.watch !== undefined) args.push('--watch', options.watch);
  if (options.history === true) args.push('--history');
  // Its stdin is our pipe: when we die, it sees the end of it.
  const child = spawn(process.execPath, args, { stdio: 'pipe' });
  const ended = new Promise<void>((resolve) => child.once('close', () => resolve()));
  const clean = (): void => {
    if (isTemporary) rmSync(dir, { recursive: true, force: true });
  };
  const ready = await readReady(child).catch((error: unknown) => {
    clean();
    throw error;
  });
  const control = (method: string, path: string, body?: unknown): Promise<unknown> =>
    callControl(`${ready.control_url}${path}`, method, body);
  const tokenFile = (name: string): string => {
    const file = ready.tokens[name];
    if (file === undefined) throw new Error(`no token ${name}`);
    return file;
  };
  return {
    url: ready.url,
    controlUrl: ready.control_url,
    caFile: ready.ca_file,
    fingerprint: ready.fingerprint,
    node: ready.node,
    dir,
    lookDir,
    pid: ready.pid,
    tokenFile,
    token: (name) => readFileSync(tokenFile(name), 'utf8').trim(),
    control,
    addFault: async (fault) => {
      await control('POST', '/faults', fault);
    },
    requests: async () =>
      ((await control('GET', '/requests')) as { requests: LoggedRequest[] }).requests,
    history: async () => (await control('GET', '/history')) as NodeHistory,
    resetRequests: async () => {
      await control('DELETE', '/requests');
    },
    received: async (request) => {
      await control('POST', '/await', request);
    },
    settle: async () => {
      await control('POST', '/settle');
    },
    stop: async () => {
      child.kill('SIGTERM');
      await ended;
      clean();
    },
  };
}

/** The one line on stdout; throws when the process ends before it. */
function readReady(child: ChildProcess): Promise<Ready> {
  return new Promise((resolve, reject) => {
    let text = '';
    let complaint = '';
    let isReady = false;
    // Afterwards it only speaks when it is broken itself.
    child.stderr?.on('data', (chunk: Buffer) => {
      if (isReady) process.stderr.write(chunk);
      else complaint += chunk.toString('utf8');
    });
    child.stdout?.on('data', (chunk: Buffer) => {
      text += chunk.toString('utf8');
      const end = text.indexOf('\n');
      if (end < 0) return;
      isReady = true;
      resolve(JSON.parse(text.slice(0, end)) as Ready);
    });
    child.once('error', reject);
    child.once('close', (code) =>
      reject(new Error(`the simulator ended with ${code}: ${complaint.split('\n')[0]}`)),
    );
  });
}

/** Without keep-alive: nothing of ours stays open after the answer. */
function callControl(url: string, method: string, body: unknown): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const request = httpRequest(url, { method, agent: false }, (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.on('end', () => {
        const parsed: unknown = JSON.parse(Buffer.concat(chunks).toString('utf8'));
        if (response.statusCode === 200) resolve(parsed);
        else reject(new Error(`${method} ${url}: ${JSON.stringify(parsed)}`));
      });
    });
    request.once('error', reject);
    request.end(body === undefined ? undefined : JSON.stringify(body));
  });
}
