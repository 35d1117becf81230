/**
 * Signed ops that were refused, in the log: who sends what is turned away. A line each, and in a
 * flood the first of each code, none of them long: what anybody may send must not fill the log.
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
/** What is longer, somebody has made long. */
const MESSAGE_MAX_CHARS = 400;
const ID_MAX_CHARS = 64;
/** Of up to 16 that an envelope may claim. */
const KEYIDS_MAX = 4;

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
    log.warn(
      { code, keyids: keyids.slice(0, KEYIDS_MAX).map(cutId), peer, ...cutIds(ids), ...left },
      `signed op refused: ${cut(message, MESSAGE_MAX_CHARS)}`,
    );
    window.lines += 1;
    window.left = 0;
  };
}

function cutIds(ids: Refusal['ids']): object {
  return Object.fromEntries(Object.entries(ids).map(([name, id]) => [name, cutId(id)]));
}

function cutId(id: string): string {
  return cut(id, ID_MAX_CHARS);
}

function cut(text: string, maxChars: number): string {
  return text.length > maxChars ? `${text.slice(0, maxChars)}…` : text;
}
