/** Plain tables: columns as wide as they must be, cut or left out where the terminal ends. */

export interface Column {
  readonly title: string;
  /** Cut first where there is too little room; others keep their width. */
  readonly isFlexible?: boolean;
  /** Left out where it does not fit even so, the smallest first; others stay whatever happens. */
  readonly leftOut?: number;
}

const GAP = 2;
/** A flexible column is not cut below this: what is left would say nothing. */
const FLEXIBLE_MIN = 8;

/** Lines without trailing blanks; `paint` may colour a cell and must not change its width. */
export function formatTable(
  columns: readonly Column[],
  rows: readonly (readonly string[])[],
  {
    width = Number.POSITIVE_INFINITY,
    paint = (text) => text,
  }: {
    readonly width?: number;
    readonly paint?: (text: string, column: number, row: readonly string[] | null) => string;
  } = {},
): string[] {
  const needed = columns.map((column, i) =>
    rows.reduce((most, row) => Math.max(most, row[i]?.length ?? 0), column.title.length),
  );
  const shown = choose(needed, columns, width);
  const widths = fit(needed, columns, { shown, width });
  const line = (cells: readonly string[], row: readonly string[] | null): string =>
    shown
      .map((i) => {
        const text = cut(cells[i] ?? '', widths[i] ?? 0);
        const blanks = ' '.repeat((widths[i] ?? 0) - text.length);
        return paint(text, i, row) + blanks;
      })
      .join(' '.repeat(GAP))
      .trimEnd();
  return [
    line(
      columns.map((column) => column.title),
      null,
    ),
    ...rows.map((row) => line(row, row)),
  ];
}

/** The columns that there is room for, as indexes. */
function choose(needed: readonly number[], columns: readonly Column[], width: number): number[] {
  const least = needed.map((each, i) =>
    columns[i]?.isFlexible === true ? Math.min(each, FLEXIBLE_MIN) : each,
  );
  const order = columns
    .flatMap(({ leftOut }, i) => (leftOut === undefined ? [] : [{ leftOut, i }]))
    .sort((a, b) => a.leftOut - b.leftOut);
  const shown = new Set(columns.keys());
  for (const { i } of order) {
    if (totalWidth([...shown].map((each) => least[each] ?? 0)) <= width) break;
    shown.delete(i);
  }
  return [...shown];
}

function totalWidth(widths: readonly number[]): number {
  return widths.reduce((sum, each) => sum + each, 0) + GAP * (widths.length - 1);
}

/** Takes what is too much from the widest flexible columns. */
function fit(
  needed: readonly number[],
  columns: readonly Column[],
  { shown, width }: { readonly shown: readonly number[]; readonly width: number },
): readonly number[] {
  const widths = [...needed];
  let excess = totalWidth(shown.map((i) => widths[i] ?? 0)) - width;
  while (excess > 0) {
    let widest = -1;
    for (const i of shown) {
      const isCandidate = columns[i]?.isFlexible === true && (widths[i] ?? 0) > FLEXIBLE_MIN;
      if (isCandidate && (widths[i] ?? 0) > (widths[widest] ?? 0)) widest = i;
    }
    if (widest < 0) break;
    widths[widest] = (widths[widest] ?? 0) - 1;
    excess -= 1;
  }
  return widths;
}

/** At most `width` characters, the last one an ellipsis where some are missing. */
export function cut(text: string, width: number): string {
  return text.length <= width ? text : `${text.slice(0, Math.max(0, width - 1))}…`;
}
