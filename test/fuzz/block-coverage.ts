/**
 * Which blocks of the program a run went through, and roughly how often, from V8's own counters:
 * no instrumented build, no native code. V8 tells only of functions called since it was last
 * asked, so asking after every run is affordable. It counts the blocks of what is compiled after it
 * has begun; of code that ran before, only the functions.
 */
import { type Profiler, Session } from 'node:inspector';

export class BlockCoverage implements Disposable {
  readonly #session = new Session();
  /** Each block with each order of magnitude of its count that was seen. */
  readonly #seen = new Set<string>();

  readonly #watched: RegExp;

  /** `watched`: the URLs of the scripts that count. */
  constructor(watched: RegExp) {
    this.#watched = watched;
    this.#session.connect();
    this.#session.post('Profiler.enable');
    this.#session.post('Profiler.startPreciseCoverage', { callCount: true, detailed: true });
  }

  /** What was seen so far, counted. */
  get size(): number {
    return this.#seen.size;
  }

  /** How much of what ran since the last call had not been seen before. */
  take(): number {
    const before = this.#seen.size;
    for (const { url, functions } of this.#ask()) {
      if (!this.#watched.test(url)) continue;
      for (const { ranges } of functions) {
        const [whole] = ranges;
        for (const { startOffset, endOffset, count } of ranges) {
          const often = Math.ceil(Math.log2(count + 1));
          this.#seen.add(`${url} ${whole?.startOffset} ${startOffset}-${endOffset} ${often}`);
        }
      }
    }
    return this.#seen.size - before;
  }

  #ask(): readonly Profiler.ScriptCoverage[] {
    let found: readonly Profiler.ScriptCoverage[] = [];
    // Within one thread the answer is there when `post` returns.
    this.#session.post('Profiler.takePreciseCoverage', (error, { result }) => {
      if (error !== null) throw error;
      found = result;
    });
    return found;
  }

  [Symbol.dispose](): void {
    this.#session.disconnect();
  }
}
