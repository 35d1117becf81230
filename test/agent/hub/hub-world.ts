/** A small agent and its hub, over real sockets, in fast time. */
import { makeSigningKey, type SigningKey } from '../../../src/agent/hub/agent-key.ts';
import { type HubService, startHubService } from '../../../src/agent/hub/hub-service.ts';
import { JournalReader } from '../../../src/journal/reader.ts';
import type { MemoryDisk } from '../../support/memory-disk.ts';
import { seededRandom } from '../../support/seeded-random.ts';
import { FakeHub } from './fake-hub.ts';
import { FastClock } from './fast-clock.ts';
import { makeKey, signBody, signerOf, type TestKey, TestRing } from './signing.ts';
import { AGENT, SmallAgent } from './small-agent.ts';

export class HubWorld implements AsyncDisposable {
  readonly agent: SmallAgent<FastClock>;
  readonly hub: FakeHub;
  readonly warnings: string[] = [];
  readonly #key: SigningKey;
  readonly #signers: readonly TestKey[];
  #service: HubService | null = null;

  private constructor(agent: SmallAgent<FastClock>, hub: FakeHub, parts: [SigningKey, TestKey[]]) {
    this.agent = agent;
    this.hub = hub;
    [this.#key, this.#signers] = parts;
  }

  static async start(): Promise<HubWorld> {
    const key = makeSigningKey();
    const signers = [makeKey('hub-1'), makeKey('hub-2')];
    const hub = new FakeHub(key.publicKeyPem);
    await hub.start();
    const ring = new TestRing(signers.map((each) => signerOf(each)));
    const agent = await SmallAgent.start(ring, new FastClock());
    const world = new HubWorld(agent, hub, [key, signers]);
    agent.events.subscribe(() => hub.note());
    await world.connect();
    return world;
  }

  get service(): HubService {
    if (this.#service === null) throw new Error('not connected');
    return this.#service;
  }

  async connect(ca: string = this.hub.ca): Promise<void> {
    const { agent, hub } = this;
    this.#service = await startHubService({
      clock: agent.clock,
      random: seededRandom(3),
      agent: AGENT,
      url: hub.url,
      trust: { kind: 'ca', ca },
      key: this.#key,
      journal: agent.journal,
      history: new JournalReader(agent.disk),
      engine: agent.engine,
      events: agent.events,
      accept: agent.accept,
      refusals: { tell: () => undefined },
      log: {
        info: () => hub.note(),
        warn: (_fields, text) => this.#heard(text),
        error: (_fields, text) => this.#heard(text),
      },
    });
  }

  #heard(text: string): void {
    this.warnings.push(text);
    this.hub.note();
  }

  /** kill -9, or a power loss as `left` has it, and the next start. */
  async restart(left?: (disk: MemoryDisk) => MemoryDisk): Promise<void> {
    this.agent.kill();
    void this.#service?.stop();
    await this.agent.restart(left);
    await this.connect();
  }

  /** An op's envelope, valid for an hour of fast time. */
  sign(fields: object, count = 1): string {
    const nowMs = this.agent.clock.now();
    const op = {
      agent: AGENT,
      issued_at: new Date(nowMs).toISOString(),
      expires_at: new Date(nowMs + 20 * 3_600_000).toISOString(),
      kind: 'start',
      params: {},
      ...fields,
    };
    return JSON.stringify(signBody(JSON.stringify(op), this.#signers.slice(0, count)));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.agent.kill();
    await this.#service?.stop();
    await this.hub.stop();
  }
}
