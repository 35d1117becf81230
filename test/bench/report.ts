/** The one table of all benchmarks, a line each: a figure, its goal, and whether it is met. */

export interface Row {
  readonly name: string;
  readonly figure: number;
  /** One of them, or neither: then it is only shown. */
  readonly atMost?: number;
  readonly atLeast?: number;
  /** What the figure was made of. */
  readonly detail: string;
}

/** Prints the row; a goal that is missed makes the process end with 1. */
export function report({ name, figure, atMost, atLeast, detail }: Row): void {
  const isMet =
    figure <= (atMost ?? Number.POSITIVE_INFINITY) &&
    figure >= (atLeast ?? Number.NEGATIVE_INFINITY);
  if (!isMet) process.exitCode = 1;
  const [sign, goal] = atMost === undefined ? ['≥', atLeast] : ['≤', atMost];
  const mark = goal === undefined ? '    ' : isMet ? 'ok  ' : 'MISS';
  const words = goal === undefined ? ''.padEnd(13) : `  goal ${sign} ${String(goal).padEnd(4)}`;
  console.log(`${mark} ${name.padEnd(46)} ${figure.toFixed(2).padStart(8)}${words}  ${detail}`);
}

export function median(numbers: readonly number[]): number {
  return numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)] ?? Number.NaN;
}
