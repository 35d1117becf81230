/**
 * Makes a sound journal of a damaged one: every line that can be vouched for is kept under its
 * number, every other leaves a `lost` record in its place. Reads one folder, writes another.
 *
 * Nothing is concluded from the absence of what is lost, and no more is feared than the evidence
 * leaves open (losses.ts). What a later segment restates as a whole was not lost:
 * - an op whose next record is lost stays in flight: recovery looks at the guest;
 * - a record that cannot follow because the one before it is lost becomes a `lost` record too, but
 *   what it says is restated in the next segment;
 * - an op that was received, and may have been started in a lost record, is ended as `interrupted`,
 *   never sent;
 * - where a key may be lost, ops signed before the repair are refused unless their key is known;
 * - where a hold, a pause or an initial start may be lost, all is paused until somebody has looked.
 */
import type { Disk } from './disk.ts';
import { describeDamaged, parseObject } from './losses.ts';
import { type Live, parseRecord } from './records.ts';
import { judgeTail } from './replay.ts';
import { type Conclusion, type Numbered, SalvageCopy } from './salvage-copy.ts';
import { findPlaces, type LeftOut, type Place } from './salvage-sources.ts';
import { type ScanEnd, type ScannedLine, scanLines } from './scan.ts';
import { createSegment, readMarker, segmentName } from './segments.ts';

export interface SalvageReport extends Conclusion {
  readonly kept: number;
  readonly leftOut: readonly LeftOut[];
}

/** Copies what is sound of `source` into the empty folder `target`. `at`: RFC 3339 with ms. */
export async function salvage(source: Disk, target: Disk, at: string): Promise<SalvageReport> {
  const leftOut: LeftOut[] = [];
  const places = await findPlaces(source, leftOut);
  const journal = places.find(({ header }) => header !== null)?.header?.journal;
  const copy = new SalvageCopy(journal ?? 'repaired');
  for (const place of places) {
    const { isCut } = await new SegmentSalvage(place, copy, leftOut).run(source);
    await createSegment(target, copy.finish(place.number, place.next?.firstSeq ?? null));
    if (isCut && place.next === null) copy.loseSegments(1);
  }
  const marked = await readMarker(source);
  const last = places.at(-1)?.number ?? 0;
  if (typeof marked === 'number' && marked > last) {
    leftOut.push({ segment: segmentName(marked), line: 0, why: 'the segment is missing' });
    // The file `newest` may lag by one.
    copy.loseSegments(marked - last + 1);
  }
  const { draft, ...conclusion } = copy.finishWith(last + 1, at);
  await createSegment(target, draft);
  return { kept: copy.kept, leftOut, ...conclusion };
}

/** Whether its end may be what a crash left, which nobody was told of (J4). */
async function eachLine(
  disk: Disk,
  name: string,
  visit: (line: ScannedLine) => 'stop' | undefined,
): Promise<ScanEnd & { readonly isTorn: boolean }> {
  const file = await disk.openRead(name);
  try {
    const end = await scanLines(file, null, visit);
    return { ...end, isTorn: end.restBytes > 0 && (await judgeTail(file, end)) === null };
  } finally {
    await file.close();
  }
}

/** Of one segment: the restated part first, as a whole; it says what is known at the beginning. */
class SegmentSalvage {
  readonly #place: Place;
  readonly #copy: SalvageCopy;
  readonly #leftOut: LeftOut[];
  readonly #restated: Live[] = [];
  #isWhole = true;
  #hasEnd = false;
  #hasBegun = false;
  /** Behind the line that the next segment follows from: a stale writer's, which does not count. */
  #isLate = false;

  constructor(place: Place, copy: SalvageCopy, leftOut: LeftOut[]) {
    this.#place = place;
    this.#copy = copy;
    this.#leftOut = leftOut;
  }

  /** `isCut`: it ends within its restated part, and nobody knows what came behind. */
  async run(disk: Disk): Promise<{ readonly isCut: boolean }> {
    const { name, next } = this.#place;
    const end = await eachLine(disk, name, (line) => {
      this.#visit(line);
      this.#isLate ||= line.sum !== '' && line.sum === next?.prevSum;
      return undefined;
    });
    const isCut = !this.#hasBegun && !this.#hasEnd;
    if (isCut) this.#isWhole = false;
    if (!this.#hasBegun) this.#begin();
    if (end.restBytes > 0) {
      this.#leave(end.lines + 1, 'the line is incomplete');
      const isTorn = this.#isLate || (next === null && end.isTorn);
      if (!isTorn) this.#copy.addDamagedBytes(end.restBytes);
    }
    return { isCut };
  }

  #begin(): void {
    const { number: segment, header, firstSeq, at } = this.#place;
    const [restated, isWhole] = [this.#restated, this.#isWhole && this.#hasEnd];
    this.#copy.begin({ segment, header, restated, isWhole, firstSeq, at });
    this.#hasBegun = true;
  }

  #visit(line: ScannedLine): void {
    if (this.#isLate) {
      this.#leave(line.number, 'a late line of a stale writer, which does not count');
      return;
    }
    const record = parseRecord(line.text);
    if (line.fault !== null) this.#damaged(line, 'the line does not match its sum');
    else if (record.kind === 'unreadable') this.#damaged(line, record.reason);
    else if ('seq' in record) this.#take(record, line);
    else if (record.kind === 'live_end' && !this.#hasEnd && !this.#hasBegun) this.#endRestated();
    else if (record.kind === 'live' && !this.#hasEnd && !this.#hasBegun)
      this.#restated.push(record.live);
    else if (record.kind !== 'segment' || line.number > 1)
      this.#leave(line.number, `a record of type ${record.kind} where none may stand`);
  }

  #endRestated(): void {
    this.#hasEnd = true;
    // Without its header the number of the first record is what the next line tells.
    if (this.#place.header !== null) this.#begin();
    this.#copy.dropDamaged();
  }

  #take(record: Numbered, { number, text }: ScannedLine): void {
    const nextFirstSeq = this.#place.next?.firstSeq ?? null;
    if (nextFirstSeq !== null && record.seq >= nextFirstSeq) {
      this.#leave(number, `its seq ${record.seq} is one of the next segment's`);
      return;
    }
    if (!this.#hasBegun) this.#begin();
    const why = this.#copy.take(record, text);
    if (why !== null) this.#leave(number, why);
  }

  #damaged({ number, text }: ScannedLine, why: string): void {
    this.#leave(number, `${why}${describeDamaged(text)}`);
    if (!this.#hasBegun) this.#isWhole &&= number === 1 && isHeaderText(text);
    this.#copy.addDamaged(text);
  }

  #leave(line: number, why: string): void {
    this.#leftOut.push({ segment: this.#place.name, line, why });
  }
}

/** One line and a header, though a damaged one: what it says itself is all that is lost. */
function isHeaderText(text: string): boolean {
  return parseObject(text)?.['type'] === 'segment';
}
