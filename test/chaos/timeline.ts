/**
 * Orders what two sides wrote down: when a record was on disk, which attempt a request belongs to,
 * how a guest was meanwhile.
 */
import type { OpLine, Place } from '../e2e/contract-journal.ts';
import type { GuestMoment } from '../simulator/history.ts';
import type { LoggedRequest } from '../simulator/request-log.ts';
import { type ActualGuest, isAsAsked } from '../support/fulfilment.ts';
import type { Evidence, Interval, Wish } from './evidence.ts';

export type OpRecord = OpLine & Place;

/** From a look to what the agent does about it, where nothing is slow. */
const SLACK_MS = 3_000;
/** An answer that takes this long is slow. */
const SLOW_MS = 500;
/** A read without an answer is given up (the client's limit, and the margin). */
const GIVEN_UP_MS = 31_000;

export interface SentWrite {
  readonly request: LoggedRequest;
  readonly atMs: number;
  readonly vmid: number;
  readonly kind: 'start' | 'stop' | 'set_config';
  /** The newest record of an attempt of that kind on that guest that was there before it. */
  readonly latest: OpRecord | null;
  /** The `started` of that attempt. */
  readonly started: OpRecord | null;
}

const WRITE = /^\/nodes\/[^/]+\/(?:qemu|lxc)\/(\d+)\/(config|status\/(start|stop|shutdown))$/;

export class Timeline {
  readonly evidence: Evidence;
  /** Ops' records in the order of the journal. */
  readonly records: readonly OpRecord[];
  readonly firsts: ReadonlyMap<string, OpRecord>;
  readonly ends: ReadonlyMap<string, OpRecord>;
  readonly writes: readonly SentWrite[];
  readonly #slow: readonly Interval[];
  readonly #moments: ReadonlyMap<number, readonly GuestMoment[]>;

  constructor(evidence: Evidence) {
    this.evidence = evidence;
    this.records = evidence.journal.ops;
    this.firsts = new Map(this.records.toReversed().map((record) => [record.op_id, record]));
    this.ends = new Map(
      this.records.filter(isEnd).map((record) => [attemptOf(record), record] as const),
    );
    const slow = [...evidence.slow, ...evidence.requests.flatMap(slownessOf)];
    this.#slow = slow.sort((a, b) => b.toMs - a.toMs);
    this.#moments = Map.groupBy(evidence.guests, ({ vmid }) => vmid);
    this.writes = evidence.requests.flatMap((request) => this.#readWrite(request));
  }

  #readWrite(request: LoggedRequest): SentWrite[] {
    const match = WRITE.exec(request.path);
    if (request.method === 'GET' || match === null) return [];
    const kind = match[2] === 'config' ? 'set_config' : match[3] === 'start' ? 'start' : 'stop';
    const vmid = Number(match[1]);
    const latest = this.records.findLast((record) => {
      const isOwn = record.vmid === vmid && record.kind === kind && record.attempt > 0;
      return isOwn && wasThere(record, request);
    });
    const started = latest && this.startOf(latest);
    const atMs = Date.parse(request.at);
    return [{ request, atMs, vmid, kind, latest: latest ?? null, started: started ?? null }];
  }

  startOf(record: OpRecord): OpRecord | null {
    const attempt = attemptOf(record);
    return (
      this.records.find((each) => each.state === 'started' && attemptOf(each) === attempt) ?? null
    );
  }

  /** Not later than this was it on disk; Infinity where that was not seen. */
  seenMs({ segment, endByte }: Place): number {
    const { growth } = this.evidence;
    return growth.find(({ sizes }) => (sizes[segment] ?? 0) >= endByte)?.atMs ?? Infinity;
  }

  /** What the agent did at that time, it decided by what it saw after this. */
  decidedSinceMs(atMs: number): number {
    let sinceMs = atMs - SLACK_MS;
    for (const { fromMs, toMs } of this.#slow) {
      const isMeanwhile = toMs >= sinceMs && fromMs <= atMs;
      if (isMeanwhile) sinceMs = Math.min(sinceMs, fromMs - SLACK_MS);
    }
    return sinceMs;
  }

  /** The process that wrote it, by the `opened` before it. */
  lifeOf({ seq }: Pick<OpRecord, 'seq'>): number | null {
    const { notes } = this.evidence.journal;
    return notes.findLast((note) => note.type === 'opened' && note.seq < seq)?.seq ?? null;
  }

  /** Was the guest ever so within that time? */
  wasEver(
    vmid: number,
    { fromMs, toMs }: Interval,
    isSo: (guest: GuestMoment | null) => boolean,
  ): boolean {
    const moments = this.#moments.get(vmid) ?? [];
    const within = moments.filter(({ at }) => Date.parse(at) > fromMs && Date.parse(at) <= toMs);
    const first = moments.findLast(({ at }) => Date.parse(at) <= fromMs);
    return [first ?? null, ...within].some(isSo);
  }

  /** What was wanted of a guest at any time in between; null: nothing. */
  wishesOf(vmid: number, { fromMs, toMs }: Interval): readonly (Wish | null)[] {
    const { wishes } = this.evidence;
    const first = wishes.findLast(({ atMs }) => atMs <= fromMs);
    const within = wishes.filter(({ atMs }) => atMs > fromMs && atMs <= toMs);
    return [...(first === undefined ? [] : [first]), ...within].map(
      (each) => each.wishes[vmid] ?? null,
    );
  }
}

export function attemptOf({ op_id: opId, attempt }: Pick<OpRecord, 'op_id' | 'attempt'>): string {
  return `${opId} attempt ${attempt}`;
}

export function isEnd({ state }: Pick<OpRecord, 'state'>): boolean {
  return state === 'succeeded' || state === 'failed';
}

/** Was the record on disk when the request arrived? */
export function wasThere({ segment, endByte }: Place, { watched }: LoggedRequest): boolean {
  return (watched?.[segment] ?? 0) >= endByte;
}

/** A description ends in a line feed or does not, as PVE likes it. */
export function plainValue(text: string): string {
  return text.replace(/\n$/, '');
}

/** As the op wants it; `sinceMs`: when it began, for what must have been started since. */
export function isGuestAsAsked(
  op: Pick<OpRecord, 'kind' | 'params'>,
  guest: GuestMoment | null,
  sinceMs: number,
): boolean {
  if (guest === null || guest.status === 'gone') return false;
  const actual: ActualGuest = {
    power: guest.status,
    haState: guest.ha_state ?? undefined,
    config: new Map(Object.entries(guest.config).map(([key, text]) => [key, plainValue(text)])),
  };
  const isSameBoot = guest.booted_at === null || Date.parse(guest.booted_at) < sinceMs;
  return isAsAsked(op, actual, isSameBoot);
}

function slownessOf({ at, ms, fault }: LoggedRequest): Interval[] {
  const fromMs = Date.parse(at);
  // Of these the log knows only when the answer began.
  const isOpen = ms === null || fault === 'hang' || fault === 'slow';
  if (isOpen) return [{ fromMs, toMs: fromMs + GIVEN_UP_MS }];
  return ms < SLOW_MS ? [] : [{ fromMs, toMs: fromMs + ms }];
}
