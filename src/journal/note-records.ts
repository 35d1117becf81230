/**
 * The records that are not steps of ops: one entry a kind of `Note` (reconcile/ports.ts), its record's
 * type being the note's kind. What it does is in ledger.ts.
 */
import { parseUpid, parseVmid, type Vmid } from '../reconcile/ids.ts';
import type { Hold, Note, Pause } from '../reconcile/ports.ts';
import { type Body, isAt, isCount, isMs, isObject, isSeq, isText } from './op-record.ts';

interface NoteType<Kind extends Note['kind']> {
  /** The record's own fields; null where the fact has none. */
  readonly write: (note: Extract<Note, { kind: Kind }>) => Body;
  readonly read: (body: Body) => Note | null;
}

const NOTE_TYPES: { readonly [Kind in Note['kind']]: NoteType<Kind> } = {
  hold: {
    write: ({ hold }) => ({ vmid: hold.vmid, ...writeHold(hold) }),
    read: (body) => {
      const hold = readHold(body);
      return hold === null ? null : { kind: 'hold', hold };
    },
  },
  resume_guest: {
    write: ({ vmid }) => ({ vmid }),
    read: (body) => ofVmid(body, (vmid) => ({ kind: 'resume_guest', vmid })),
  },
  pause: {
    write: ({ pause }) => writePause(pause),
    read: (body) => {
      const pause = readPause(body);
      return pause === null ? null : { kind: 'pause', pause };
    },
  },
  resume: { write: () => ({}), read: () => ({ kind: 'resume' }) },
  initial_done: {
    write: ({ vmid }) => ({ vmid }),
    read: (body) => ofVmid(body, (vmid) => ({ kind: 'initial_done', vmid })),
  },
  late_effect: {
    write: ({ vmid, upid }) => ({ vmid, upid }),
    read: (body) => {
      const upid = parseUpid(body['upid']);
      return upid && ofVmid(body, (vmid) => ({ kind: 'late_effect', vmid, upid }));
    },
  },
  forget_guest: {
    write: ({ vmid }) => ({ vmid }),
    read: (body) => ofVmid(body, (vmid) => ({ kind: 'forget_guest', vmid })),
  },
  secret_applied: {
    write: ({ vmid, key, hash }) => ({ vmid, key, hash }),
    read: (body) => {
      const { key, hash } = body;
      if (!isText(key) || !isText(hash)) return null;
      return ofVmid(body, (vmid) => ({ kind: 'secret_applied', vmid, key, hash }));
    },
  },
  hub_cursor: {
    write: ({ cursor }) => ({ cursor }),
    read: ({ cursor }) => (isText(cursor) ? { kind: 'hub_cursor', cursor } : null),
  },
  receipt_acked: {
    write: ({ recordSeq }) => ({ record_seq: recordSeq }),
    read: ({ record_seq: recordSeq }) =>
      isCount(recordSeq) ? { kind: 'receipt_acked', recordSeq } : null,
  },
};

/** A note's own fields as they go to disk; its record's type is the note's kind. */
export function noteFields<Kind extends Note['kind']>(
  kind: Kind,
  note: Extract<Note, { kind: Kind }>,
): Body {
  return NOTE_TYPES[kind].write(note);
}

export function isNoteKind(type: unknown): type is Note['kind'] {
  return isText(type) && Object.hasOwn(NOTE_TYPES, type);
}

export interface NoteRecord {
  readonly seq: number;
  readonly at: string;
  readonly note: Note;
}

/** Null where it is no note, or not a valid one. */
export function readNote(body: Body): NoteRecord | null {
  const { type, seq, at } = body;
  if (!isNoteKind(type) || !isSeq(seq) || !isAt(at)) return null;
  const note = NOTE_TYPES[type].read(body);
  return note && { seq, at, note };
}

export function writePause(pause: Pause): Body {
  return { until_ms: pause.untilMs, reason: pause.reason };
}

export function readPause(body: Body): Pause | null {
  const { until_ms: untilMs, reason } = body;
  if (!isText(reason) || !(untilMs === null || isMs(untilMs))) return null;
  return { untilMs, reason };
}

/** Without its guest. */
export function writeHold({ under, ...hold }: Hold): Body {
  return { ...writePause(hold), ...(under === undefined ? {} : { under: writePause(under) }) };
}

export function readHold(body: Body): Hold | null {
  const pause = readPause(body);
  if (pause === null) return null;
  const { under: beneath } = body;
  if (beneath === undefined) return ofVmid(body, (vmid) => ({ vmid, ...pause }));
  const under = isObject(beneath) ? readPause(beneath) : null;
  return under && ofVmid(body, (vmid) => ({ vmid, ...pause, under }));
}

function ofVmid<Result>(body: Body, make: (vmid: Vmid) => Result): Result | null {
  const vmid = parseVmid(body['vmid']);
  return vmid === null ? null : make(vmid);
}
