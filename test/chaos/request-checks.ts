/** May the agent do what it did to the node? Its requests and tasks against its own records. */
import { HOLD_TAG } from '../../src/reconcile/guards.ts';
import { isOurs } from './end-checks.ts';
import type { Ask, Wish } from './evidence.ts';
import { attemptOf, type OpRecord, type SentWrite, type Timeline } from './timeline.ts';

/** How long the agent waits for a request without an answer to show an effect (settle.ts). */
const UNANSWERED_WINDOW_MS = 40_000;

function describe({ request, kind, vmid }: SentWrite): string {
  return `request ${request.n} (${request.at}), ${kind} ${vmid}`;
}

export function findUnbackedRequests(timeline: Timeline): string[] {
  const used = new Map<string, SentWrite>();
  return timeline.writes.flatMap((write) => {
    const { latest, started } = write;
    if (latest === null || started === null) return [`${describe(write)}: nothing was started`];
    const attempt = attemptOf(started);
    const earlier = used.get(attempt);
    used.set(attempt, write);
    if (earlier !== undefined) {
      return [`${describe(write)}: ${attempt} had sent request ${earlier.request.n}`];
    }
    if (latest.state === 'started' || isOfEarlierLife(write, timeline)) return [];
    return [`${describe(write)}: ${attempt} was ${latest.state} already`];
  });
}

/** Whoever sent it is gone; its request was on the way when the next one looked. */
function isOfEarlierLife({ latest, started }: SentWrite, timeline: Timeline): boolean {
  if (latest === null || started === null) return false;
  return timeline.lifeOf(latest) !== timeline.lifeOf(started);
}

export function findOverlappingTasks(timeline: Timeline): string[] {
  const own = timeline.evidence.tasks.filter(({ user }) => isOurs(user));
  const faults: string[] = [];
  for (const tasks of Map.groupBy(own, ({ id }) => id).values()) {
    for (const [index, task] of tasks.entries()) {
      const beganMs = Date.parse(task.began_at);
      const other = tasks
        .slice(0, index)
        .find((each) => each.ended_at === null || Date.parse(each.ended_at) > beganMs);
      if (other === undefined) continue;
      if (isLate(task.upid, timeline) || isLate(other.upid, timeline)) continue;
      faults.push(`${task.upid} began at ${task.began_at} while ${other.upid} was running`);
    }
  }
  return faults;
}

/** It began when its attempt had been given up, and nobody could have known. */
function isLate(upid: string, timeline: Timeline): boolean {
  const write = timeline.writes.find(({ request }) => request.upid === upid);
  const started = write?.started;
  if (write === undefined || started === undefined || started === null) return false;
  const end = timeline.ends.get(attemptOf(started));
  const effectMs = Date.parse(write.request.effect_at ?? write.request.at);
  if (end === undefined || timeline.seenMs(end) > effectMs) return false;
  const isOfEarlierLife = timeline.lifeOf(end) !== timeline.lifeOf(started);
  return isOfEarlierLife || effectMs - write.atMs > UNANSWERED_WINDOW_MS;
}

export function findUnwantedWork(timeline: Timeline): string[] {
  return timeline.writes.flatMap((write) => {
    const { started, vmid } = write;
    if (started === null) return [];
    if (started.origin !== 'reconcile') {
      return isAskedFor(rootOf(started, timeline), timeline)
        ? []
        : [`${describe(write)} for ${started.op_id}: nobody has asked for it`];
    }
    const toMs = timeline.seenMs(started);
    const span = { fromMs: timeline.decidedSinceMs(toMs), toMs };
    const faults: string[] = [];
    if (!timeline.wishesOf(vmid, span).some((wish) => isWanted(write, wish))) {
      faults.push(`${describe(write)} for ${started.op_id}: nobody wants it`);
    }
    const wasFree = timeline.wasEver(vmid, span, (guest) => {
      return guest !== null && !(guest.config['tags'] ?? '').split(';').includes(HOLD_TAG);
    });
    if (!wasFree) faults.push(`${describe(write)} for ${started.op_id}: it is tagged as held`);
    const hold = holdOver(started, span.fromMs, timeline);
    if (hold !== null) faults.push(`${describe(write)} for ${started.op_id}: ${hold}`);
    return faults;
  });
}

