/** One run of a script: the faults, then calm, until everything has come right or time is up. */
import { auditBounds, auditRecords, findDistance } from './audit.ts';
import { Happenings } from './happenings.ts';
import type { Script } from './script.ts';
import { SimWorld } from './sim-world.ts';
import type { Violation } from './verdicts.ts';

/** The longest of what may follow the last fault: a backoff, an HA guest's retries, a full lane. */
const CONVERGE_MS = 40 * 60_000;
const LOOK_MS = 15_000;
/** What strangers have begun, and what outlived its life, ends within this. */
const DRAIN_MS = 3_600_000;

export interface RunResult {
  readonly violations: readonly Violation[];
  readonly virtualMs: number;
  /** From the end of all faults, until it was as wanted; null: never. */
  readonly convergedMs: number | null;
  readonly lives: number;
  readonly records: number;
  readonly requests: number;
  /** The same for the same script: the sum of the journal's last record. */
  readonly fingerprint: string;
}

export async function runScript(script: Script): Promise<RunResult> {
  const world = new SimWorld(script);
  const { clock, agent } = world;
  const happenings = new Happenings(world);
  agent.start();
  for (const event of script.events) {
    await clock.advanceTo(event.atMs);
    happenings.happen(event);
  }
  await clock.advanceTo(script.calmAtMs);
  happenings.calm();
  const convergedMs = await converge(world, happenings, script.calmAtMs);
  world.isOver = true;
  const isStopped = await agent.close();
  world.node.ha.end();
  await world.checkJournal(agent.memory);
  await world.verify(agent.memory);
  auditRecords(world);
  const virtualMs = clock.elapsedMs;
  await clock.advanceTo(virtualMs + DRAIN_MS);
  auditBounds(world, { isStopped });
  return {
    violations: world.verdicts.violations,
    virtualMs,
    convergedMs,
    lives: agent.lives,
    records: world.archive.ops.length,
    requests: world.api.wire.total,
    fingerprint: `${world.archive.ops.at(-1)?.sum} ${world.api.wire.total} ${virtualMs}`,
  };
}

/** A person resumes what is held, and mends what breaks late; all else is the agent's own work. */
async function converge(
  world: SimWorld,
  happenings: Happenings,
  calmAtMs: number,
): Promise<number | null> {
  const { clock, agent, node, verdicts } = world;
  let left: readonly string[] = [];
  while (clock.elapsedMs < calmAtMs + CONVERGE_MS) {
    await clock.advanceTo(clock.elapsedMs + LOOK_MS);
    for (const guest of node.guests.values()) happenings.mend(guest);
    const { running } = agent;
    if (running !== null) {
      for (const vmid of running.ledger.holds().keys()) {
        void running.ledger.note({ kind: 'resume_guest', vmid });
      }
      if (running.ledger.pause() !== null) void running.ledger.note({ kind: 'resume' });
    }
    left = await findDistance(world);
    if (left.length === 0) return clock.elapsedMs - calmAtMs;
  }
  verdicts.fail('converges_when_faults_end', left.join('; '));
  return null;
}
