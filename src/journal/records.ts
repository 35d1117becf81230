/**
 * Every type of record there is, format 1. To add one: a member of `Note` (reconcile/ports.ts) and
 * its entry in note-records.ts, its effect in ledger.ts, and in `LiveGuest` or a new live type what
 * a new segment restates of it.
 *
 * | type | top-level seq | is |
 * |---|---|---|
 * | `segment` | no | a segment's first line |
 * | `live_op`, `live_guest`, `live_pause`, `live_hub` | no | what was live when the segment was opened |
 * | `live_end` | no | the restated part is complete |
 * | `opened` | yes | a process has opened the journal for writing |
 * | `op` | yes | one step of an op |
 * | `lost` | yes | in a repaired journal: here was a record that could not be kept |
 * | those of note-records.ts | yes | a durable fact that is not a step of an op |
 *
 * Unknown fields are kept and ignored; an unknown type is refused: it may hold what must not be
 * forgotten.
 */
import { assertNever } from '../reconcile/errors.ts';
import { parseUpid, parseVmid, type Upid, type Vmid } from '../reconcile/ids.ts';
import type { Hold, Note, Pause } from '../reconcile/ports.ts';
import { isSum } from './line.ts';
import {
  isNoteKind,
  readHold,
  readNote,
  readPause,
  writeHold,
  writePause,
} from './note-records.ts';
import {
  type Body,
  isAt,
  isCount,
  isMs,
  isObject,
  isSealedOp,
  isSeq,
  isText,
  type OpRecords,
  type SealedOp,
  wrongOpField,
} from './op-record.ts';

/** The format this version writes; older ones are read too. */
export const FORMAT = 1;

/**
 * Which facts the ledger makes of the records: one more whenever that changes. What a version with
 * other rules has restated is taken as it is, and not held against this one's.
 */
export const FOLD = 2;

export interface SegmentHeader {
  readonly type: 'segment';
  readonly format: number;
  readonly prev_sum: string;
  readonly first_seq: number;
  /** The number in its file name. */
  readonly segment: number;
  /** Random, the same in all segments of one journal. */
  readonly journal: string;
  /** How often the journal has been opened for writing. */
  readonly epoch: number;
  readonly at: string;
  /** `FOLD` of the version that wrote it; the first ones did not say. */
  readonly fold?: number;
  /** Written by `journal repair`: what it restates need not follow from the segment before. */
  readonly repaired?: boolean;
}

/** Who opened the journal, as far as anybody can check it later. */
export interface Opener {
  readonly pid: number;
  readonly host: string;
  readonly boot_id: string;
  readonly started_at: string;
}

export interface Opened extends Opener {
  readonly type: 'opened';
  readonly seq: number;
  readonly at: string;
  readonly epoch: number;
}

export interface LiveGuest {
  readonly vmid: Vmid;
  readonly hold: Hold | null;
  /** Wall clock ms; null: of what is here, none is dated. */
  readonly sinceMs: number | null;
  readonly lastUpid: Upid | null;
  /** Wall clock ms. */
  readonly startsMs: readonly number[];
  /** Those of them that somebody asked for. */
  readonly askedStartsMs: readonly number[];
  readonly isInitialDone: boolean;
  readonly secrets: Readonly<Record<string, string>>;
}

export type Live =
  | { readonly kind: 'op'; readonly records: OpRecords }
  | { readonly kind: 'guest'; readonly guest: LiveGuest }
  | { readonly kind: 'pause'; readonly pause: Pause }
  | { readonly kind: 'hub'; readonly hub: HubPlace };

/** How far the agent and its hub have come with each other; null: not begun. */
export interface HubPlace {
  /** The last event of the hub's stream that is dealt with. */
  readonly cursor: string | null;
  /** The hub has every receipt of records up to this seq. */
  readonly ackedSeq: number | null;
  /** Keys of ops that expired up to then are forgotten, wall clock ms; 0: none is. */
  readonly forgottenToMs: number;
  /** Of ops signed up to then keys may be lost (`journal repair`), wall clock ms; 0: of none. */
  readonly keysLostToMs: number;
}

export type JournalRecord =
  | { readonly kind: 'segment'; readonly header: SegmentHeader }
  | { readonly kind: 'live'; readonly live: Live }
  | { readonly kind: 'live_end' }
  | { readonly kind: 'opened'; readonly seq: number; readonly opened: Opened }
  | { readonly kind: 'op'; readonly seq: number; readonly op: SealedOp }
  | { readonly kind: 'note'; readonly seq: number; readonly at: string; readonly note: Note }
  | { readonly kind: 'lost'; readonly seq: number; readonly at: string }
  /** `isNewer`: of a type that, if the line is sound, a newer version has written. */
  | { readonly kind: 'unreadable'; readonly reason: string; readonly isNewer?: boolean };

export function liveBody(live: Live): Body {
  switch (live.kind) {
    case 'op':
      return { type: 'live_op', op_id: live.records[0].op_id, records: live.records };
    case 'guest':
      return { type: 'live_guest', ...writeGuest(live.guest) };
    case 'pause':
      return { type: 'live_pause', ...writePause(live.pause) };
    case 'hub':
      return { type: 'live_hub', ...writeHub(live.hub) };
    default:
      return assertNever(live);
  }
}

/** What a line says. Never throws: what is not a record of ours is `unreadable`, with the reason. */
export function parseRecord(text: string): JournalRecord {
  let body: unknown;
  try {
    body = JSON.parse(text);
  } catch {
    return { kind: 'unreadable', reason: 'it is not JSON' };
  }
  if (!isObject(body)) return { kind: 'unreadable', reason: 'it is not a JSON object' };
  if (isSealedOp(body)) return { kind: 'op', seq: body.seq, op: body };
  return readOther(body) ?? describeUnreadable(body);
}

