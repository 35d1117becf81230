/**
 * The last line of a running task's log, for whoever watches: PVE is asked only then, and at most
 * every two seconds for one task, however many watch.
 */
import type { Proxmox } from '../../proxmox/node.ts';
import type { Clock } from '../../reconcile/clock.ts';
import type { Upid } from '../../reconcile/ids.ts';

export const LOG_INTERVAL_MS = 2_000;
/** What was watched last is remembered; more tasks than run at once on a node. */
const TASKS_KEPT = 32;

/** Null: no line yet, or it cannot be read. */
export type ReadLastLine = (upid: Upid) => Promise<string | null>;

interface Known {
  readonly askedAtMs: number;
  /** How many lines there were, as far as this is known. */
  total: number;
  readonly line: Promise<string | null>;
}

export function createTaskLog({
  proxmox,
  clock,
}: {
  readonly proxmox: Pick<Proxmox, 'taskLog'>;
  readonly clock: Clock;
}): ReadLastLine {
  const known = new Map<Upid, Known>();
  // Whoever closes the client cuts what is under way.
  const { signal } = new AbortController();
  return (upid) => {
    const before = known.get(upid);
    const nowMs = clock.monotonicMs();
    if (before !== undefined && nowMs - before.askedAtMs < LOG_INTERVAL_MS) return before.line;
    const ask = async (): Promise<string | null> => {
      // From the last line that was seen on: it comes again where no other has come.
      const start = Math.max(0, (before?.total ?? 0) - 1);
      const page = await proxmox.taskLog(upid, start, signal);
      if (page === null) return (await before?.line) ?? null;
      asked.total = page.total;
      return page.lines.at(-1) ?? null;
    };
    const asked: Known = { askedAtMs: nowMs, total: before?.total ?? 0, line: ask() };
    known.delete(upid);
    known.set(upid, asked);
    const [oldest] = known.keys();
    if (known.size > TASKS_KEPT && oldest !== undefined) known.delete(oldest);
    return asked.line;
  };
}
