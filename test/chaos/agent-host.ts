/**
 * Runs the agent as a service manager would: started again whenever it has ended. Everything that
 * is done to its processes goes through here, so that each end has its reason.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { appendFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import type { Interval, Life, Suffering } from './evidence.ts';

const RESTART_MS = 100;
/** Until the lock of a stopped process is stale, each start is refused. */
const REFUSED_MS = 500;
const STEADY_MS = 2_500;
const UP = '"agent is up"';
/** A lock is stale after 10 s, watched for 3 more, and the machine may be busy. */
const TAKE_OVER_MS = 60_000;
/** How long a process that has lost its lock may take to notice. */
const HALT_MS = 20_000;

interface Process {
  readonly life: Life;
  readonly child: ChildProcess;
  readonly up: Promise<void>;
  readonly ended: Promise<void>;
  isUp: boolean;
  /** It has been up for a while, and worked. */
  isSteady: boolean;
}

export interface AgentCommand {
  readonly program: string;
  readonly configFile: string;
  readonly logFile: string;
  readonly env: Readonly<Record<string, string>>;
}

export class AgentHost {
  readonly lives: Life[] = [];
  /** When a process of the agent stood still. */
  readonly stops: Interval[] = [];
  readonly faults: string[] = [];
  readonly counts = { kills: 0, stops: 0, takeovers: 0, terminations: 0 };
  readonly #command: AgentCommand;
  readonly #running = new Set<Process>();
  /** Of those that are to come as well. */
  readonly #lasting = new Set<Suffering>();
  #current: Process | null = null;
  #isOver = false;
  #isBusy = false;

  constructor(command: AgentCommand) {
    this.#command = command;
  }

  get restarts(): number {
    return Math.max(0, this.lives.length - 1);
  }

  start(): void {
    const { program, configFile, env } = this.#command;
    const child = spawn(process.execPath, [program, 'agent', '--config', configFile], {
      stdio: ['ignore', 'ignore', 'pipe'],
      env: { ...process.env, ...env },
    });
    const life: Life = {
      pid: child.pid ?? 0,
      beganMs: Date.now(),
      endedMs: null,
      exit: null,
      signal: null,
      suffered: new Set(this.#lasting),
    };
    this.lives.push(life);
    const up = Promise.withResolvers<void>();
    const ended = Promise.withResolvers<void>();
    const own: Process = {
      life,
      child,
      up: up.promise,
      ended: ended.promise,
      isUp: false,
      isSteady: false,
    };
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      appendFileSync(this.#command.logFile, text);
      if (!text.includes(UP)) return;
      own.isUp = true;
      up.resolve();
      setTimeout(() => {
        own.isSteady = true;
      }, STEADY_MS).unref();
    });
    child.once('close', (exit, signal) => {
      Object.assign(life, { endedMs: Date.now(), exit, signal });
      this.#running.delete(own);
      ended.resolve();
      if (this.#current !== own) return;
      this.#current = null;
      if (!this.#isOver) setTimeout(() => this.#restart(), exit === 75 ? REFUSED_MS : RESTART_MS);
    });
    this.#running.add(own);
    this.#current = own;
  }

  #restart(): void {
    if (!this.#isOver && this.#current === null) this.start();
  }

  /** Only one thing at a time is done to its processes; false: something is. */
  async #alone(act: (own: Process) => Promise<void>, mustBeUp = false): Promise<boolean> {
    const own = this.#current;
    if (this.#isBusy || this.#isOver || own === null) return false;
    if (mustBeUp && !own.isUp) return false;
    this.#isBusy = true;
    try {
      await act(own);
    } finally {
      this.#isBusy = false;
    }
    return true;
  }

  kill(): Promise<boolean> {
    return this.#alone(async ({ life, child, ended }) => {
      life.suffered.add('kill');
      this.counts.kills += 1;
      child.kill('SIGKILL');
      await ended;
    });
  }

  /** Only one that is up: before anybody listens for it, the signal ends a process as any other. */
  terminate(): Promise<boolean> {
    return this.#alone(async (own) => {
      own.life.suffered.add('terminate');
      this.counts.terminations += 1;
      own.child.kill('SIGTERM');
      await own.ended;
    }, true);
  }

  pause(forMs: number): Promise<boolean> {
    return this.#alone(async ({ child }) => {
      const fromMs = Date.now();
      this.counts.stops += 1;
      child.kill('SIGSTOP');
      await delay(forMs);
      child.kill('SIGCONT');
      this.stops.push({ fromMs, toMs: Date.now() });
    });
  }

  /** It is stopped until another has its lock, and goes on then. */
  takeOver(): Promise<boolean> {
    return this.#alone(async (own) => {
      const fromMs = Date.now();
      this.counts.takeovers += 1;
      own.life.suffered.add('lost_lock');
      own.child.kill('SIGSTOP');
      this.#lasting.add('held_lock');
      this.start();
      await Promise.race([this.#whenUp(), delay(TAKE_OVER_MS)]);
      const isTaken = this.#current?.isUp === true;
      if (!isTaken) this.faults.push(`nobody has taken over from agent ${own.life.pid}`);
      own.child.kill('SIGCONT');
      this.stops.push({ fromMs, toMs: Date.now() });
      await Promise.race([own.ended, delay(HALT_MS)]);
      this.#lasting.delete('held_lock');
      if (own.life.endedMs !== null) return;
      if (isTaken) this.faults.push(`agent ${own.life.pid} has lost its lock and goes on`);
      own.life.suffered.add('kill');
      own.child.kill('SIGKILL');
      await own.ended;
    }, true);
  }

  /** Resolves when whoever is the current one is up. */
  async #whenUp(): Promise<void> {
    while (!this.#isOver) {
      const own = this.#current;
      if (own === null) await delay(RESTART_MS);
      else await Promise.race([own.up, own.ended]);
      if (own?.isUp === true && own.life.endedMs === null) return;
    }
  }

  async isUpWithin(limitMs: number): Promise<boolean> {
    await Promise.race([this.#whenUp(), delay(limitMs)]);
    return this.#current?.isUp === true;
  }

  /** So that a fault meets one at work, not the start that the last fault made necessary. */
  async isSteadyWithin(limitMs: number): Promise<boolean> {
    const endMs = Date.now() + limitMs;
    while (Date.now() < endMs && this.#current?.isSteady !== true) await delay(RESTART_MS);
    return this.#current?.isSteady === true;
  }

  /** From now on each of its processes may end of it, until `relieve`. */
  burden(what: Suffering): void {
    this.#lasting.add(what);
    for (const { life } of this.#running) life.suffered.add(what);
  }

  relieve(what: Suffering): void {
    this.#lasting.delete(what);
  }

  /** In order, as the last thing. */
  async stop(limitMs: number): Promise<void> {
    this.#isOver = true;
    const own = this.#current;
    if (own === null) return;
    own.life.suffered.add('terminate');
    own.child.kill('SIGTERM');
    await Promise.race([own.ended, delay(limitMs)]);
    if (own.life.endedMs === null) this.faults.push(`agent ${own.life.pid} ignored SIGTERM`);
    await this.strike();
  }

  /** Whatever is still there is gone afterwards. */
  async strike(): Promise<void> {
    this.#isOver = true;
    for (const { child, ended, life } of this.#running) {
      life.suffered.add('kill');
      child.kill('SIGKILL');
      await ended;
    }
  }
}
