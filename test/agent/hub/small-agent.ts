/**
 * An agent with nothing but its engine, a real journal on a disk in memory, and the intake for
 * signed ops. `restart` is kill -9 and the next start.
 */
import { createHmac } from 'node:crypto';
import { createEventHub } from '../../../src/agent/daemon/event-hub.ts';
import { createAuthority } from '../../../src/agent/hub/authority.ts';
import { createClockGuard } from '../../../src/agent/hub/clock-guard.ts';
import { type AcceptEnvelope, createIntake, keyMemoryOf } from '../../../src/agent/hub/intake.ts';
import { type Journal, startJournal } from '../../../src/journal/journal.ts';
import type { Clock } from '../../../src/reconcile/clock.ts';
import type { Engine } from '../../../src/reconcile/engine.ts';
import type { OpView } from '../../../src/reconcile/ports.ts';
import { AgentLife, POLICY } from '../../support/agent-life.ts';
import { DesiredSource } from '../../support/desired-source.ts';
import { MemoryDisk } from '../../support/memory-disk.ts';
import { plainSemantics } from '../../support/plain-semantics.ts';
import { seededRandom } from '../../support/seeded-random.ts';
import type { TestRing } from './signing.ts';
import { SmallNode } from './small-node.ts';

export const AGENT = 'pve1';

const hashSecret = (text: string): string =>
  createHmac('sha256', 'a key of the state dir').update(text).digest('hex');

export class SmallAgent<Time extends Clock = Clock> {
  readonly clock: Time;
  readonly node = new SmallNode(Array.from({ length: 40 }, (_, i) => 100 + i));
  readonly desired = new DesiredSource();
  readonly ring: TestRing;
  readonly events = createEventHub();
  readonly #random = seededRandom(7);
  #segmentBytes = 64 * 1024;
  #disk = new MemoryDisk();
  #life: AgentLife | null = null;
  #journal: Journal | null = null;
  #accept: AcceptEnvelope | null = null;

  constructor(ring: TestRing, clock: Time) {
    this.ring = ring;
    this.clock = clock;
  }

  static async start<Time extends Clock>(
    ring: TestRing,
    clock: Time,
    segmentBytes = 64 * 1024,
  ): Promise<SmallAgent<Time>> {
    const agent = new SmallAgent(ring, clock);
    agent.#segmentBytes = segmentBytes;
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

  kill(): void {
    this.#life?.kill();
  }

  async restart(
    left: (disk: MemoryDisk) => MemoryDisk = (disk) => disk.afterKill(),
  ): Promise<void> {
    this.kill();
    const dead = this.#disk;
    this.#disk = left(dead);
    dead.faults = () => 'crash';
    await this.#start();
  }

  async #start(): Promise<void> {
    const { clock, ring, node, desired, events } = this;
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
      segmentBytes: this.#segmentBytes,
      keepSegments: 100,
      keepForMs: 86_400_000,
      onHalt: (error) => events.emit({ kind: 'halted', error }),
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
      events,
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
      keys: keyMemoryOf(journal),
      submit: (request) => engine.submit(request),
    });
  }
}
