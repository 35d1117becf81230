/**
 * `npm run test:chaos -- [--seconds N] [--seed N] [--without KIND,…]`: the built agent against a simulated node, real
 * processes on a real disk over real HTTPS, with everything going wrong, and what must hold all the
 * same. Exit 1 on a violation, with the evidence kept.
 */
import { readOptions } from '../support/script-options.ts';
import { findViolations, type Violation } from './checks.ts';
import { findClockLibrary, findMountAbility, runInside } from './machine.ts';
import { type Run, runScript } from './run.ts';
import { type Script, writeScript } from './script.ts';
import { type Abilities, Stage } from './stage.ts';

const SHOWN_MAX = 40;

function say(text: string): void {
  process.stdout.write(`${text}\n`);
}

const USAGE = 'npm run test:chaos -- [--seconds N] [--seed N] [--without KIND,…]';
const { values, count } = readOptions(USAGE, {
  seconds: { type: 'string', default: '600' },
  seed: { type: 'string', default: `${Math.floor(Math.random() * 2 ** 31)}` },
  // Kinds of events left out, to find what a violation needs.
  without: { type: 'string', default: '' },
});
const seed = count('seed', 0);
const seconds = count('seconds');

async function main(): Promise<number> {
  const mounts = findMountAbility();
  if (mounts.kind === 'possible') return runInside(mounts.flags);
  const clockLibrary = findClockLibrary();
  say(`seed ${seed}, ${seconds} s (repeat with --seed ${seed} --seconds ${seconds})`);
  if (mounts.kind === 'impossible')
    say(`skipped: full disks, as nothing can be mounted: ${mounts.why}`);
  if (clockLibrary === null)
    say('skipped: moving clocks, as libfaketime is not there (Debian: faketime)');
  const whole = writeScript(seed, seconds);
  const without = new Set(values.without.split(','));
  const script = { ...whole, events: whole.events.filter(({ kind }) => !without.has(kind)) };
  return play(script, { canMount: mounts.kind === 'inside', clockLibrary });
}

async function play(script: Script, abilities: Abilities): Promise<number> {
  const interrupted = new AbortController();
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(name, () => interrupted.abort(new Error(`interrupted by ${name}`)));
  }
  const stage = await Stage.set(script, abilities);
  let isKept = false;
  try {
    const run = await runScript(stage, script, interrupted.signal);
    const violations = findViolations(run.evidence);
    isKept = violations.length > 0;
    summarize(stage, run, violations);
    if (isKept) say(`evidence: ${stage.dir}`);
    return isKept ? 1 : 0;
  } catch (error) {
    if (!interrupted.signal.aborted) throw error;
    say(String(interrupted.signal.reason));
    return 130;
  } finally {
    await stage.strike({ isKept });
  }
}

function summarize(
  stage: Stage,
  { evidence, driver, convergedMs }: Run,
  violations: readonly Violation[],
): void {
  const { agent, proxy } = stage;
  const { kills, stops, takeovers, terminations } = agent.counts;
  const { requests, journal, asks } = evidence;
  const writes = requests.filter(({ method }) => method !== 'GET').length;
  const ops = new Set(journal.ops.map(({ op_id: opId }) => opId)).size;
  const taken = asks.filter(({ answer }) => answer.kind === 'taken').length;
  say(
    `agent: ${kills} kills, ${stops} stops, ${takeovers} takeovers, ${terminations} terminations, ${agent.restarts} restarts`,
  );
  say(
    `network: ${proxy.cuts} connections cut; node: ${requests.length} requests, ${writes} writes, ${evidence.tasks.length} tasks`,
  );
  say(
    `journal: ${ops} ops, ${journal.ops.length} records of them; ${taken} of ${asks.length} askings taken`,
  );
  const refusals = asks.flatMap(({ answer }) =>
    answer.kind === 'taken' ? [] : [answer.kind === 'refused' ? answer.code : 'unanswered'],
  );
  say(`not taken: ${describeCounts(countEach(refusals))}`);
  say(`done: ${describeCounts(driver.done)}`);
  say(`in vain: ${describeCounts(driver.skipped)}`);
  const isRight = evidence.leftOver.length === 0;
  say(`${isRight ? 'all' : 'not all'} came right in ${(convergedMs / 1_000).toFixed(1)} s of calm`);
  for (const { check, message } of violations.slice(0, SHOWN_MAX))
    say(`VIOLATION ${check}: ${message}`);
  say(`${violations.length} violations`);
}

function countEach(names: readonly string[]): Map<string, number> {
  return new Map([...Map.groupBy(names, (name) => name)].map(([name, all]) => [name, all.length]));
}

function describeCounts(counts: ReadonlyMap<string, number>): string {
  const parts = [...counts].sort(([a], [b]) => (a < b ? -1 : 1));
  return parts.map(([kind, count]) => `${kind} ${count}`).join(', ');
}

// Not by itself: after an interruption something may still be waiting for its time.
process.exit(await main());
