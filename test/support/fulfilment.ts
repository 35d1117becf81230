/** Is a guest as an op wants it? Judged from PVE's side, from what is really there. */
import { assertNever } from '../../src/reconcile/errors.ts';
import type { OpKind } from '../../src/reconcile/op.ts';

export interface ActualGuest {
  readonly power: 'running' | 'stopped';
  /** Undefined: HA does not manage it. */
  readonly haState?: string | null | undefined;
  /** With what is pending applied. */
  readonly config: ReadonlyMap<string, string>;
}

export interface Asked {
  readonly kind: OpKind;
  readonly params?: object | undefined;
}

/** `isSameBoot`: the guest has not been started since the op began. */
export function isAsAsked(
  { kind, params }: Asked,
  guest: ActualGuest,
  isSameBoot: boolean,
): boolean {
  switch (kind) {
    case 'start':
      return guest.power === 'running' && isHaState(guest, 'started');
    case 'stop':
      return guest.power === 'stopped' && isHaState(guest, 'stopped');
    case 'restart':
      return guest.power === 'running' && !isSameBoot;
    case 'set_config': {
      const change = { set: {}, delete: [], ...params };
      const isSet = Object.entries(change.set).every(
        ([key, value]) => guest.config.get(key) === value,
      );
      return isSet && change.delete.every((key) => !guest.config.has(key));
    }
    default:
      return assertNever(kind);
  }
}

/** Where HA manages the guest, it is at its end only when HA says so too (PVE-FACTS 33, 34). */
function isHaState({ haState }: ActualGuest, wanted: 'started' | 'stopped'): boolean {
  return haState === undefined || haState === wanted;
}
