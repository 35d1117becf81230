/** What the hunting process tells the one that watches it. */

export interface HunterReport {
  readonly runs: number;
  readonly corpus: number;
  readonly blocks: number;
  readonly finding: { readonly base64: string; readonly message: string } | null;
}

/** In front of the input it is at, in the file: how many runs were begun, and its length. */
export const HEAD_BYTES = 8;
