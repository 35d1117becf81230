/**
 * Who reads the journal for a listener, and who waits: a reading may go through all there is, and
 * hold what it has found. Each listener has turns of its own: no crowd on one takes another's.
 */
import PQueue from 'p-queue';
import { ReconcilerError } from '../../reconcile/errors.ts';

const AT_ONCE = 2;
/** Some pages and scripts at the same moment; a crowd is told to come again. */
const WAITING_MAX = 32;

export interface ReadingTurns {
  /**
   * Rejects with `service_unavailable` where too many wait already, and with the signal's reason
   * once it is aborted: in line, too.
   */
  take<Result>(read: () => Promise<Result>, signal: AbortSignal): Promise<Result>;
  /** For those of whom there are only so many: each waits its turn, however long the line is. */
  wait<Result>(read: () => Promise<Result>, signal: AbortSignal): Promise<Result>;
}

export function createReadingTurns(): ReadingTurns {
  const turns = new PQueue({ concurrency: AT_ONCE });
  let taking = 0;
  return {
    async take(read, signal) {
      if (taking >= AT_ONCE + WAITING_MAX) {
        throw new ReconcilerError('service_unavailable', 'too many readings of the journal wait', {
          hint: 'ask again in a second; `pve-reconciler ops` reads the journal without the agent',
        });
      }
      taking += 1;
      try {
        return await turns.add(read, { signal });
      } finally {
        taking -= 1;
      }
    },
    wait: (read, signal) => turns.add(read, { signal }),
  };
}
