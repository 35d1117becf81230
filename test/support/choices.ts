/**
 * Runs a function once for every way its choices can fall: each `choose(n)` is answered with 0,
 * 1, … n - 1 in turn, depth first.
 */
export function* everyChoice(): Generator<(count: number) => number> {
  // The choices of the run before: which was taken, of how many.
  let path: { taken: number; count: number }[] = [];
  for (;;) {
    let depth = 0;
    yield (count) => {
      const step = path[depth] ?? { taken: 0, count };
      path[depth] = step;
      depth += 1;
      return step.taken;
    };
    path = path.slice(0, depth);
    while (path.length > 0 && isLast(path.at(-1))) path.pop();
    const last = path.at(-1);
    if (last === undefined) return;
    last.taken += 1;
  }
}

function isLast(step: { readonly taken: number; readonly count: number } | undefined): boolean {
  return step === undefined || step.taken >= step.count - 1;
}
