/**
 * The agent, life after life, on one disk: it is killed, loses power, is told to stop, ends on a
 * failed write, and is started again, as systemd does. Its journal is the real one.
 */

import { createPassLoop, type PassLoop } from '../../src/agent/daemon/pass-loop.ts';
import { type ClockGuard, createClockGuard } from '../../src/agent/hub/clock-guard.ts';
import { type Journal, startJournal } from '../../src/journal/journal.ts';
import type { Engine } from '../../src/reconcile/engine.ts';
import type { CorePorts, GuestApi, OpLedger } from '../../src/reconcile/ports.ts';
import { AgentLife, POLICY } from '../support/agent-life.ts';
import { MemoryDisk } from '../support/memory-disk.ts';
import { plainSemantics } from '../support/plain-semantics.ts';
import type { Archive } from './archive.ts';
import type { CrashKind, Script } from './script.ts';
import { type DiskMood, SimDisk } from './sim-disk.ts';
import type { SimWorld } from './sim-world.ts';

const INTERVAL_MS = 30_000;
/** A poisoned process is gone this much later. */
const HALT_MS = 20;
const RESTART_MS = 5_000;
/** SIGTERM is given this long, then the process is killed. */
const STOP_LIMIT_MS = 5_000;
const YEAR_MS = 365 * 86_400_000;
const UNABORTED = new AbortController().signal;

/** One process of the agent; `running` once it has opened its journal. */
interface Life {
  readonly disk: SimDisk;
  readonly loop: AbortController;
  running: Running | null;
  isDead: boolean;
  isStopping: boolean;
}

export interface Running {
  readonly engine: Engine;
  readonly ledger: OpLedger;
  readonly journal: Journal;
  readonly passes: PassLoop;
  readonly clockGuard: ClockGuard;
}

export class SimAgent {
  readonly #world: SimWorld;
  readonly #script: Script;
  readonly mood: DiskMood = { faults: [], maxSyncMs: 0 };
  #memory = new MemoryDisk();
  #life: Life | null = null;
  /** How the last life ended. */
  #wasPoisoned = false;
  #wasClosed = true;
  #countdown: { steps: number; how: CrashKind; downMs: number } | null = null;
  lives = 0;

  constructor(world: SimWorld, script: Script) {
    this.#world = world;
    this.#script = script;
  }

  /** Null while it is down, or opening its journal. */
  get running(): Running | null {
    return this.#life?.running ?? null;
  }

  get isUp(): boolean {
    return this.#life !== null;
  }

  get memory(): MemoryDisk {
    return this.#memory;
  }

