/** Plain tables: columns as wide as they must be, cut where the terminal ends. */

export interface Column {
  readonly title: string;
  /** Cut first where there is too little room; others keep their width. */
  readonly isFlexible?: boolean;
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
  const widths = columns.map((column, i) =>
    Math.max(column.title.length, ...rows.map((row) => row[i]?.length ?? 0)),
  );
  fit(widths, columns, width);
  const line = (cells: readonly string[], row: readonly string[] | null): string =>
    columns
      .map((_, i) => {
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

/** Takes what is too much from the widest flexible columns. */
function fit(widths: number[], columns: readonly Column[], width: number): void {
  let excess = widths.reduce((sum, each) => sum + each, 0) + GAP * (widths.length - 1) - width;
  while (excess > 0) {
    let widest = -1;
    for (const [i, column] of columns.entries()) {
      const isCandidate = column.isFlexible === true && (widths[i] ?? 0) > FLEXIBLE_MIN;
      if (isCandidate && (widths[i] ?? 0) > (widths[widest] ?? 0)) widest = i;
    }
    if (widest < 0) return;
    widths[widest] = (widths[widest] ?? 0) - 1;
    excess -= 1;
  }
}

/** At most `width` characters, the last one an ellipsis where some are missing. */
export function cut(text: string, width: number): string {
  return text.length <= width ? text : `${text.slice(0, Math.max(0, width - 1))}…`;
}
