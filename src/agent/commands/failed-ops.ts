/** The ops that failed while a command looked on: an error line each, once its work is done. */
import type { OpId } from '../../reconcile/ids.ts';
import type { OpRecord } from '../../reconcile/op.ts';
import { printFailure } from '../command-line/command.ts';
import type { Terminal } from '../terminal/terminal.ts';

export class FailedOps {
  readonly #ends = new Map<OpId, OpRecord>();

  record(record: OpRecord): void {
    // A part's failure is told by the restart that it belongs to; one that is tried again is none.
    if (record.parent_op_id !== undefined) return;
    if (isFailure(record)) this.#ends.set(record.op_id, record);
    else this.#ends.delete(record.op_id);
  }

  /** How many they are. */
  print(terminal: Terminal): number {
    for (const { op_id, kind, vmid, error } of this.#ends.values()) {
      if (error === undefined) continue;
      const message = `${kind} of ${vmid}: ${error.message}`;
      printFailure(terminal, { code: error.code, message, ids: { op_id } });
    }
    return this.#ends.size;
  }
}

/**
 * What recovery gives up of reconciling, and what a faster hand made stale, is planned again at
 * once: the outcome of that is what counts.
 */
function isFailure({ state, origin, error }: OpRecord): boolean {
  const isPlannedAgain = error?.code === 'interrupted' || error?.code === 'digest_stale';
  return state === 'failed' && !(origin === 'reconcile' && isPlannedAgain);
}
