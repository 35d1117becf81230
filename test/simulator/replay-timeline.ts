/**
 * Recorded timelines: the states a guest went through after a request, and when. The order must be
 * the recorded one; the delays may differ by a round of the HA manager, whose phase is chance.
 */
import { type Guest, haSid } from './guest.ts';
import type { Replay } from './replay-run.ts';
import type { Step } from './replay-transcript.ts';

/** One CRM round of 10 s, one LRM delay, and half a second of polling. */
const TOLERANCE_S = 12;
const POLL_MS = 250;

interface Change {
  readonly s: number;
  readonly state: string;
}

function field(value: unknown, ...path: readonly string[]): unknown {
  let current = value;
  for (const key of path) {
    if (typeof current !== 'object' || current === null) return undefined;
    current = Object.entries(current).find(([name]) => name === key)?.[1];
  }
  return current;
}

function push(changes: Change[], s: number, state: unknown): void {
  const text = String(state);
  if (state !== undefined && changes.at(-1)?.state !== text) changes.push({ s, state: text });
}

interface Series {
  readonly power: Change[];
  readonly ha: Change[];
}

function emptySeries(): Series {
  return { power: [], ha: [] };
}

/** How many steps were consumed. */
export async function followTimeline(
  replay: Replay,
  steps: readonly Step[],
  start: number,
): Promise<number> {
  const recorded = emptySeries();
  let end = start;
  let lastS = 0;
  for (; steps[end] !== undefined && steps[end]?.request === undefined; end += 1) {
    const step = steps[end];
    if (step?.observed !== undefined && end > start && isNewTimeline(step, steps[end - 1])) break;
    lastS = Math.max(lastS, step?.t ?? 0);
    push(recorded.power, step?.t ?? 0, field(step?.observed, 'status/current', 'status'));
    push(recorded.ha, step?.t ?? 0, haWord(field(step?.observed, 'status/current', 'ha')));
  }
  const here = await watch(replay, steps[start]?.t ?? 0, lastS);
  const note = `timeline at step ${start} (${steps[start]?.note ?? ''})`;
  replay.differences.push(
    ...compareSeries(`${note} power`, recorded.power, here.power),
    ...compareSeries(`${note} ha`, recorded.ha, here.ha),
  );
  return end - start;
}

/** Two timelines in a row: the second starts its clock again, or has none. */
function isNewTimeline(step: Step, previous: Step | undefined): boolean {
  return (step.t ?? 0) < (previous?.t ?? 0);
}

function haWord(ha: unknown): string | undefined {
  if (ha === undefined) return undefined;
  const managed = field(ha, 'managed');
  return managed === 1 ? `managed ${String(field(ha, 'state'))}` : 'not managed';
}

async function watch(replay: Replay, firstS: number, lastS: number): Promise<Series> {
  const series = emptySeries();
  const secondsNow = (): number => (replay.ticker.nowMs() - replay.lastWriteMs) / 1000;
  if (firstS > secondsNow()) await replay.ticker.advance((firstS - secondsNow()) * 1000);
  for (;;) {
    const guest = replay.node.guests.get(replay.lastVmid);
    if (guest !== undefined) sample(replay, guest, series, secondsNow());
    if (secondsNow() >= lastS) return series;
    await replay.ticker.advance(POLL_MS);
  }
}

function sample(replay: Replay, guest: Guest, series: Series, s: number): void {
  push(series.power, s, guest.run.kind);
  push(series.ha, s, haWord(replay.node.ha.guestState(haSid(guest))));
}

/** A change that falls outside either watch is not missed: one must be a stretch of the other. */
function compareSeries(
  what: string,
  recorded: readonly Change[],
  here: readonly Change[],
): string[] {
  const [longer, shorter] = recorded.length > here.length ? [recorded, here] : [here, recorded];
  const offset = longer.findIndex((_, index) => {
    return order(longer.slice(index, index + shorter.length)) === order(shorter);
  });
  if (offset < 0) return [`${what}: recorded ${order(recorded)}, got ${order(here)}`];
  return shorter.flatMap((change, index) => {
    const s = longer[index + offset]?.s ?? change.s;
    if (Math.abs(s - change.s) <= TOLERANCE_S * Math.max(1, index)) return [];
    return [`${what}: ${change.state} at ${change.s} s and at ${s} s`];
  });
}

function order(changes: readonly Change[]): string {
  return changes.map(({ state }) => state).join(' → ');
}

/** [task, exit status, guest, (qmpstatus,) has a pid], in the order they are first seen. */
export async function followReboot(
  replay: Replay,
  steps: readonly Step[],
  start: number,
): Promise<number> {
  let end = start;
  const task = replay.node.tasks.find([...replay.upids.values()].at(-1) ?? '');
  const guest = replay.node.guests.get(replay.lastVmid);
  const now = (): string => {
    const run = guest?.run ?? { kind: 'stopped' };
    const qmp = run.kind === 'running' ? run.qmpStatus : 'stopped';
    const hasPid = run.kind === 'running' && run.pid !== null;
    const words = [task?.end === null ? 'running' : 'stopped', task?.end?.status ?? null, run.kind];
    return JSON.stringify([...words, ...(guest?.kind === 'qemu' ? [qmp] : []), hasPid]);
  };
  for (; steps[end]?.k !== undefined; end += 1) {
    const k = steps[end]?.k ?? [];
    const wanted = JSON.stringify([...k.slice(0, -1), k.at(-1) !== null]);
    for (let waited = 0; now() !== wanted && waited < 10_000; waited += 20) {
      await replay.ticker.advance(20);
    }
    if (now() !== wanted) replay.differences.push(`step ${end}: never ${wanted}, now ${now()}`);
  }
  return end - start;
}
