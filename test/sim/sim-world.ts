/** Everything of one simulated world: the node, the agent's lives on one disk, and who watches. */

import { JournalReader } from '../../src/journal/reader.ts';
import { verifyJournal } from '../../src/journal/verify.ts';
import type { OpRecord } from '../../src/reconcile/op.ts';
import type { OpLedger } from '../../src/reconcile/ports.ts';
import { readTextsByContract } from '../e2e/contract-journal.ts';
import type { MemoryDisk } from '../support/memory-disk.ts';
import { ModelApi } from '../support/model/api.ts';
import { ModelNode } from '../support/model/node.ts';
import { tick, VirtualClock } from '../support/virtual-clock.ts';
import { Archive } from './archive.ts';
import { Asked } from './asked.ts';
import { Dice } from './dice.ts';
import { Holds } from './holds.ts';
import type { Script } from './script.ts';
import { SimAgent } from './sim-agent.ts';
import { Truth } from './truth.ts';
import { Verdicts } from './verdicts.ts';
import { WatchedDesired } from './watched-desired.ts';
import { Witness } from './witness.ts';

/** One way, as the model's wire has it. */
const WIRE_MS = 5;
/** A look goes out and comes back, and may have to wait for the one before it. */
const WAYS_OF_A_LOOK = 4;
/** A stuck node keeps one part of a look this long after the other. */
const STUCK_MS = 30_000;

export class SimWorld {
  readonly clock = new VirtualClock(tick);
  /** Chance of the world's own, and the agent's: what one draws does not move the other. */
  readonly dice: Dice;
  readonly random: Dice;
  readonly verdicts = new Verdicts(() => this.clock.elapsedMs);
  readonly node = new ModelNode(this.clock);
  readonly api = new ModelApi(this.node);
  readonly archive = new Archive();
  readonly watched = new WatchedDesired(this.clock);
  readonly holds = new Holds(() => this.clock.elapsedMs);
  readonly truth = new Truth(this.node);
  readonly asked: Asked;
  readonly agent: SimAgent;
  readonly witness: Witness;
  /** The longest that a look and a sync, on their way, take in this script. */
  readonly slowestMs: number;
  /** Reads that fail, as a share of all. */
  flakyShare = 0;
  maxWireMs = WIRE_MS;
  /** When the wall clock was stepped last. */
  steppedAtMs = Number.NEGATIVE_INFINITY;
  isOver = false;
  /** Ends the engine of the current life. */
  kill: () => void = () => undefined;

  constructor(script: Script) {
    this.dice = new Dice(script.seed ^ 0x5eed);
    this.random = new Dice(script.seed ^ 0xa6e27);
    this.slowestMs = slowestOf(script);
    this.asked = new Asked(this);
    this.agent = new SimAgent(this, script);
    this.#roughen();
    this.witness = new Witness(this);
    for (const { vmid, setup } of script.guests) this.node.add(vmid, setup);
    for (const { vmid, wish } of script.wishes) this.watched.wish(vmid, wish);
  }

  /** The wire takes as long, and fails as often, as the script says. */
  #roughen(): void {
    const { wire } = this.api;
    const { signal } = new AbortController();
    wire.pass = () => this.clock.sleep(this.dice.whole(1, this.maxWireMs), signal);
    const read = wire.read.bind(wire);
    wire.read = async (name, aborted, make) => {
      const answer = await read(name, aborted, make);
      if (this.flakyShare === 0 || !this.dice.chance(this.flakyShare)) return answer;
      return { kind: 'failure', problem: { code: 'service_unavailable', message: 'reset [595]' } };
    };
  }

  /** The agent's ledger, with what it writes told to those who watch. */
  watchLedger(ledger: OpLedger): OpLedger {
    return new Proxy(ledger, {
      get: (target, key) => {
        const value: unknown = Reflect.get(target, key, target);
        if (typeof value !== 'function') return value;
        if (key === 'append') {
          return (draft: OpRecord) => {
            this.witness.judgeAppend(draft);
            return target.append(draft);
          };
        }
        if (key === 'note')
          return (note: Parameters<OpLedger['note']>[0]) => this.#note(target, note);
        return value.bind(target);
      },
    });
  }

  async #note(ledger: OpLedger, note: Parameters<OpLedger['note']>[0]): Promise<void> {
    // Until it is known to be durable, nobody can say which hold is in force.
    const since = this.holds.release(note);
    await ledger.note(note);
    this.holds.take(note, since);
  }

  /** What was durable, or acknowledged, is there. */
  async checkJournal(memory: MemoryDisk): Promise<void> {
    for (const { op_id: opId, state, seq } of await this.archive.reread(memory)) {
      const message = `${opId} ${state} (seq ${seq}) was durable and is gone`;
      this.verdicts.fail('acknowledged_op_is_never_lost', message);
    }
    this.asked.checkAcknowledged(this.archive.ops);
  }

  /** The whole history is sound, also to a reader who knows the format's description alone. */
  async verify(memory: MemoryDisk): Promise<void> {
    const history = this.archive.history(memory);
    const report = await verifyJournal(new JournalReader(history));
    for (const { segment, line, rule, message } of report.problems) {
      this.verdicts.fail('journal_verifies', `${segment}:${line} ${rule} ${message}`);
    }
    const texts = [...history.files()]
      .filter(([name]) => name.endsWith('.jsonl'))
      .map(([name, bytes]) => ({ name, text: bytes.toString('utf8') }))
      .sort((a, b) => (a.name < b.name ? -1 : 1));
    for (const problem of readTextsByContract(texts).problems) {
      this.verdicts.fail('journal_verifies', problem);
    }
  }
}

function slowestOf({ events }: Script): number {
  let [wireMs, diskMs, stuckMs] = [WIRE_MS, 0, 0];
  for (const event of events) {
    if (event.kind === 'wire_slow') wireMs = Math.max(wireMs, event.maxMs);
    if (event.kind === 'disk_slow') diskMs = Math.max(diskMs, event.maxMs);
    if (event.kind === 'wire' && event.state === 'stuck') stuckMs = STUCK_MS;
  }
  return wireMs * WAYS_OF_A_LOOK + diskMs * 2 + stuckMs;
}