function describeUnreadable(body: Body): JournalRecord {
  const type = body['type'];
  if (type === 'op') {
    const field = wrongOpField(body) ?? 'sum';
    return { kind: 'unreadable', reason: `its field ${field} is missing or not valid` };
  }
  if (isText(type) && (isNoteKind(type) || OTHER_TYPES.has(type))) {
    return { kind: 'unreadable', reason: `a record of type ${type} whose fields are not valid` };
  }
  const reason = `a record of unknown type ${JSON.stringify(type)}`;
  return isText(type)
    ? { kind: 'unreadable', reason, isNewer: true }
    : { kind: 'unreadable', reason };
}

const OTHER_TYPES: ReadonlySet<string> = new Set([
  'segment',
  'live_op',
  'live_guest',
  'live_pause',
  'live_hub',
  'live_end',
  'opened',
  'lost',
]);

function readOther(body: Body): JournalRecord | null {
  switch (body['type']) {
    case 'segment':
      return isHeader(body) ? { kind: 'segment', header: body } : null;
    case 'live_op':
      return readLiveOp(body['records']);
    case 'live_guest': {
      const guest = readGuest(body);
      return guest && { kind: 'live', live: { kind: 'guest', guest } };
    }
    case 'live_pause': {
      const pause = readPause(body);
      return pause && { kind: 'live', live: { kind: 'pause', pause } };
    }
    case 'live_hub': {
      const hub = readHub(body);
      return hub && { kind: 'live', live: { kind: 'hub', hub } };
    }
    case 'live_end':
      return { kind: 'live_end' };
    case 'opened':
      return isOpened(body) ? { kind: 'opened', seq: body.seq, opened: body } : null;
    case 'lost': {
      const { seq, at } = body;
      return isSeq(seq) && isAt(at) ? { kind: 'lost', seq, at } : null;
    }
    default: {
      const found = readNote(body);
      return found && { kind: 'note', ...found };
    }
  }
}

function isHeader(body: object): body is SegmentHeader {
  const header: Partial<Record<keyof SegmentHeader, unknown>> = body;
  return (
    isSeq(header.format) &&
    isSum(header.prev_sum) &&
    isSeq(header.first_seq) &&
    isSeq(header.segment) &&
    isText(header.journal) &&
    isSeq(header.epoch) &&
    isAt(header.at)
  );
}

function isOpened(body: object): body is Opened {
  const opened: Partial<Record<keyof Opened, unknown>> = body;
  return (
    isSeq(opened.seq) &&
    isAt(opened.at) &&
    isSeq(opened.epoch) &&
    isSeq(opened.pid) &&
    isText(opened.host) &&
    isText(opened.boot_id) &&
    isText(opened.started_at)
  );
}

function readLiveOp(records: unknown): JournalRecord | null {
  if (!Array.isArray(records) || records.length > 3 || !records.every(isSealedOp)) return null;
  const [first, ...later] = records;
  if (first === undefined || later.some((op) => op.op_id !== first.op_id)) return null;
  return { kind: 'live', live: { kind: 'op', records: [first, ...later] } };
}

function writeGuest(guest: LiveGuest): Body {
  const { vmid, hold, sinceMs, lastUpid, startsMs, askedStartsMs, isInitialDone, secrets } = guest;
  return {
    vmid,
    ...(hold === null ? {} : { hold: writeHold(hold) }),
    ...(sinceMs === null ? {} : { since_ms: sinceMs }),
    ...(lastUpid === null ? {} : { last_upid: lastUpid }),
    ...(startsMs.length === 0 ? {} : { starts_ms: startsMs }),
    ...(askedStartsMs.length === 0 ? {} : { asked_starts_ms: askedStartsMs }),
    ...(isInitialDone ? { initial_done: true } : {}),
    ...(Object.keys(secrets).length === 0 ? {} : { secrets }),
  };
}

function readGuest(body: Body): LiveGuest | null {
  const vmid = parseVmid(body['vmid']);
  const { hold: held, since_ms: sinceMs, secrets = {} } = body;
  const { starts_ms: starts = [], asked_starts_ms: asked = [] } = body;
  if (vmid === null || !Array.isArray(starts) || !Array.isArray(asked) || !isObject(secrets)) {
    return null;
  }
  const hold = isObject(held) ? readHold({ ...held, vmid }) : null;
  if (held !== undefined && hold === null) return null;
  return {
    vmid,
    hold,
    sinceMs: isMs(sinceMs) ? sinceMs : null,
    lastUpid: parseUpid(body['last_upid']),
    startsMs: starts.filter(isMs),
    askedStartsMs: asked.filter(isMs),
    isInitialDone: body['initial_done'] === true,
    secrets: Object.fromEntries(
      Object.entries(secrets).flatMap(([key, hash]) => (isText(hash) ? [[key, hash]] : [])),
    ),
  };
}

function writeHub({ cursor, ackedSeq, forgottenToMs, keysLostToMs }: HubPlace): Body {
  return {
    cursor,
    acked_seq: ackedSeq,
    forgotten_to_ms: forgottenToMs,
    ...(keysLostToMs === 0 ? {} : { keys_lost_to_ms: keysLostToMs }),
  };
}

function readHub(body: Body): HubPlace | null {
  const { cursor, acked_seq: ackedSeq, forgotten_to_ms: forgottenToMs } = body;
  const { keys_lost_to_ms: keysLostToMs = 0 } = body;
  if (!(cursor === null || isText(cursor)) || !isMs(forgottenToMs) || !isMs(keysLostToMs)) {
    return null;
  }
  if (ackedSeq !== null && !isCount(ackedSeq)) return null;
  return { cursor, ackedSeq, forgottenToMs, keysLostToMs };
}
