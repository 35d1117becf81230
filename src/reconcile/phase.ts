/**
 * The transitional phase of a guest. It is never stored: it is derived from the op in flight, so
 * no failure leaves it behind and no scan overwrites it.
 */
import { assertNever } from './errors.ts';
import type { Phase } from './events.ts';
import type { OpId, Vmid } from './ids.ts';
import type { OpKind } from './op.ts';
import type { OpView } from './ports.ts';

export function phaseOf(kind: OpKind): Exclude<Phase, 'steady'> {
  switch (kind) {
    case 'start':
      return 'starting';
    case 'stop':
      return 'stopping';
    case 'restart':
      return 'restarting';
    case 'set_config':
      return 'configuring';
    default:
      return assertNever(kind);
  }
}

/** By guest, the op that says its phase: the oldest in flight that is no part of another. */
export function leadingOps(inFlight: readonly OpView[]): ReadonlyMap<Vmid, OpView> {
  const leading = new Map<Vmid, OpView>();
  const ids = new Set<OpId>(inFlight.map(({ opId }) => opId));
  for (const view of inFlight) {
    const { vmid, parent_op_id: parent } = view.first;
    const isPart = parent !== undefined && ids.has(parent);
    if (isPart) continue;
    const known = leading.get(vmid);
    // One at work speaks before one that only waits.
    if (known === undefined || (isQueued(known) && !isQueued(view))) leading.set(vmid, view);
  }
  return leading;
}

function isQueued(view: OpView): boolean {
  return view.latest.state === 'received';
}
