/**
 * What config values mean to PVE, as the core sees it (`ValueSemantics`), and the plain question
 * whether two texts mean the same. Pure and total; no state but a bounded memory of parsed texts.
 */
import type { GuestKind } from '../../reconcile/guest.ts';
import type { ValueSemantics } from '../../reconcile/ports.ts';
import { classifyChange } from './reversibility.ts';
import { refuseToTokens } from './root-only.ts';
import { refuseValue } from './validity.ts';
import { readMeaning, sameMeaning } from './value-meaning.ts';
import { isWriteOnlyKey, keepFilledIn, satisfies } from './value-pattern.ts';
import { refuseResize } from './volumes.ts';

/** Do both texts parse to the same thing in PVE? Null is not set; a default is not the same. */
export function isSameValue(
  kind: GuestKind,
  key: string,
  [a, b]: readonly [string | null, string | null],
): boolean {
  return a === b || sameMeaning(readMeaning(kind, key, a), readMeaning(kind, key, b));
}

/** Is `read` something else than `written` asked for? */
export function hasDrift(
  kind: GuestKind,
  key: string,
  { written, read }: { readonly written: string | null; readonly read: string | null },
): boolean {
  return written === null
    ? !isSameValue(kind, key, [written, read])
    : !satisfies({ kind, key, desired: written, actual: read });
}

export function createValueSemantics(): ValueSemantics {
  return {
    isSatisfied: satisfies,
    fillIn: keepFilledIn,
    refusal: refuseValue,
    refusalOfWrite: (write) => refuseToTokens(write) ?? refuseResize(write),
    classify: classifyChange,
    isWriteOnly: isWriteOnlyKey,
  };
}
