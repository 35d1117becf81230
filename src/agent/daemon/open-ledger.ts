/**
 * The journal as a command needs it: open for writing under its lock, or as it stands now, for
 * those who only plan: nothing can be written to that one, and it does not see what comes later.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { type Journal, openJournal } from '../../journal/journal.ts';
import { Ledger } from '../../journal/ledger.ts';
import { LedgerReads } from '../../journal/ledger-reads.ts';
import { readNewest } from '../../journal/newest.ts';
import { openReader } from '../../journal/reader.ts';
import { KEY_NAME, openHasher } from '../../journal/state-dir.ts';
import type { SyncedBatch } from '../../journal/writer.ts';
import { ReconcilerError } from '../../reconcile/errors.ts';
import type { OpLedger } from '../../reconcile/ports.ts';
import type { Config } from '../config/config.ts';
import { systemClock, systemRandom } from '../system.ts';
import type { Broadcast } from './broadcast.ts';
import type { EventHub } from './event-hub.ts';

/** Throws `journal_locked`, `journal_corrupt`, `config_invalid`. */
export async function openForWriting(
  config: Config,
  { events, syncs }: { readonly events: EventHub; readonly syncs: Broadcast<SyncedBatch> },
): Promise<Journal> {
  return await openJournal({
    stateDir: config.stateDir,
    ...config.journal,
    keepUnacked: config.hub !== null,
    clock: systemClock,
    random: systemRandom,
    onHalt: (error) => events.emit({ kind: 'halted', error }),
    onSynced: syncs.tell,
    onProblem: (problem) => events.emit({ kind: 'problem', problem }),
  });
}

/** What opening found out about the last run, for people. */
export function openingNotes({ report }: Journal): string[] {
  const { torn, takenFrom, isKeyLost } = report;
  const notes: string[] = [];
  if (takenFrom !== null)
    notes.push(
      `took the journal over from ${takenFrom}: it has ended, or stood still for too long`,
    );
  if (torn !== null) {
    notes.push(`${torn.bytes} torn bytes at the end of segment ${torn.segment} are kept aside`);
  }
  if (isKeyLost) {
    notes.push(
      `${KEY_NAME} was missing and was made anew: signed ops that were taken before are refused when they come again, and passwords are written once more`,
    );
  }
  return notes;
}

/** Without a journal yet: an empty one. Throws `journal_corrupt`. */
export async function readLedger({ stateDir }: Config): Promise<OpLedger> {
  const newest = await readNewest(openReader(stateDir).disk);
  const ledger = newest?.ledger ?? new Ledger();
  // Asking for the hasher would make its key, and a reader makes nothing.
  const hasKey = existsSync(join(stateDir, KEY_NAME));
  const hashSecret = hasKey ? (await openHasher(stateDir)).hash : () => '';
  return new ReadOnlyLedger(ledger, { hashSecret, lastLifeAtMs: newest?.lastAtMs ?? 0 });
}

class ReadOnlyLedger extends LedgerReads implements OpLedger {
  readonly append = refuse;
  readonly note = refuse;
  readonly hashSecret: OpLedger['hashSecret'];
  readonly lastLifeAtMs: number;

  constructor(ledger: Ledger, known: Pick<OpLedger, 'hashSecret' | 'lastLifeAtMs'>) {
    super(ledger, systemClock);
    this.hashSecret = known.hashSecret;
    this.lastLifeAtMs = known.lastLifeAtMs;
  }

  together<Result>(work: () => Result): Result {
    return work();
  }
}

function refuse(): Promise<never> {
  const message = 'the journal is open for reading only';
  return Promise.reject(new ReconcilerError('internal_error', message));
}
