/**
 * `npm run test:sim -- [--seeds N] [--first-seed N] [--keep-going]`, or `SEED=N npm run test:sim` for one seed with
 * its script. Exit 1 at the first seed that fails, after shrinking it.
 */
import { readOptions, wholeNumber } from '../support/script-options.ts';
import { describeEvent, type Script } from './script.ts';
import { writeScript } from './script-writer.ts';
import { shrink } from './shrink.ts';
import { runScript } from './simulation.ts';
import { describeViolation, type Violation } from './verdicts.ts';

const HOUR_MS = 3_600_000;

function say(text: string): void {
  process.stdout.write(`${text}\n`);
}

function describeScript(script: Script): string {
  const { guests, wishes, events, calmAtMs, segmentBytes, keepSegments, maxParallel } = script;
  return [
    `script: segments of ${segmentBytes} B, ${keepSegments} kept; ${maxParallel} at a time`,
    ...guests.map(({ vmid, setup }) => `    guest ${vmid} ${JSON.stringify(setup)}`),
    ...wishes.map(({ vmid, wish }) => `    wish ${vmid} ${JSON.stringify(wish)}`),
    ...events.map(describeEvent),
    `${(calmAtMs / 1_000).toFixed(3).padStart(9)} calm`,
  ].join('\n');
}

/** The first of each check: the rest follows from it. */
function sayOnce(violations: readonly Violation[]): void {
  const firsts = new Map(violations.toReversed().map((each) => [each.check, each]));
  for (const violation of [...firsts.values()].toReversed()) say(describeViolation(violation));
}

async function replay(seed: number): Promise<boolean> {
  const script = writeScript(seed);
  const result = await runScript(script);
  say(`seed ${seed}: ${result.fingerprint}`);
  if (result.violations.length === 0) return true;
  sayOnce(result.violations);
  const [first] = result.violations;
  if (first === undefined) return true;
  say(`shrinking for ${first.check} …`);
  const short = await shrink(script, first.check);
  const { violations } = await runScript(short);
  say(describeScript(short));
  sayOnce(violations);
  say(`SEED=${seed} npm run test:sim`);
  return false;
}

const USAGE = 'npm run test:sim -- [--seeds N] [--first-seed N] [--keep-going]';
const { values, count, refuse } = readOptions(USAGE, {
  seeds: { type: 'string', default: '300' },
  'first-seed': { type: 'string', default: `${Math.floor(Math.random() * 2 ** 31)}` },
  'keep-going': { type: 'boolean', default: false },
});

async function runSeeds(): Promise<boolean> {
  const seeds = count('seeds');
  const first = count('first-seed', 0);
  say(`seeds ${first} to ${first + seeds - 1}`);
  const beganMs = performance.now();
  let virtualMs = 0;
  let [lives, records, requests, failed] = [0, 0, 0, 0];
  for (let seed = first; seed < first + seeds; seed++) {
    const result = await runScript(writeScript(seed));
    virtualMs += result.virtualMs;
    lives += result.lives;
    records += result.records;
    requests += result.requests;
    const [violation] = result.violations;
    if (violation === undefined) continue;
    failed += 1;
    if (!values['keep-going']) return replay(seed);
    say(`seed ${seed}: ${describeViolation(violation)}`);
  }
  const seconds = (performance.now() - beganMs) / 1_000;
  const rate = (virtualMs / HOUR_MS / seconds).toFixed(1);
  say(`${seeds} seeds, ${failed} failed: ${lives} lives, ${records} records, ${requests} requests`);
  say(
    `${(virtualMs / HOUR_MS).toFixed(0)} simulated hours in ${seconds.toFixed(1)} s, ${rate} h/s`,
  );
  return failed === 0;
}

const one = process.env['SEED'];
const isSound =
  one === undefined
    ? await runSeeds()
    : await replay(wholeNumber(one, 0) ?? refuse('SEED: expected a number'));
process.exitCode = isSound ? 0 : 1;
