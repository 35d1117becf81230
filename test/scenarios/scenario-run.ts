/** Runs one scenario to its end: the agent's lives, its passes, and the script beside them. */
import { makeOpId } from '../../src/reconcile/ids.ts';
import type { CorePorts } from '../../src/reconcile/ports.ts';
import { AgentLife, POLICY } from '../support/agent-life.ts';
import { DesiredSource } from '../support/desired-source.ts';
import { KeptJournal } from '../support/kept-journal.ts';
import { ModelApi } from '../support/model/api.ts';
import { ModelNode } from '../support/model/node.ts';
import { plainSemantics } from '../support/plain-semantics.ts';
import { seededRandom } from '../support/seeded-random.ts';
import { VirtualClock } from '../support/virtual-clock.ts';
import { runCommand } from './scenario-commands.ts';
import { ScenarioLog } from './scenario-log.ts';
import { readTime, type Scenario } from './scenario-schema.ts';

export class ScenarioRun {
  readonly clock = new VirtualClock();
  readonly node = new ModelNode(this.clock);
  readonly api = new ModelApi(this.node);
  readonly journal = new KeptJournal(this.clock);
  readonly desired = new DesiredSource();
  readonly log = new ScenarioLog(() => this.clock.elapsedMs);
  /** What the agent's authority objects to, by origin. */
  readonly revoked = new Set<string>();
  readonly #scenario: Scenario;
  readonly #random = seededRandom(1);
  #life: AgentLife | null = null;
  #ports: CorePorts | null = null;
  /** Ends the pass loop of the current life. */
  #loop = new AbortController();

  constructor(scenario: Scenario) {
    this.#scenario = scenario;
    for (const [id, setup] of Object.entries(scenario.world)) this.node.add(Number(id), setup);
    const documents = scenario.documents ?? { 'desired.yaml': scenario.desired ?? {} };
    for (const [source, guests] of Object.entries(documents)) this.desired.put(source, guests);
    this.api.onSent = (request) => this.log.noteSent(request);
  }

  get life(): AgentLife {
    if (this.#life === null) throw new Error('the agent is not running');
    return this.#life;
  }

  get ports(): CorePorts {
    if (this.#ports === null) throw new Error('the agent is not running');
    return this.#ports;
  }

  async run(): Promise<string> {
    const { script = [], until } = this.#scenario;
    const firstOfLife = script.find((line) => / (?:agent|kill|sigterm)\b/.test(line));
    if (firstOfLife === undefined || !/ agent\b/.test(firstOfLife)) this.startAgent();
    for (const line of script) {
      const [time = '', ...words] = line.split(' ');
      await this.clock.advanceTo(readTime(time));
      await runCommand(words, this);
    }
    await this.clock.advanceTo(readTime(until));
    this.#summarise();
    const text = this.log.toString();
    this.#loop.abort();
    if (this.#life !== null && !this.#life.isDead) await this.#life.engine.stop();
    return text;
  }

  startAgent(how: 'daemon' | 'once' = 'daemon'): void {
    this.log.forgetShown();
    this.log.add('agent', 'starts');
    this.#ports = this.#makePorts();
    this.#life = new AgentLife(this.#ports);
    this.#loop = new AbortController();
    this.life.engine.recover();
    if (how === 'once') void this.#converge(this.life);
    else if (this.#scenario.passes !== 'never') void this.#pass(this.life, this.#loop.signal);
  }

  kill(): void {
    this.log.add('agent', 'is killed');
    this.life.kill();
    this.#loop.abort();
  }

  async stopAgent(): Promise<void> {
    this.#loop.abort();
    const beganMs = this.clock.elapsedMs;
    await this.clock.until(this.life.engine.stop(), 5_000);
    this.log.add('agent', `has stopped after ${this.clock.elapsedMs - beganMs} ms`);
    this.life.kill();
  }

  #makePorts(): CorePorts {
    return {
      clock: this.clock,
      random: this.#random,
      guests: this.api,
      ledger: this.journal.open(),
      semantics: plainSemantics,
      desired: this.desired,
      authority: {
        objection: ({ first }) =>
          this.revoked.has(first.origin)
            ? { code: 'signature_invalid', message: 'its signer is no longer configured' }
            : null,
      },
      events: { emit: (event) => this.log.noteEvent(event) },
      policy: { ...POLICY, ...this.#scenario.policy },
    };
  }

  async #pass(life: AgentLife, signal: AbortSignal): Promise<void> {
    const intervalMs = readTime(this.#scenario.passes ?? '30s');
    while (!signal.aborted) {
      await life.engine.pass().catch((error: unknown) => {
        if (!signal.aborted) this.log.add('agent', `pass failed: ${String(error)}`);
      });
      await this.clock.sleep(intervalMs, signal);
    }
  }

  async #converge(life: AgentLife): Promise<void> {
    const plan = await life.engine.converge();
    const left = plan.entries.filter(({ status }) => status !== 'in_sync');
    const words = left.map(
      ({ vmid, status, conditions }) =>
        `${vmid} ${[status, ...conditions.map(({ code }) => code)].join(' ')}`,
    );
    this.log.add('agent', `--once ends: ${words.join('; ') || 'all in sync'}`);
  }

  /** What is left when the script is over. */
  #summarise(): void {
    for (const { vmid, power, starts, stops } of this.node.guests.values()) {
      const lock = this.node.guest(vmid).lock;
      const locked = lock === null ? '' : `, locked (${lock})`;
      this.log.add('end', `${vmid} is ${power}${locked}: started ${starts}x, stopped ${stops}x`);
    }
    for (const { opId, latest } of this.journal.open().opsInFlight()) {
      this.log.add('end', `${opId} ${latest.kind} ${latest.vmid} is in flight: ${latest.state}`);
    }
    for (const [vmid, { reason, untilMs }] of this.journal.open().holds()) {
      if (untilMs !== null && untilMs <= this.clock.now()) continue;
      const until =
        untilMs === null ? '' : ` until ${(untilMs - this.clock.now()) / 1_000} s from now`;
      this.log.add('end', `${vmid} is on hold${until}: ${reason}`);
    }
    const counts = [...this.api.wire.counts].map(([name, count]) => `${name} ${count}`).sort();
    this.log.add('end', `requests: ${counts.join(', ')}`);
    for (const problem of findBrokenRules(this)) this.log.add('end', `BROKEN: ${problem}`);
  }

  newKey(): string {
    return makeOpId(this.#random);
  }
}

/** What must hold in every scenario, whatever it is about. */
function findBrokenRules({ journal, api }: ScenarioRun): string[] {
  const broken: string[] = [];
  const attempts = journal.records.filter(
    ({ state, kind }) => state === 'started' && kind !== 'restart',
  );
  if (api.sent.length > attempts.length) {
    broken.push(`${api.sent.length} requests for ${attempts.length} attempts`);
  }
  const text = JSON.stringify(journal.records);
  if (text.includes('hunter2')) broken.push('a secret stands in the journal');
  return broken;
}
