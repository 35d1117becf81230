/** Runs one scenario to its end: the agent's lives, its passes, and the script beside them. */
import { makeOpId } from '../../src/reconcile/ids.ts';
import type { AgentLife } from '../support/agent-life.ts';
import { ModelWorld } from '../support/model-world.ts';
import { runCommand } from './scenario-commands.ts';
import { ScenarioLog } from './scenario-log.ts';
import { readTime, type Scenario } from './scenario-schema.ts';

export class ScenarioRun {
  readonly world = new ModelWorld();
  readonly log: ScenarioLog;
  /** Origins whose ops the agent's authority objects to. */
  readonly revoked = new Set<string>();
  readonly #scenario: Scenario;

  constructor(scenario: Scenario) {
    const { world } = this;
    this.#scenario = scenario;
    this.log = new ScenarioLog(() => world.clock.elapsedMs);
    for (const [id, setup] of Object.entries(scenario.world)) world.node.add(Number(id), setup);
    const documents = scenario.documents ?? { 'desired.yaml': scenario.desired ?? {} };
    for (const [source, guests] of Object.entries(documents)) world.desired.put(source, guests);
    world.api.onSent = (request) => this.log.noteSent(request);
    world.onEvent = (event) => this.log.noteEvent(event);
    world.objection = ({ first }) =>
      this.revoked.has(first.origin)
        ? { code: 'signature_invalid', message: 'its signer is no longer configured' }
        : null;
  }

  async run(): Promise<string> {
    const { script = [], until } = this.#scenario;
    const firstOfLife = script.find((line) => / (?:agent|kill|sigterm)\b/.test(line));
    if (firstOfLife === undefined || !/ agent\b/.test(firstOfLife)) await this.startAgent();
    for (const line of script) {
      const [time = '', ...words] = line.split(' ');
      await this.world.clock.advanceTo(readTime(time));
      await runCommand(words, this);
    }
    await this.world.clock.advanceTo(readTime(until));
    this.#summarise();
    const text = this.log.toString();
    await this.world.stop();
    return text;
  }

  async startAgent(how: 'daemon' | 'once' = 'daemon'): Promise<void> {
    const { passes = '30s', policy = {} } = this.#scenario;
    this.log.forgetShown();
    this.log.add('agent', 'starts');
    const isDaemon = how === 'daemon' && passes !== 'never';
    const life = await this.world.start({ intervalMs: isDaemon ? readTime(passes) : null, policy });
    if (how === 'once') void this.#converge(life);
  }

  kill(): void {
    this.log.add('agent', 'is killed');
    this.world.kill();
  }

  async stopAgent(): Promise<void> {
    this.log.add('agent', `has stopped after ${await this.world.stop()} ms`);
  }

  async #converge({ engine }: AgentLife): Promise<void> {
    const plan = await engine.converge();
    const left = plan.entries.filter(({ status }) => status !== 'in_sync');
    const words = left.map(({ vmid, status, conditions }) =>
      [vmid, status, ...conditions.map(({ code }) => code)].join(' '),
    );
    this.log.add('agent', `--once ends: ${words.join('; ') || 'all in sync'}`);
  }

  /** What is left when the script is over. */
  #summarise(): void {
    const { node, ports, clock, api } = this.world;
    for (const { vmid, power, lock, starts, stops } of node.guests.values()) {
      const locked = lock === null ? '' : `, locked (${lock})`;
      this.log.add('end', `${vmid} is ${power}${locked}: started ${starts}x, stopped ${stops}x`);
    }
    for (const { opId, latest } of ports.ledger.opsInFlight()) {
      this.log.add('end', `${opId} ${latest.kind} ${latest.vmid} is in flight: ${latest.state}`);
    }
    for (const [vmid, { reason, untilMs }] of ports.ledger.holds()) {
      const leftMs = untilMs === null ? null : untilMs - clock.now();
      if (leftMs !== null && leftMs <= 0) continue;
      const until = leftMs === null ? '' : ` for ${leftMs / 1_000} s more`;
      this.log.add('end', `${vmid} is on hold${until}: ${reason}`);
    }
    const counts = [...api.wire.counts].map(([name, count]) => `${name} ${count}`).sort();
    this.log.add('end', `requests: ${counts.join(', ')}`);
    for (const problem of findBrokenRules(this.world)) this.log.add('end', `BROKEN: ${problem}`);
  }

  newKey(): string {
    return makeOpId(this.world.random);
  }
}

/** What must hold in every scenario, whatever it is about. */
function findBrokenRules({ journal, api }: ModelWorld): string[] {
  const broken: string[] = [];
  const attempts = journal.records.filter(
    ({ state, kind }) => state === 'started' && kind !== 'restart',
  );
  if (api.sent.length > attempts.length) {
    broken.push(`${api.sent.length} requests for ${attempts.length} attempts`);
  }
  if (JSON.stringify(journal.records).includes('hunter2')) broken.push('a secret in the journal');
  return broken;
}
