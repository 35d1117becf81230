/**
 * Ops' ends out of the journal, from a record on: what the outbox has not seen as it happened. The
 * journal is the outbox's memory; only how far the hub has come is noted beside it.
 *
 * A failed attempt is an end only where no other follows it, which may be in a later segment. A
 * damaged line costs its own record and is counted: nobody knows whether it was an end.
 */
import type { SealedOp } from '../../journal/op-record.ts';
import type { JournalReader } from '../../journal/reader.ts';
import { parseRecord } from '../../journal/records.ts';
import { scanLines } from '../../journal/scan.ts';
import { readSegment } from '../../journal/segment-file.ts';
import type { OpId } from '../../reconcile/ids.ts';
import { isTerminal } from '../../reconcile/op.ts';
import type { OpLedger } from '../../reconcile/ports.ts';

export interface Ends {
  /** The last record there is of each op that ended, in the order of their seq. */
  readonly ends: readonly SealedOp[];
  /** All records up to this one have been looked at. */
  readonly throughSeq: number;
  /** Of these records so many cannot be read: removed by retention, or damaged. */
  readonly lost: number;
}

export interface ReceiptSource {
  /**
   * A segment's worth of them at most, behind `afterSeq` and up to `untilSeq`; asked again from
   * `throughSeq` it goes on.
   */
  readEnds(range: { readonly afterSeq: number; readonly untilSeq: number }): Promise<Ends>;
}

/** `ledger` knows the ops that count; of older ones the segments behind are read. */
export function createReceiptSource(
  reader: JournalReader,
  ledger: Pick<OpLedger, 'findOp'>,
): ReceiptSource {
  return {
    async readEnds({ afterSeq, untilSeq }) {
      const start = await findSegment(reader, afterSeq);
      if (start === null) return { ends: [], throughSeq: untilSeq, lost: untilSeq - afterSeq };
      const { segment, nextFirstSeq } = start;
      const behindSeq = nextFirstSeq ?? Number.POSITIVE_INFINITY;
      const throughSeq = Math.min(untilSeq, behindSeq - 1);
      const ends: EndsByOp = new Map();
      let lost = throughSeq - afterSeq;
      await scanSegment(reader, segment, (text) => {
        const record = parseRecord(text);
        // Where the line that ends the segment is damaged, a stale writer's may follow.
        if (!('seq' in record) || record.seq <= afterSeq || record.seq >= behindSeq) return;
        if (record.seq <= throughSeq && record.kind !== 'lost') lost -= 1;
        if (record.kind !== 'op') return;
        const { op } = record;
        ends.delete(op.op_id);
        if (isTerminal(op.state) && op.seq <= untilSeq) ends.set(op.op_id, op);
      });
      if (nextFirstSeq !== null) await dropTriedAgain(ends, { reader, ledger, segment });
      return { ends: [...ends.values()], throughSeq, lost };
    },
  };
}

type EndsByOp = Map<OpId, SealedOp>;

/** As JSON.stringify writes it; in front of a parent's id stands `parent_`, in a text a backslash. */
const OP_ID = /"op_id":"([0-9a-z]{16})"/;

/** Takes out the failed attempts of `segment` that another one follows in a later segment. */
async function dropTriedAgain(
  ends: EndsByOp,
  parts: {
    readonly reader: JournalReader;
    readonly ledger: Pick<OpLedger, 'findOp'>;
    readonly segment: number;
  },
): Promise<void> {
  const { reader, ledger, segment } = parts;
  const doubtful = new Set<string>();
  for (const { op_id: opId, state, attempt, seq } of ends.values()) {
    if (state !== 'failed' || attempt === 0) continue;
    const known = ledger.findOp(opId);
    if (known === null) doubtful.add(opId);
    else if (known.latest.seq > seq) ends.delete(opId);
  }
  for (const later of await reader.segments()) {
    if (later <= segment || doubtful.size === 0) continue;
    await scanSegment(reader, later, (text) => {
      if (!doubtful.has(OP_ID.exec(text)?.[1] ?? '')) return undefined;
      const record = parseRecord(text);
      // Not what the segment's head restates.
      if (record.kind !== 'op') return undefined;
      doubtful.delete(record.op.op_id);
      ends.delete(record.op.op_id);
      return doubtful.size === 0 ? 'stop' : undefined;
    });
  }
}

interface SegmentPlace {
  readonly segment: number;
  /** Null: it is the newest. */
  readonly nextFirstSeq: number | null;
}

/** The segment that holds the record behind `afterSeq`, or the oldest there is. */
async function findSegment(reader: JournalReader, afterSeq: number): Promise<SegmentPlace | null> {
  const segments = await reader.segments();
  let place: SegmentPlace | null = null;
  let nextFirstSeq: number | null = null;
  for (const segment of segments.toReversed()) {
    const firstSeq = await readFirstSeq(reader, segment);
    if (firstSeq === null) continue;
    place = { segment, nextFirstSeq };
    if (firstSeq <= afterSeq + 1) break;
    nextFirstSeq = firstSeq;
  }
  return place;
}

/** Null where retention has removed it meanwhile, or nothing of it can be read. */
async function readFirstSeq(reader: JournalReader, segment: number): Promise<number | null> {
  const found: number[] = [];
  await scanSegment(reader, segment, (text) => {
    const record = parseRecord(text);
    if (record.kind === 'segment') found.push(record.header.first_seq);
    // Its header is damaged.
    if ('seq' in record) found.push(record.seq);
    return found.length > 0 ? 'stop' : undefined;
  });
  return found[0] ?? null;
}

/** Its sound lines; none where retention has removed it meanwhile. */
async function scanSegment(
  reader: JournalReader,
  segment: number,
  visit: (text: string) => 'stop' | void,
): Promise<void> {
  await readSegment(reader.disk, segment, ({ counted }) =>
    scanLines(counted, null, ({ text, fault }) =>
      fault === null ? (visit(text) ?? undefined) : undefined,
    ),
  );
}
