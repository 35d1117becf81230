/**
 * The search itself: run an input, keep it if it went where none had gone, change one that was
 * kept, again. The same seed over the same code tries the same inputs, as far as time allows.
 */
import { seededRandom } from '../support/seeded-random.ts';
import type { BlockCoverage } from './block-coverage.ts';
import { mutate } from './mutation.ts';
import { BrokenLaw, type FuzzTarget } from './target.ts';

/** CPU time of one input of 64 KiB at most; what a busy machine does besides is not counted. */
export const RUN_MAX_MS = 2_000;
/** Tries at making a finding smaller. */
const SHRINK_RUNS = 400;

export interface HuntOptions {
  readonly seed: number;
  readonly seconds: number;
  /** Ends it too, where the same seed is to be the same search. */
  readonly runs?: number;
  /** Begun before the target was loaded. */
  readonly coverage: BlockCoverage;
  /** Before it runs, so that an input that ends the process is known. */
  readonly onInput?: (input: Buffer) => void;
}

export interface Finding {
  readonly input: Buffer;
  readonly error: Error;
}

export interface HuntResult {
  readonly runs: number;
  readonly corpus: number;
  readonly blocks: number;
  readonly finding: Finding | null;
}

export async function hunt(target: FuzzTarget, options: HuntOptions): Promise<HuntResult> {
  const { coverage } = options;
  const corpus: Buffer[] = [];
  const random = seededRandom(options.seed);
  const endMs = performance.now() + options.seconds * 1_000;
  const { onInput = () => undefined, runs: runsMax = Number.POSITIVE_INFINITY } = options;
  let runs = 0;
  const meet = async (input: Buffer): Promise<Finding | null> => {
    runs += 1;
    onInput(input);
    const error = await tryInput(target, input);
    if (coverage.take() > 0) corpus.push(input);
    return error === null ? null : { input: await shrink(target, input, error, onInput), error };
  };
  const result = (finding: Finding | null): HuntResult => {
    return { runs, corpus: corpus.length, blocks: coverage.size, finding };
  };
  for (const seed of await target.seeds()) {
    const finding = await meet(Buffer.from(seed));
    if (finding !== null) return result(finding);
  }
  const isOver = (): boolean => performance.now() >= endMs || runs >= runsMax;
  while (!isOver()) {
    // The newest more often: they are the least tried.
    const index = Math.floor(corpus.length * Math.sqrt(random.next()));
    const parent = corpus[index] ?? Buffer.alloc(0);
    const finding = await meet(mutate(parent, { corpus, words: target.words, random }));
    if (finding !== null) return result(finding);
  }
  return result(null);
}

/** The law it breaks or what it throws; null where all is well. */
export async function tryInput(target: FuzzTarget, input: Buffer): Promise<Error | null> {
  const before = process.threadCpuUsage();
  try {
    await target.run(input);
  } catch (error) {
    return error instanceof Error ? error : new BrokenLaw(`thrown: ${String(error)}`);
  }
  const { user, system } = process.threadCpuUsage(before);
  const ms = (user + system) / 1_000;
  return ms <= RUN_MAX_MS ? null : new BrokenLaw(`it takes ${Math.round(ms)} ms`);
}

/** A smaller input that fails in the same way: pieces are taken out, large ones first. */
async function shrink(
  target: FuzzTarget,
  input: Buffer,
  error: Error,
  onInput: (input: Buffer) => void,
): Promise<Buffer> {
  let smallest = input;
  let runs = 0;
  for (let size = Math.ceil(input.length / 2); size >= 1; size = size === 1 ? 0 : size >> 1) {
    for (let at = 0; at < smallest.length && runs < SHRINK_RUNS; runs++) {
      const shorter = Buffer.concat([smallest.subarray(0, at), smallest.subarray(at + size)]);
      onInput(shorter);
      const other = await tryInput(target, shorter);
      if (other !== null && kindOf(other) === kindOf(error)) smallest = shorter;
      else at += size;
    }
  }
  return smallest;
}

/** The law, or the text of the error, without what is only of this input. */
function kindOf({ name, message }: Error): string {
  return `${name} ${message.replaceAll(/\d+|:.*/gs, '')}`;
}
