/**
 * A process that appends as fast as it can, eight at a time, and says on stdout what is confirmed:
 * `open EPOCH`, then `SEQ SUM` for each record. Ends with 75 where the journal is held by another,
 * with 70 where it has to halt. Args: state dir, lock stale ms, segment bytes.
 */
import { writeSync } from 'node:fs';
import { ReconcilerError } from '../../src/reconcile/errors.ts';
import { openOnDisk } from './journal-on-disk.ts';
import { opStory } from './journal-script.ts';

const [stateDir = '', staleMs = '10000', segmentBytes = '4096'] = process.argv.slice(2);
const APPENDERS = 8;

/** Straight to the pipe: what the parent has not got when we die was never said. */
function say(line: string): void {
  writeSync(1, `${line}\n`);
}

function end(error: unknown): never {
  const isOurs = error instanceof ReconcilerError;
  say(isOurs ? `error ${error.code} ${error.disposition}` : `error ${String(error)}`);
  process.exit(
    isOurs && error.code === 'journal_locked' && error.disposition === 'retry' ? 75 : 70,
  );
}

// A file at its limit is to be an error of the write: proper-lockfile's exit hook would end us.
process.on('SIGXFSZ', () => undefined);

try {
  const journal = await openOnDisk(stateDir, {
    lockStaleMs: Number(staleMs),
    segmentBytes: Number(segmentBytes),
    keepSegments: 100_000,
    onHalt: end,
  });
  const { epoch } = journal.stats();
  say(`open ${epoch}`);
  let next = 0;
  const appendForEver = async (): Promise<never> => {
    for (;;) {
      next += 1;
      for (const draft of opStory(epoch * 10_000_000 + next)) {
        const { seq, sum } = { sum: '', ...(await journal.ledger.append(draft)) };
        say(`${seq} ${sum}`);
      }
    }
  };
  await Promise.all(Array.from({ length: APPENDERS }, appendForEver));
} catch (error) {
  end(error);
}
