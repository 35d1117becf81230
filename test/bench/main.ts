/**
 * `npm run bench`: every benchmark, one after another, as one table. Exits 1 where a goal is missed.
 * What each line was made of, and how to read it, is in docs/BENCHMARKS.md.
 *
 *   node test/bench/main.ts [--only client,plan,…]
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { arch, cpus, loadavg, release, totalmem } from 'node:os';
import { join } from 'node:path';
import { readOptions } from '../support/script-options.ts';

const BENCHES = ['fleet', 'client', 'plan', 'journal', 'recovery', 'intake', 'idle'];

const { values, refuse } = readOptions('npm run bench -- [--only NAME,…]', {
  only: { type: 'string', default: BENCHES.join(',') },
});
const names = values.only.split(',');
const unknown = names.find((name) => !BENCHES.includes(name));
if (unknown !== undefined) refuse(`--only: there is no ${unknown}`);
const [cpu] = cpus();
console.log(
  `Node ${process.version}, Linux ${release()} ${arch()}, ${cpus().length} x ${cpu?.model}, ` +
    `${Math.round(totalmem() / 2 ** 30)} GiB, load ${loadavg()
      .map((load) => load.toFixed(1))
      .join(' ')}`,
);
for (const name of names) {
  console.log(`\n${name}`);
  const child = spawn(process.execPath, [join(import.meta.dirname, `${name}.ts`)], {
    stdio: 'inherit',
  });
  const [code] = await once(child, 'close');
  if (code !== 0) process.exitCode = 1;
}
console.log(
  `\nload at the end ${loadavg()
    .map((load) => load.toFixed(1))
    .join(' ')}`,
);
