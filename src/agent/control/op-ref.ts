/** Finds the op an id names: the whole id, or a prefix that is one op's alone (CONTRACT 2). */
import type { FoundOp } from '../../journal/reader.ts';
import { ReconcilerError } from '../../reconcile/errors.ts';
import type { OpRecord } from '../../reconcile/op.ts';
import { printable } from '../terminal/terminal.ts';

const CANDIDATES_SHOWN_MAX = 10;

/** Its records, oldest first. Throws `not_found`, or `ambiguous_ref` with the candidates. */
export function recordsOf(ref: string, found: FoundOp): readonly [OpRecord, ...OpRecord[]] {
  if (found.kind === 'ambiguous') {
    const shown = found.candidates.slice(0, CANDIDATES_SHOWN_MAX).join(', ');
    const more = found.candidates.length - CANDIDATES_SHOWN_MAX;
    const list = more > 0 ? `${shown} and ${more} more` : shown;
    throw new ReconcilerError('ambiguous_ref', `${ref} could be ${list}`, {
      hint: 'type more of the op id',
    });
  }
  const [first, ...others] = found.kind === 'found' ? found.records : [];
  if (first !== undefined) return [first, ...others];
  throw new ReconcilerError('not_found', `no op has the id ${printable(ref)}`, {
    hint: '`pve-reconciler ops list` lists the ops there are',
  });
}
