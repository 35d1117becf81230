/**
 * Signed ops that were refused, in the log: who sends what is turned away. A line each, and in a
 * flood the first of each code: what anybody may send must not fill the log.
 */
import type { Clock } from '../../reconcile/clock.ts';
import type { ErrorCode, Problem } from '../../reconcile/errors.ts';
import type { Log } from './log.ts';

export interface Refusal extends Problem {
  /** As the envelope claims them; they prove nothing. */
  readonly keyids: readonly string[];
  /** An address, `socket`, or the hub's URL. */
  readonly peer: string;
  /** What the sender was told it by. */
  readonly ids: { readonly request_id: string } | { readonly event_id: string };
}

/** Of one code within `WINDOW_MS`; `not_logged` of the next line counts the others. */
const LINES_MAX = 10;
const WINDOW_MS = 60_000;

export function createRefusalLogger(
  log: Pick<Log, 'warn'>,
  clock: Pick<Clock, 'monotonicMs'>,
): (refusal: Refusal) => void {
  const windows = new Map<ErrorCode, { sinceMs: number; lines: number; left: number }>();
  return ({ code, message, keyids, peer, ids }) => {
    const nowMs = clock.monotonicMs();
    const window = windows.get(code) ?? { sinceMs: nowMs, lines: 0, left: 0 };
    windows.set(code, window);
    if (nowMs - window.sinceMs >= WINDOW_MS) Object.assign(window, { sinceMs: nowMs, lines: 0 });
    if (window.lines >= LINES_MAX) {
      window.left += 1;
      return;
    }
    const left = window.left === 0 ? {} : { not_logged: window.left };
    log.warn({ code, keyids, peer, ...ids, ...left }, `signed op refused: ${message}`);
    window.lines += 1;
    window.left = 0;
  };
}
