/**
 * `npm run fuzz`: a coverage-guided search for inputs that break a parser or an edge. What it finds
 * is written to test/fixtures/fuzz, where `npm test` runs it from then on. Exits 1 with a finding.
 *
 *   node test/fuzz/main.ts [--target NAME]… [--seconds 60] [--seed N]
 */
import { createHash } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { readOptions } from '../support/script-options.ts';
import type { HunterReport } from './hunter-report.ts';
import { FIXTURES, targetFile, targetNames } from './target-files.ts';
import { huntWatched } from './watched-hunt.ts';

const USAGE = `npm run fuzz -- [--seconds N] [--seed N] [--target ${targetNames().join('|')}]…`;
const { values, count, refuse } = readOptions(USAGE, {
  target: { type: 'string', multiple: true },
  /** For each target. */
  seconds: { type: 'string', default: '60' },
  seed: { type: 'string', default: String(Date.now() % 1_000_000_000) },
});
const seed = count('seed', 0);
const seconds = count('seconds');
const unknown = (values.target ?? []).find((name) => !targetNames().includes(name));
if (unknown !== undefined) refuse(`--target: there is no ${unknown}`);
const names = [...(values.target ?? targetNames())];
console.log(`seed ${seed}, ${seconds} s for each of ${names.join(', ')}`);
await Promise.all(Array.from({ length: availableParallelism() }, work));

async function work(): Promise<void> {
  for (let name = names.shift(); name !== undefined; name = names.shift()) {
    tell(name, await huntWatched({ file: targetFile(name), seed, seconds }));
  }
}

function tell(name: string, { runs, corpus, blocks, finding }: HunterReport): void {
  const counts = `${runs} runs, ${corpus} inputs kept, ${blocks} blocks`;
  if (finding === null) {
    console.log(`${name}: ${counts}, nothing found`);
    return;
  }
  process.exitCode = 1;
  const input = Buffer.from(finding.base64, 'base64');
  const folder = join(FIXTURES, name);
  const file = join(folder, createHash('sha256').update(input).digest('hex').slice(0, 8));
  mkdirSync(folder, { recursive: true });
  writeFileSync(file, input);
  console.log(`${name}: ${counts}, FOUND ${file}\n${finding.message}`);
}
