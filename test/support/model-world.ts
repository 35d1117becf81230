/**
 * A node, a journal and an agent on them, in virtual time: what scenarios and laws are run in. The
 * agent may live several lives; node and journal outlive them.
 */

import type { Problem } from '../../src/reconcile/errors.ts';
import type { EngineEvent } from '../../src/reconcile/events.ts';
import type { CorePorts, EnginePolicy, OpView, ValueSemantics } from '../../src/reconcile/ports.ts';
import { AgentLife, POLICY, type Step } from './agent-life.ts';
import { DesiredSource } from './desired-source.ts';
import { KeptJournal } from './kept-journal.ts';
import { ModelApi } from './model/api.ts';
import { ModelNode } from './model/node.ts';
import { plainSemantics } from './plain-semantics.ts';
import { seededRandom } from './seeded-random.ts';
import { tick, VirtualClock } from './virtual-clock.ts';

export interface LifeOptions {
  /** Between two passes; null: none by itself. */
  readonly intervalMs: number | null;
  readonly policy?: Partial<EnginePolicy>;
  readonly onStep?: Step;
}

export class ModelWorld {
  readonly clock = new VirtualClock(tick);
  readonly node = new ModelNode(this.clock);
  readonly api = new ModelApi(this.node);
  readonly journal = new KeptJournal(this.clock);
  readonly desired = new DesiredSource();
  readonly random = seededRandom(1);
  semantics: ValueSemantics = plainSemantics;
  onEvent: (event: EngineEvent) => void = () => undefined;
  objection: (op: OpView) => Problem | null = () => null;
  signaturesLeft: (op: OpView) => number = ({ first }) => first.signers?.length ?? 0;
  #life: AgentLife | null = null;
  #ports: CorePorts | null = null;
  /** Ends the pass loop of the current life. */
  #loop = new AbortController();

  get life(): AgentLife {
    if (this.#life === null) throw new Error('the agent is not running');
    return this.#life;
  }

  /** What the current life is given. */
  get ports(): CorePorts {
    if (this.#ports === null) throw new Error('the agent is not running');
    return this.#ports;
  }

  async start({ intervalMs, policy = {}, onStep }: LifeOptions): Promise<AgentLife> {
    this.#ports = {
      clock: this.clock,
      random: this.random,
      guests: this.api,
      ledger: await this.journal.open(),
      semantics: this.semantics,
      desired: this.desired,
      authority: {
        objection: (op) => this.objection(op),
        signaturesLeft: (op) => this.signaturesLeft(op),
      },
      events: { emit: (event) => this.onEvent(event) },
      policy: { ...POLICY, ...policy },
    };
    this.api.views.beginLife();
    const life = new AgentLife(this.#ports, onStep);
    this.#life = life;
    this.#loop = new AbortController();
    life.engine.recover();
    if (intervalMs !== null) void this.#pass(life, intervalMs, this.#loop.signal);
    return life;
  }

  async #pass(life: AgentLife, intervalMs: number, signal: AbortSignal): Promise<void> {
    while (!signal.aborted && !life.isDead) {
      try {
        await life.engine.pass();
      } catch (error) {
        if (!signal.aborted) this.onEvent({ kind: 'halted', error });
      }
      await this.clock.sleep(intervalMs, signal);
    }
  }

  kill(): void {
    this.#life?.kill();
    this.journal.crash();
    this.#loop.abort();
  }

  /** As SIGTERM does; resolves to how long it took. */
  async stop(): Promise<number> {
    this.#loop.abort();
    const beganMs = this.clock.elapsedMs;
    if (this.#life !== null && !this.#life.isDead) {
      await this.clock.until(this.#life.engine.stop(), 5_000);
      await this.journal.close();
    }
    this.#life?.kill();
    return this.clock.elapsedMs - beganMs;
  }
}
