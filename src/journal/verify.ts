/**
 * Checks a whole journal, all of it that is still there, without its lock: the chain, the numbers,
 * the order of each op's states and its receipt (J2, J6, J9), and that each segment restates
 * exactly what was live (J10). Goes on after a fault, so that one run tells all.
 */
import type { ReadFile } from './disk.ts';
import type { JournalReader } from './reader.ts';
import { FOLD } from './records.ts';
import { judgeTail } from './replay.ts';
import { type ScanEnd, scanLines } from './scan.ts';
import { readSegment, type SegmentFile } from './segment-file.ts';
import type { Fault, SegmentFold } from './segment-fold.ts';
import { SegmentPass } from './segment-pass.ts';
import { NEWER_RULE, readMarker, segmentName } from './segments.ts';

export interface JournalProblem {
  /** File name. */
  readonly segment: string;
  /** From 1; 0 for the segment as a whole. */
  readonly line: number;
  readonly rule: string;
  readonly message: string;
}

export interface VerifyReport {
  readonly ok: boolean;
  readonly segments: number;
  /** Lines with a top-level seq. */
  readonly records: number;
  readonly problems: readonly JournalProblem[];
  /** Not wrong, but worth knowing: a torn end, a stale writer's late line. */
  readonly notices: readonly JournalProblem[];
}

/** More tell nothing new, but for the first of a newer version. */
const PROBLEMS_MAX = 1000;

export async function verifyJournal(reader: JournalReader): Promise<VerifyReport> {
  const numbers = await reader.segments();
  const verifier = new Verifier(reader);
  for (const [index, number] of numbers.entries()) {
    await verifier.checkSegment(number, index === numbers.length - 1);
  }
  await verifier.checkMarker(numbers.at(-1) ?? 0);
  return verifier.report(numbers.length);
}

class Verifier {
  readonly #reader: JournalReader;
  readonly #problems: JournalProblem[] = [];
  readonly #notices: JournalProblem[] = [];
  #records = 0;
  #before: SegmentFold | null = null;
  #beforeNumber = 0;

  constructor(reader: JournalReader) {
    this.#reader = reader;
  }

  async checkSegment(number: number, isLastListed: boolean): Promise<void> {
    const pass = new SegmentPass(number, (line, fault) => this.#add(number, line, fault));
    const read = await readSegment(this.#reader.disk, number, async (segment) => {
      const { counted, link } = segment;
      const end = await scanLines(counted, null, (line) => {
        pass.visit(line);
        return undefined;
      });
      if (link === 'missing') {
        const message = `no line here is what ${segmentName(number + 1)} follows from`;
        this.#add(number, end.lines + 1, { rule: 'J10', message });
      }
      await this.#checkEnd(counted, pass, end, isLastListed && link === 'unknown');
      if (link === 'found') await this.#noteLate(number, segment, end);
      return end;
    });
    if (read === null) {
      // Retention took it between the list and now, and all before it.
      this.#before = null;
      return;
    }
    // Whatever its end may be taken for: no crash leaves a segment without its beginning.
    if (pass.fold.isRestating) {
      const message = 'it ends within its restated part';
      this.#add(number, read.lines + 1, { rule: 'J10', message });
    }
    this.#checkBeginning(number, pass);
    this.#records += pass.records;
    this.#before = pass.fold;
    this.#beforeNumber = number;
  }

  async #noteLate(number: number, { late }: SegmentFile, end: ScanEnd): Promise<void> {
    const { lines, restBytes } = await scanLines(late, end.lastSum, () => undefined);
    const line = end.lines + 1;
    if (lines > 0) {
      const message = `${lines} late lines of a stale writer; they do not count`;
      this.#note(number, line, { rule: 'J8', message });
    }
    if (restBytes > 0)
      this.#note(number, line + lines, { rule: 'J8', message: 'half a late line' });
  }

  async #checkEnd(
    file: ReadFile,
    pass: SegmentPass,
    end: ScanEnd,
    isNewest: boolean,
  ): Promise<void> {
    const line = end.lines + 1;
    const torn = isNewest ? pass.tail(end) : null;
    const tail = torn ?? end;
    if (tail.restBytes === 0) return;
    const fault = await judgeTail(file, tail);
    if (fault !== null || !isNewest) {
      if (torn === null) {
        this.#add(pass.number, line, fault ?? { rule: 'J4', message: 'it ends within a line' });
      }
      return;
    }
    if (torn !== null) this.#retract(pass.number, torn.lines + 1);
    const message = `${tail.restBytes} bytes of an incomplete end; opening cuts them off`;
    this.#note(pass.number, tail.lines + 1, { rule: 'J4', message });
  }

  /** Faults of lines that turned out to be a crash's torn end. */
  #retract(number: number, fromLine: number): void {
    const name = segmentName(number);
    const kept = this.#problems.filter(({ segment, line }) => segment !== name || line < fromLine);
    this.#problems.splice(0, this.#problems.length, ...kept);
  }

  #checkBeginning(number: number, pass: SegmentPass): void {
    const { header } = pass.fold;
    const before = this.#before;
    if (header === null || before === null) return;
    const add = (rule: string, message: string): void => this.#add(number, 1, { rule, message });
    if (this.#beforeNumber !== number - 1) {
      add('J10', `${segmentName(number - 1)} is missing`);
      return;
    }
    if (header.journal !== before.header?.journal) add('J10', 'it is of another journal');
    if (header.epoch < before.epoch) add('J8', `its epoch ${header.epoch} is an earlier one`);
    // Where a repair could not tell how many numbers had been given out, it leaves some free.
    const isFree = header.repaired === true && header.first_seq > before.nextSeq;
    if (header.first_seq !== before.nextSeq && !isFree) {
      add('seq', `its first seq is ${header.first_seq}, not ${before.nextSeq}`);
    }
    if (header.repaired === true || header.fold !== FOLD) return;
    const difference = pass.describeRestated(before, header);
    if (difference === null) return;
    // A record that could not be read is one that the state before is without.
    const hasCause = this.#problems.length > 0;
    add('J10', hasCause ? `${difference}; that may follow from the finding before` : difference);
  }

  async checkMarker(newest: number): Promise<void> {
    const marked = await readMarker(this.#reader.disk);
    if (marked === 'unreadable') {
      this.#add(Math.max(1, newest), 0, { rule: 'J10', message: 'the file `newest` is damaged' });
    } else if (marked !== null && marked > newest) {
      const isThere = (await this.#reader.segments()).includes(marked);
      if (!isThere) this.#add(marked, 0, { rule: 'J10', message: 'the segment is missing' });
    }
  }

  #add(segment: number, line: number, fault: Fault): void {
    const { rule } = fault;
    const isFirstNewer = rule === NEWER_RULE && !this.#problems.some((each) => each.rule === rule);
    if (this.#problems.length >= PROBLEMS_MAX && !isFirstNewer) return;
    this.#problems.push({ segment: segmentName(segment), line, ...fault });
  }

  #note(segment: number, line: number, fault: Fault): void {
    this.#notices.push({ segment: segmentName(segment), line, ...fault });
  }

  report(segments: number): VerifyReport {
    return {
      ok: this.#problems.length === 0,
      segments,
      records: this.#records,
      problems: this.#problems,
      notices: this.#notices,
    };
  }
}
