/** One pass of verifying over the lines of one segment; the checks between segments are verify.ts. */
import { assertNever } from '../reconcile/errors.ts';
import { unsealed } from './line.ts';
import { type Live, liveBody, parseRecord, type SegmentHeader } from './records.ts';
import type { ScanEnd, ScannedLine } from './scan.ts';
import { type Fault, SegmentFold } from './segment-fold.ts';

/** One segment's lines that count, folded. */
export class SegmentPass {
  readonly number: number;
  readonly fold: SegmentFold;
  /** What it restates, by its text. */
  readonly #restated = new Map<string, Live>();
  records = 0;
  /** The last line before the first faulty one. */
  #lastSound: ScannedLine | null = null;
  #hasFaulty = false;
  readonly #onFault: (line: number, fault: Fault) => void;

  constructor(number: number, onFault: (line: number, fault: Fault) => void) {
    this.number = number;
    this.fold = new SegmentFold(number);
    this.#onFault = onFault;
  }

  visit(line: ScannedLine): void {
    const { fault, number, text } = line;
    if (fault !== null) {
      this.#hasFaulty = true;
      const message = fault === 'form' ? 'it ends without a sum' : 'it does not match its sum';
      this.#onFault(number, { rule: 'J4', message });
      return;
    }
    if (!this.#hasFaulty) this.#lastSound = line;
    const record = parseRecord(text);
    if (record.kind === 'live') this.#restated.set(unsealed(text), record.live);
    if ('seq' in record) this.records += 1;
    const wrong = this.fold.apply(record);
    if (wrong !== null) this.#onFault(number, wrong);
  }

  /** Null where it restates exactly what was live at the end of the segment before. */
  describeRestated(before: SegmentFold, header: SegmentHeader): string | null {
    const live = before.ledger.restate(Date.parse(header.at));
    const other = new Map(this.#restated);
    // What this version wrote has the text that it would write.
    const missing = live.filter((fact) => !other.delete(JSON.stringify(liveBody(fact))));
    const facts = new Map([...other.values()].map((fact) => [textOf(fact), fact]));
    const example =
      missing.find((fact) => !facts.delete(textOf(fact))) ?? facts.values().next().value;
    return example === undefined
      ? null
      : `it restates other than what was live: ${ownerOf(example)}`;
  }

  /** From the first faulty line on, as opening would see it; null where all lines are sound. */
  tail(end: ScanEnd): ScanEnd | null {
    if (!this.#hasFaulty) return null;
    const { endOffset = 0, sum: lastSum = '', number: lines = 0 } = this.#lastSound ?? {};
    return { endOffset, lastSum, lines, restBytes: end.endOffset + end.restBytes - endOffset };
  }
}

function ownerOf(live: Live): string {
  switch (live.kind) {
    case 'op':
      return `op ${live.records[0].op_id} of guest ${live.records[0].vmid}`;
    case 'guest':
      return `guest ${live.guest.vmid}`;
    case 'pause':
      return 'the pause';
    case 'hub':
      return 'the place in what the hub sent';
    default:
      return assertNever(live);
  }
}

/**
 * Text that is the same for the same facts, whatever the order of their fields. Without what not
 * every version has restated.
 */
function textOf(live: Live): string {
  const { asked_starts_ms: _, since_ms: __, ...body } = liveBody(live);
  const facts = live.kind === 'op' ? live.records.map(sorted) : [sorted(body)];
  return JSON.stringify(facts);
}

function sorted(fields: object): readonly unknown[] {
  return Object.entries(fields).sort(([a], [b]) => (a < b ? -1 : 1));
}
