/** The process that hunts: what it is at stands in a file, for when it does not come back. */
import { openSync, writeSync } from 'node:fs';
import { BlockCoverage } from './block-coverage.ts';
import { hunt } from './hunt.ts';
import { HEAD_BYTES, type HunterReport } from './hunter-report.ts';
import type { FuzzTarget } from './target.ts';

/** Node's own code, and the search, are nobody's progress. */
const WATCHED = /^file:(?!.*\/test\/fuzz\/)/;

const [, , file = '', seed, seconds, inputFile = ''] = process.argv;
process.once('disconnect', () => process.exit(1));
const coverage = new BlockCoverage(WATCHED);
const { target }: { readonly target: FuzzTarget } = await import(file);
const fd = openSync(inputFile, 'w');
const head = Buffer.alloc(HEAD_BYTES);
const { finding, ...counts } = await hunt(target, {
  coverage,
  seed: Number(seed),
  seconds: Number(seconds),
  onInput: (input) => {
    head.writeUInt32LE(head.readUInt32LE(0) + 1, 0);
    head.writeUInt32LE(input.length, 4);
    writeSync(fd, Buffer.concat([head, input]), 0, HEAD_BYTES + input.length, 0);
  },
});
const report: HunterReport = {
  ...counts,
  finding:
    finding === null
      ? null
      : {
          base64: finding.input.toString('base64'),
          message: finding.error.stack ?? String(finding.error),
        },
};
// What a target left open must not keep the process.
process.send?.(report, () => process.exit());
