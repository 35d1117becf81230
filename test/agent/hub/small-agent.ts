/**
 * An agent with nothing but its engine, a real journal on a disk in memory, and the intake for
 * signed ops. `restart` is kill -9 and the next start.
 */
import { createHmac } from 'node:crypto';
import { createAuthority } from '../../../src/agent/hub/authority.ts';
import { createClockGuard } from '../../../src/agent/hub/clock-guard.ts';
import { type AcceptEnvelope, createIntake } from '../../../src/agent/hub/intake.ts';
import { type Journal, startJournal } from '../../../src/journal/journal.ts';
import type { Engine } from '../../../src/reconcile/engine.ts';
import type { EngineEvent } from '../../../src/reconcile/events.ts';
import type { OpView } from '../../../src/reconcile/ports.ts';
import { AgentLife, POLICY } from '../../support/agent-life.ts';
import { DesiredSource } from '../../support/desired-source.ts';
import { MemoryDisk } from '../../support/memory-disk.ts';
import { plainSemantics } from '../../support/plain-semantics.ts';
import { seededRandom } from '../../support/seeded-random.ts';
import { VirtualClock } from '../../support/virtual-clock.ts';
import type { TestRing } from './signing.ts';
import { SmallNode } from './small-node.ts';

export const AGENT = 'pve1';

const hashSecret = (text: string): string =>
  createHmac('sha256', 'a key of the state dir').update(text).digest('hex');

export class SmallAgent {
  readonly clock = new VirtualClock();
  readonly node = new SmallNode(Array.from({ length: 40 }, (_, i) => 100 + i));
  readonly desired = new DesiredSource();
  readonly ring: TestRing;
  readonly listeners = new Set<(event: EngineEvent) => void>();
  readonly #random = seededRandom(7);
  #disk = new MemoryDisk();
  #life: AgentLife | null = null;
  #journal: Journal | null = null;
  #accept: AcceptEnvelope | null = null;

  constructor(ring: TestRing) {
    this.ring = ring;
  }

  static async start(ring: TestRing): Promise<SmallAgent> {
    const agent = new SmallAgent(ring);
    await agent.#start();
    return agent;
  }

  get engine(): Engine {
    if (this.#life === null) throw new Error('not started');
    return this.#life.engine;
  }

  get journal(): Journal {
    if (this.#journal === null) throw new Error('not started');
    return this.#journal;
  }

  get disk(): MemoryDisk {
    return this.#disk;
  }

  readonly accept: AcceptEnvelope = async (bytes) => {
    if (this.#accept === null) throw new Error('not started');
    return this.#accept(bytes);
  };

  /** The op of an idempotency key, if there is one. */
  opOf(key: string): OpView | null {
    const kept = this.journal.ledger.findKey(key);
    return kept === null ? null : this.journal.ledger.findOp(kept.opId);
  }

  async restart(): Promise<void> {
    this.#life?.kill();
    const dead = this.#disk;
    this.#disk = dead.afterKill();
    dead.faults = () => 'crash';
    await this.#start();
  }

  async #start(): Promise<void> {
    const { clock, ring, node, desired, listeners } = this;
    const random = this.#random;
    const journal = await startJournal({
      disk: this.#disk,
      clock,
      random,
      opener: { pid: 1, host: 'h', boot_id: 'b', started_at: 's' },
      hashSecret,
      assertStillOwner: () => undefined,
      isTakeover: false,
      isSuspect: false,
      segmentBytes: 64 * 1024,
      keepSegments: 100,
      keepForMs: 86_400_000,
      onHalt: () => undefined,
    });
    const clockGuard = createClockGuard({ clock, lastRecordAtMs: journal.lastAtMsBefore });
    const authority = createAuthority({
      clock,
      clockGuard,
      signers: ring,
      semantics: plainSemantics,
      policy: POLICY,
    });
    this.#journal = journal;
    this.#life = new AgentLife({
      clock,
      random,
      guests: node.api,
      ledger: journal.ledger,
      semantics: plainSemantics,
      desired,
      authority,
      events: { emit: (event) => listeners.forEach((listener) => listener(event)) },
      policy: POLICY,
    });
    const { engine } = this.#life;
    engine.recover();
    this.#accept = createIntake({
      agent: AGENT,
      clock,
      clockGuard,
      signers: ring,
      hashPayload: hashSecret,
      forgottenToMs: () => journal.hub().forgottenToMs,
      submit: (request) => engine.submit(request),
    });
  }
}
