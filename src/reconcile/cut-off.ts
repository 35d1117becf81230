/** An attempt that the agent's last life left open, taken up from what the op's records tell of it. */
import { type Attempt, followTask, type SentEnd } from './conclusion.ts';
import type { Before } from './op.ts';
import { type Op, opFromRecord } from './op-shape.ts';
import type { OpView } from './ports.ts';
import { settle } from './settle.ts';
import { areTwins, isUnanswered, UNANSWERED_WINDOW_MS } from './unanswered.ts';
import type { Workroom } from './workroom.ts';

/**
 * Where no record tells what was there (a repaired journal may have lost it): as no guest is, so
 * that none counts as unchanged.
 */
export const NOTHING_KNOWN: Before = { power: 'running', booted_at_ms: null, last_upid: null };

/** The attempt of the op's latest record. */
export function latestAttempt<Of extends Op>(
  { started, latest, startedAtMs, latestAtMs }: OpView,
  op: Of,
  room: Workroom,
): Attempt & { readonly op: Of } {
  return {
    op,
    number: latest.attempt,
    before: started?.before ?? NOTHING_KNOWN,
    begun: { atMs: startedAtMs ?? latestAtMs, monotonicMs: null },
    seenSinceMs: room.clock.monotonicMs(),
    isMaybeHa: true,
  };
}

/** What became of it: its task tells or, where there is none, tasks and guest are looked at. */
export async function resumeAttempt(view: OpView, op: Op, room: Workroom): Promise<SentEnd> {
  const attempt = latestAttempt(view, op, room);
  const { upid } = view.latest;
  if (upid !== undefined) return followTask(attempt, upid, room);
  // Without a UPID the latest record is its `started`.
  const startedAtMs = view.latestAtMs;
  const problem = {
    code: 'interrupted',
    message: 'the agent ended before an answer came',
  } as const;
  // Reconciling does not wait, as a guest that is down should come up: the next pass plans afresh from
  // what is there. What it may still do is remembered, and keeps back what it would undo.
  const windowMs = op.origin === 'reconcile' ? 0 : UNANSWERED_WINDOW_MS;
  const hasTwin = room.unsettled.hasTwin(op);
  const end = await settle({ ...attempt, startedAtMs, windowMs, problem }, room);
  // With a twin nobody knows whose task it is.
  if (end.outcome.upid !== undefined && !hasTwin) room.unsettled.forget(op);
  return end;
}

/**
 * What was sent before this life began and may still begin, of ops in flight and of those that an
 * earlier life has ended without an answer. Before anything else: by the wall clock until now, and
 * by the monotonic one from here on.
 */
export function recoverUnsettled(room: Pick<Workroom, 'clock' | 'ledger' | 'unsettled'>): void {
  const begun = [...room.ledger.endedOps(), ...room.ledger.opsInFlight()].flatMap(
    ({ first, latest, startedAtMs }) =>
      startedAtMs === null ? [] : [{ first, latest, startedAtMs }],
  );
  const unanswered = begun.filter(({ latest }) => isUnanswered(latest));
  for (const { first, latest, startedAtMs } of begun) {
    // The task that an earlier life took for this op's may have been its twin's.
    const hadTwin = unanswered.some((other) => {
      const endMs = other.startedAtMs + UNANSWERED_WINDOW_MS;
      return areTwins(other.latest, latest) && endMs > startedAtMs;
    });
    const sentAtMs = Math.min(startedAtMs, room.clock.now());
    if (hadTwin) room.unsettled.leave(opFromRecord(first), sentAtMs + UNANSWERED_WINDOW_MS);
  }
}