  get #archive(): Archive {
    return this.#world.archive;
  }

  /** The agent ends so many steps from now. */
  armCrash(how: CrashKind, steps: number, downMs: number): void {
    this.#countdown = { how, steps, downMs };
  }

  disarm(): void {
    this.#countdown = null;
    this.mood.faults.splice(0);
    this.mood.maxSyncMs = 0;
  }

  #step(): void {
    const countdown = this.#countdown;
    if (countdown === null) return;
    countdown.steps -= 1;
    if (countdown.steps > 0) return;
    this.#countdown = null;
    this.end(countdown.how, countdown.downMs);
  }

  /** Ends the life there is, and has another begin later. */
  end(how: CrashKind, downMs: number): void {
    const life = this.#life;
    if (life === null || life.isDead || (how === 'sigterm' && life.isStopping)) return;
    if (how === 'sigterm' && life.running !== null) void this.#stop(life, life.running, downMs);
    else this.#die(life, how === 'power_loss' ? 'power_loss' : 'kill', downMs);
  }

  #die(life: Life, how: 'kill' | 'power_loss', downMs: number): void {
    if (life.isDead) return;
    life.isDead = true;
    life.disk.isDead = true;
    this.#world.kill();
    life.loop.abort();
    this.#life = null;
    this.#wasClosed = false;
    // The mark of a failed disk stays until a life has opened; a machine that loses power has no
    // pages left to be wrong about.
    this.#wasPoisoned =
      how === 'kill' && (life.disk.hasFailed || (this.#wasPoisoned && !life.running));
    const { dice } = this.#world;
    this.#memory =
      how === 'kill'
        ? this.#memory.afterKill()
        : this.#memory.afterPowerLoss((count) => dice.whole(0, count - 1));
    void this.#startLater(downMs);
  }

  async #stop(life: Life, { engine, journal }: Running, downMs: number): Promise<void> {
    life.isStopping = true;
    life.loop.abort();
    const { clock, verdicts } = this.#world;
    const limit = clock.sleep(STOP_LIMIT_MS, UNABORTED).then(() => 'late' as const);
    const end = await Promise.race([engine.stop().then(() => 'stopped' as const), limit]);
    if (life.isDead) return;
    if (end === 'late') {
      const isSlow = this.mood.maxSyncMs > 0;
      if (!isSlow) verdicts.fail('memory_and_lanes_are_bounded', 'it did not stop within 5 s');
      return this.#die(life, 'kill', downMs);
    }
    await journal.close();
    if (life.isDead) return;
    this.#die(life, 'kill', downMs);
    this.#wasClosed = !life.disk.hasFailed;
  }

  async #startLater(downMs: number): Promise<void> {
    await this.#world.clock.sleep(downMs, UNABORTED);
    if (this.#life === null) this.start();
  }

  start(): void {
    if (this.#world.isOver) return;
    this.lives += 1;
    const { clock, dice } = this.#world;
    const disk = new SimDisk({
      memory: this.#memory,
      mood: this.mood,
      clock,
      dice,
      archive: this.#archive,
      onStep: () => this.#step(),
    });
    const life: Life = {
      disk,
      loop: new AbortController(),
      running: null,
      isDead: false,
      isStopping: false,
    };
    this.#life = life;
    void this.#live(life);
  }

  async #live(life: Life): Promise<void> {
    let journal: Journal;
    try {
      journal = await this.#open(life);
    } catch (error) {
      if (life.isDead) return;
      this.#judgeHalt(life, error);
      return this.#die(life, 'kill', RESTART_MS);
    }
    if (life.isDead) return;
    await this.#world.checkJournal(this.#memory);
    if (life.isDead) return;
    this.#run(life, journal);
  }

  #open({ disk, ...life }: Life): Promise<Journal> {
    const { clock, random } = this.#world;
    const [isTakeover, isSuspect] = [!this.#wasClosed, this.#wasPoisoned];
    return startJournal({
      disk,
      clock,
      random,
      segmentBytes: this.#script.segmentBytes,
      keepSegments: this.#script.keepSegments,
      keepForMs: YEAR_MS,
      opener: { pid: this.lives, host: 'sim', boot_id: 'boot', started_at: '2026-11-20T12:00:00Z' },
      hashSecret: (text) => text,
      assertStillOwner: () => undefined,
      isTakeover,
      isSuspect,
      onHalt: (error) => this.#haltOf(life.loop, error),
    });
  }

  /** The process ends a moment after its journal was poisoned. */
  #haltOf(loop: AbortController, error: unknown): void {
    const life = this.#life;
    if (life === null || life.loop !== loop || life.isDead) return;
    this.#judgeHalt(life, error);
    const end = async (): Promise<void> => {
      await this.#world.clock.sleep(HALT_MS, UNABORTED);
      this.#die(life, 'kill', RESTART_MS);
    };
    void end();
  }

  #judgeHalt(life: Life, error: unknown): void {
    if (life.disk.hasFailed || life.isStopping) return;
    const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
    this.#world.verdicts.fail('halts_only_when_the_disk_fails', text);
  }

  #run(life: Life, journal: Journal): void {
    const { clock, random, watched } = this.#world;
    const ledger = this.#world.watchLedger(journal.ledger);
    const ports: CorePorts = {
      clock,
      random,
      guests: ownersOnly(this.#world.api, journal),
      ledger,
      semantics: plainSemantics,
      desired: watched,
      authority: {
        objection: () => null,
        signaturesLeft: ({ first }) => first.signers?.length ?? 0,
      },
      events: {
        emit: (event) => {
          if (event.kind === 'halted') this.#haltOf(life.loop, event.error);
        },
      },
      policy: { ...POLICY, maxParallel: this.#script.maxParallel },
    };
    const agentLife = new AgentLife(ports, () => this.#step());
    this.#world.kill = () => agentLife.kill();
    const { engine } = agentLife;
    const passes = createPassLoop({ clock, intervalMs: INTERVAL_MS, engine });
    const clockGuard = createClockGuard({ clock, lastRecordAtMs: journal.lastAtMsBefore });
    life.running = { engine, ledger, journal, passes, clockGuard };
    engine.recover();
    passes.run(life.loop.signal).catch((error: unknown) => {
      if (!life.loop.signal.aborted) this.#haltOf(life.loop, error);
    });
  }

  /** Ends it for good; false where it did not end. */
  async close(): Promise<boolean> {
    const life = this.#life;
    if (life?.running === null || life === null) return true;
    const { engine, journal } = life.running;
    life.isStopping = true;
    life.loop.abort();
    const stopped = await this.#world.clock.until(engine.stop(), STOP_LIMIT_MS).then(
      () => true,
      () => false,
    );
    await journal.close();
    this.#die(life, 'kill', 0);
    return stopped;
  }
}

/** J8, as the session does it: nothing is sent once the journal is poisoned. */
function ownersOnly(api: GuestApi, journal: Journal): GuestApi {
  const owned = <Args extends unknown[], Result>(send: (...args: Args) => Promise<Result>) => {
    return async (...args: Args): Promise<Result> => {
      journal.assertStillOwner();
      return send(...args);
    };
  };
  return {
    observe: api.observe.bind(api),
    lookAtNode: api.lookAtNode.bind(api),
    look: api.look.bind(api),
    awaitTask: api.awaitTask.bind(api),
    taskStatus: api.taskStatus.bind(api),
    findTasks: api.findTasks.bind(api),
    start: owned(api.start.bind(api)),
    stop: owned(api.stop.bind(api)),
    setConfig: owned(api.setConfig.bind(api)),
  };
}
