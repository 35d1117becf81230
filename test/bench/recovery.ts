/**
 * How long an agent takes to be at work again with 10,000 ops of a hub in flight: the journal is
 * opened, every op is queued in its guest's lane. Beside the least that reading it could cost.
 *
 *   node test/bench/recovery.ts [--folder .] [--ops 10000] [--rounds 5]
 */
import { hash } from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { Engine } from '../../src/reconcile/engine.ts';
import { SmallNode } from '../agent/hub/small-node.ts';
import { POLICY } from '../support/agent-life.ts';
import { DesiredSource } from '../support/desired-source.ts';
import { openOnDisk, realClock } from '../support/journal-on-disk.ts';
import { opStory } from '../support/journal-script.ts';
import { plainSemantics } from '../support/plain-semantics.ts';
import { readOptions } from '../support/script-options.ts';
import { seededRandom } from '../support/seeded-random.ts';
import { median, report } from './report.ts';

const GUESTS = 500;

const USAGE = 'node test/bench/recovery.ts [--folder DIR] [--ops N] [--rounds N]';
const { values, count } = readOptions(USAGE, {
  folder: { type: 'string', default: '.' },
  ops: { type: 'string', default: '10000' },
  rounds: { type: 'string', default: '5' },
});
const ops = count('ops');
const rounds = count('rounds');
const folder = mkdtempSync(join(values.folder, '.bench-recovery-'));
try {
  await writeOps();
  const [recovering, reading]: [number[], number[]] = [[], []];
  for (let round = 0; round < rounds; round++) {
    recovering.push(await recover());
    reading.push(read());
  }
  const [oursMs, leastMs] = [median(recovering), median(reading)];
  report({
    name: `recovery of ${ops} ops / JSON.parse and SHA-256`,
    figure: oursMs / leastMs,
    detail: `${oursMs.toFixed(0)} ms against ${leastMs.toFixed(0)} ms`,
  });
} finally {
  rmSync(folder, { recursive: true });
}

async function writeOps(): Promise<void> {
  const journal = await openOnDisk(folder);
  const drafts = Array.from({ length: ops }, (_, index) => {
    const guest = 100 + (index % GUESTS);
    return opStory(index + 1, { origin: 'hub', guest, end: null }).slice(0, 1);
  });
  await Promise.all(drafts.flat().map((draft) => journal.ledger.append(draft)));
  await journal.close();
}

async function recover(): Promise<number> {
  const node = new SmallNode(Array.from({ length: GUESTS }, (_, index) => 100 + index));
  // Nothing of an op is done before the clock has stopped.
  node.gate = new Promise(() => undefined);
  const sinceMs = performance.now();
  const journal = await openOnDisk(folder);
  const engine = new Engine({
    clock: realClock,
    random: seededRandom(1),
    guests: node.api,
    desired: new DesiredSource(),
    ledger: journal.ledger,
    semantics: plainSemantics,
    authority: {
      objection: () => null,
      signaturesLeft: ({ first }) => first.signers?.length ?? 0,
    },
    events: { emit: () => undefined },
    policy: POLICY,
  });
  engine.recover();
  const ms = performance.now() - sinceMs;
  if (journal.ledger.opsInFlight().length !== ops) throw new Error('not all are in flight');
  await engine.stop();
  await journal.close();
  return ms;
}

/** Every line parsed and hashed. */
function read(): number {
  const journal = join(folder, 'journal');
  const names = readdirSync(journal).filter((name) => name.endsWith('.jsonl'));
  const newest = names.sort().at(-1) ?? '';
  const sinceMs = performance.now();
  const lines = readFileSync(join(journal, newest), 'utf8').split('\n').slice(0, -1);
  for (const line of lines) {
    JSON.parse(line);
    hash('sha256', line, 'hex');
  }
  return performance.now() - sinceMs;
}