function isWanted({ kind, request }: SentWrite, wish: Wish | null): boolean {
  if (wish === null || wish.mode === 'observe') return false;
  if (kind === 'start') return wish.power === 'running' || wish.power === 'initial';
  if (kind === 'stop') return wish.power === 'stopped';
  const { digest: _, background_delay: __, ...change } = request.params;
  return Object.entries(change).every(([key, value]) => wish.config[key] === String(value));
}

/** Of a hold or pause that was in force all the time from `sinceMs` until it began. */
function holdOver(started: OpRecord, sinceMs: number, timeline: Timeline): string | null {
  const { notes } = timeline.evidence.journal;
  for (const [begin, end] of [
    ['hold', 'resume_guest'],
    ['pause', 'resume'],
  ] as const) {
    const own = notes.filter(({ type, vmid, seq }) => {
      const isAbout = vmid === undefined || vmid === started.vmid;
      const isEnd = type === end || (begin === 'hold' && type === 'forget_guest');
      return isAbout && seq < started.seq && (type === begin || isEnd);
    });
    const last = own.at(-1);
    if (last?.type !== begin || timeline.seenMs(last) > sinceMs) continue;
    if (last.until_ms === null) return `${begin} ${last.seq} is in force`;
    const isMoved = timeline.evidence.clockMovedMs.some((atMs) => atMs > timeline.seenMs(last));
    if (!isMoved && (last.until_ms ?? 0) > Date.parse(started.at)) {
      return `${begin} ${last.seq} is in force until ${new Date(last.until_ms ?? 0).toISOString()}`;
    }
  }
  return null;
}

/** The op that was asked for: of a part, the whole. */
function rootOf(record: OpRecord, timeline: Timeline): OpRecord {
  return timeline.firsts.get(record.parent_op_id ?? record.op_id) ?? record;
}

function isAskedFor(root: OpRecord, { evidence: { asks } }: Timeline): boolean {
  return asks.some((ask) => isSame(ask, root));
}

function isSame(ask: Ask, { vmid, kind, params, origin }: OpRecord): boolean {
  if (ask.vmid !== vmid || ask.kind !== kind || ask.origin !== origin) return false;
  return JSON.stringify(sorted(ask.params)) === JSON.stringify(sorted(params ?? {}));
}

function sorted(params: Readonly<Record<string, unknown>>): unknown[] {
  return Object.entries(params).sort(([a], [b]) => (a < b ? -1 : 1));
}

export function findUnaskedStops(timeline: Timeline): string[] {
  const stops = timeline.writes.filter(({ kind }) => kind === 'stop');
  return stops.flatMap((write) => {
    const { started, vmid, request } = write;
    const fail = (why: string): string[] => [`${describe(write)}: ${why}`];
    if (started === null) return fail('no stop was started');
    const toMs = timeline.seenMs(started);
    const span = { fromMs: timeline.decidedSinceMs(toMs), toMs };
    if (started.origin === 'reconcile') {
      const wishes = timeline.wishesOf(vmid, span);
      return wishes.some((wish) => wish?.power === 'stopped') ? [] : fail('nobody wants it off');
    }
    const root = rootOf(started, timeline);
    if (root.kind !== 'stop' && root.kind !== 'restart') return fail(`it is of a ${root.kind}`);
    const isHard = request.path.endsWith('/stop');
    if (isHard !== (root.params?.['mode'] === 'stop')) return fail('it was asked otherwise');
    return isAskedFor(root, timeline) ? [] : fail('nobody has asked for it');
  });
}
