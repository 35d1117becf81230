/** What is fuzzed: one parser, or one edge, and the laws that hold of it whatever the bytes. */

export interface FuzzTarget {
  /** Where the search begins: inputs as they come in practice. */
  readonly seeds: () => readonly string[] | Promise<readonly string[]>;
  /** Words that chance would not find. */
  readonly words: readonly string[];
  /** Throws where a law is broken; a refusal that the contract knows is none. */
  readonly run: (input: Buffer) => void | Promise<void>;
}

/** A law that does not hold of this input. */
export class BrokenLaw extends Error {
  override readonly name = 'BrokenLaw';
}

export function insist(holds: boolean, law: string): asserts holds {
  if (!holds) throw new BrokenLaw(law);
}
