/** Plain tables: columns as wide as they must be, cut or left out where the terminal ends. */

export interface Column {
  readonly title: string;
  /** Cut first where there is too little room; others keep their width. */
  readonly isFlexible?: boolean;
  /** A flexible one is not cut below this; others are left out before. */
  readonly least?: number;
  /**
   * Left out where it does not fit even so, empty ones first, then the smallest; others stay
   * whatever happens.
   */
  readonly leftOut?: number;
}

const GAP = 2;
/** What is left of a flexible column below this says nothing. */
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
  const least = needed.map((each, i) => Math.min(each, leastOf(columns[i], each)));
  const isEmpty = columns.map((_, i) => rows.every((row) => (row[i] ?? '') === ''));
  const shown = choose(least, columns, { isEmpty, width });
  const widths = fit(needed, least, { shown, width });
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

function leastOf(column: Column | undefined, needed: number): number {
  return column?.isFlexible === true ? (column.least ?? FLEXIBLE_MIN) : needed;
}

/** The columns that there is room for, as indexes. */
function choose(
  least: readonly number[],
  columns: readonly Column[],
  { isEmpty, width }: { readonly isEmpty: readonly boolean[]; readonly width: number },
): number[] {
  const order = columns
    .flatMap(({ leftOut }, i) => {
      if (leftOut === undefined) return [];
      return [{ rank: isEmpty[i] === true ? 0 : leftOut, i }];
    })
    .sort((a, b) => a.rank - b.rank);
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

/** Takes what is too much from the widest that are above their least. */
function fit(
  needed: readonly number[],
  least: readonly number[],
  { shown, width }: { readonly shown: readonly number[]; readonly width: number },
): readonly number[] {
  const widths = [...needed];
  let excess = totalWidth(shown.map((i) => widths[i] ?? 0)) - width;
  while (excess > 0) {
    let widest = -1;
    for (const i of shown) {
      const isCandidate = (widths[i] ?? 0) > (least[i] ?? 0);
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
