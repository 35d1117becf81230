/** A request that gave no answer: PVE may be stuck with it, and take it up later (PVE-FACTS 5). */
import type { OpRecordDraft } from './op.ts';

/**
 * pveproxy gives up on pvedaemon after 30 s and the request may take effect then; ten more for
 * the worker to show up in the task list.
 */
export const UNANSWERED_WINDOW_MS = 40_000;

/**
 * By the op's latest record: a power action may have been sent, and neither a task of it is known
 * nor a refusal. A write is not among them: PVE refuses it once its digest is stale.
 */
export function isUnanswered({ kind, state, upid, error, observed }: OpRecordDraft): boolean {
  if ((kind !== 'start' && kind !== 'stop') || upid !== undefined) return false;
  const hasEndedSo = error?.code === 'interrupted' || observed?.unanswered === true;
  return state === 'started' || hasEndedSo;
}

/** Both have asked the same of one guest: a task that shows up may be either's. */
export function areTwins(
  a: Pick<OpRecordDraft, 'vmid' | 'kind'>,
  b: Pick<OpRecordDraft, 'vmid' | 'kind'>,
): boolean {
  return a.vmid === b.vmid && a.kind === b.kind;
}
