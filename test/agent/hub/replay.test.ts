/**
 * Replays: whatever restarts, clock steps, key rotations and segments lie between, an envelope is
 * one op, or none. `REPLAYS=100000` takes longer and tries more.
 */
import { expect, test } from 'vitest';
import { MemoryDisk } from '../../support/memory-disk.ts';
import { seededRandom } from '../../support/seeded-random.ts';
import { VirtualClock } from '../../support/virtual-clock.ts';
import { bytesOf, makeKey, signBody, signerOf, TestRing } from './signing.ts';
import { AGENT, SmallAgent } from './small-agent.ts';

const REPLAYS = Number(process.env['REPLAYS'] ?? 3_000);
/** Then an agent begins anew: one whose clock has gone back for hours refuses for hours. */
const STORY_REPLAYS = 500;
const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;

const keys = [makeKey('hub-1'), makeKey('hub-2'), makeKey('hub-3')];
const signers = keys.map((key) => signerOf(key));

interface Sent {
  readonly bytes: Buffer;
  /** The op it became, once it has. */
  opId: string | null;
}

class Story {
  readonly #random: () => number;
  readonly #clock = new VirtualClock();
  readonly #ring = new TestRing(signers);
  readonly envelopes: Sent[] = [];
  readonly answers = new Set<string>();
  #agent: SmallAgent<VirtualClock> | null = null;

  constructor(seed: number) {
    const random = seededRandom(seed);
    this.#random = () => random.next();
  }

  get agent(): SmallAgent<VirtualClock> {
    if (this.#agent === null) throw new Error('not begun');
    return this.#agent;
  }

  async begin(): Promise<void> {
    // Segments so small that they turn over all the time, and forget what has expired.
    this.#agent = await SmallAgent.start(this.#ring, this.#clock, 8 * 1024);
  }

  #pick(count: number): number {
    return Math.floor(this.#random() * count);
  }

  sign(): void {
    const number = this.envelopes.length;
    const nowMs = this.#clock.now();
    const lifetimeMs = 1 + this.#pick(this.#pick(2) === 0 ? 3 * MINUTE_MS : 3 * HOUR_MS);
    const op = {
      idemp_key: `key-${number}`,
      agent: AGENT,
      issued_at: new Date(nowMs).toISOString(),
      expires_at: new Date(nowMs + lifetimeMs).toISOString(),
      kind: 'set_config',
      vmid: 100 + (number % 40),
      params: { set: { description: `op ${number}` } },
    };
    const by = keys.slice(0, 1 + this.#pick(keys.length));
    this.envelopes.push({ bytes: bytesOf(signBody(JSON.stringify(op), by)), opId: null });
  }

  async deliver(): Promise<void> {
    // Mostly the newest ones; now and then something old.
    const { length } = this.envelopes;
    const back = this.#pick(this.#pick(4) === 0 ? length : Math.min(length, 12));
    const sent = this.envelopes[length - 1 - back];
    if (sent === undefined) return;
    const result = await this.agent.accept(sent.bytes);
    this.answers.add(result.kind === 'refused' ? result.code : result.kind);
    if (result.kind === 'refused') return;
    if (sent.opId !== null) expect(result).toEqual({ kind: 'repeat', opId: sent.opId });
    sent.opId = result.opId;
  }

  async disturb(): Promise<void> {
    const kind = this.#pick(16);
    if (kind < 6) await this.#clock.advanceTo(this.#clock.elapsedMs + this.#pick(2 * MINUTE_MS));
    else if (kind === 6) this.#clock.stepWall(this.#pick(2 * HOUR_MS) - HOUR_MS);
    else if (kind < 9) this.#ring.held = signers.filter(() => this.#pick(3) > 0);
    else if (kind < 12) this.#ring.held = signers;
    else await this.#restart();
  }

  async #restart(): Promise<void> {
    const isPowerLoss = this.#pick(2) === 0;
    await this.agent.restart((disk: MemoryDisk) =>
      isPowerLoss ? disk.afterPowerLoss((count) => this.#pick(count)) : disk.afterKill(),
    );
  }

  async settle(): Promise<void> {
    await this.#clock.until(this.agent.engine.idle(), 10 * HOUR_MS);
  }
}

test(`${REPLAYS} replays over restarts, clock steps and key rotation: one op each, or none`, async () => {
  const told = new Set<string>();
  for (let seed = 0; seed * STORY_REPLAYS < REPLAYS; seed += 1) {
    const story = new Story(seed);
    await story.begin();
    for (let replay = 0; replay < STORY_REPLAYS; replay += 1) {
      if (replay % 6 === 0) story.sign();
      if (replay % 15 === 14) await story.disturb();
      await story.deliver();
    }
    await story.settle();
    const { written } = story.agent.node;
    expect(written).toHaveLength(new Set(written).size);
    for (const answer of story.answers) told.add(answer);
  }
  // The stories had some of everything in them.
  expect([...told].toSorted()).toEqual([
    'accepted',
    'expired',
    'invalid_request',
    'repeat',
    'service_unavailable',
    'signature_invalid',
  ]);
}, 300_000);
