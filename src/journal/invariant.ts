/** What the code relies on and no type can say. */
import { ReconcilerError } from '../reconcile/errors.ts';

/** A value that is looked up by what only stands where it is known; else to go on is to lose it. */
export function requireKnown<Value>(value: Value | null, name: string): Value {
  if (value !== null) return value;
  throw new ReconcilerError('internal_error', `${name} is counted, but not known`, {
    disposition: 'halt',
  });
}
