/**
 * Holds: why reconciling leaves a guest alone, and until when. A person puts one on a guest, a bulk
 * stop of the node does (upkeep.ts), and an op may ask for one.
 *
 * An op's is in three parts. In flight, the op itself is the hold: nothing undoes what it waits to
 * do, and one that ends before it began leaves nothing behind. As a try of it begins, the hold is
 * noted: whatever becomes of the try, what it may have done is left alone. And it counts anew as a
 * try ends, from what was done on, or may be done yet (a guest may go down after its shutdown has
 * timed out), unless somebody has resumed the guest meanwhile.
 */
import type { Vmid } from './ids.ts';
import type { OpRecordDraft } from './op.ts';
import type { CorePorts, Hold, OpView, Pause } from './ports.ts';

/** The reason of a hold that ends when the node starts its guests again. */
export const BULK_STOP_REASON = 'stopall';

/** Released when the node starts its guests again. */
export function isBulkHold({ reason }: Hold): boolean {
  return reason.startsWith(BULK_STOP_REASON);
}

type HoldPorts = Pick<CorePorts, 'ledger' | 'clock'>;

/** What is noted of the guest, unless its time is over. */
export function findHold(vmid: Vmid, { ledger, clock }: HoldPorts): Hold | null {
  return unlessOver(ledger.holds().get(vmid) ?? null, clock.now());
}

export function unlessOver<Kept extends Pause>(kept: Kept | null, nowMs: number): Kept | null {
  const isOver = kept !== null && kept.untilMs !== null && kept.untilMs <= nowMs;
  return isOver ? null : kept;
}

/** The holds that ops in flight are, by guest: their ends are not known yet. */
export function holdsOfOps(inFlight: readonly OpView[]): ReadonlyMap<Vmid, Hold> {
  const asking = inFlight.filter(({ first }) => first.hold_ms !== undefined);
  return new Map(
    asking.map(({ opId, first: { vmid } }) => [
      vmid,
      { vmid, untilMs: null, reason: reasonOf(opId) },
    ]),
  );
}

/** By guest, noted or of an op. */
export function holdsInForce(of: {
  readonly holds: ReadonlyMap<Vmid, Hold>;
  readonly inFlight: readonly OpView[];
  readonly nowMs: number;
}): ReadonlyMap<Vmid, Hold> {
  const noted = [...of.holds].filter(([, hold]) => unlessOver(hold, of.nowMs) !== null);
  return new Map([...holdsOfOps(of.inFlight), ...noted]);
}

function reasonOf(opId: OpView['opId']): string {
  return `asked for with op ${opId}`;
}

/**
 * Puts the guest on hold, in place of what there is. One that ends lies beneath a bulk stop's, which
 * only the node's own start may end, and goes on when that is released.
 */
export function putOnHold(vmid: Vmid, own: Pause, ports: HoldPorts): Promise<void> {
  const held = findHold(vmid, ports);
  const isBeneath = own.untilMs !== null && held !== null && isBulkHold(held);
  const hold = isBeneath ? { ...held, under: own } : { vmid, ...own };
  return ports.ledger.note({ kind: 'hold', hold });
}

/**
 * Called as a record is about to be written, and in one write with it: the hold first, so that what
 * the op did is not undone whatever a power loss tears off. One that lasts longer stays: it is
 * somebody else's.
 */
export async function noteHoldOf(draft: OpRecordDraft, ports: HoldPorts): Promise<void> {
  const { op_id: opId, vmid, state, origin, attempt } = draft;
  if (origin === 'reconcile' || attempt === 0 || state === 'task_running') return;
  const holdMs = ports.ledger.findOp(opId)?.first.hold_ms;
  if (holdMs === undefined) return;
  const untilMs = ports.clock.now() + holdMs;
  const held = findHold(vmid, ports);
  const beneath = held !== null && isBulkHold(held) ? (held.under ?? null) : held;
  const isLonger = beneath !== null && (beneath.untilMs === null || beneath.untilMs >= untilMs);
  // There was one since its first try began. One that is over stays in the ledger while the op is
  // in flight: where there is none, somebody has resumed the guest.
  const isFirst = state === 'started' && attempt === 1;
  const isResumed = !isFirst && !ports.ledger.holds().has(vmid);
  if (isLonger || isResumed) return;
  await putOnHold(vmid, { untilMs, reason: reasonOf(opId) }, ports);
}
