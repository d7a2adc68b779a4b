/** Tables of aligned columns that fit the terminal. */
import stringWidth from 'string-width';
import { type Colours, cut, pad, widthOf } from './screen.ts';

export interface Column {
  title: string;
  isNumber?: boolean;
  /** Priority when the table is too wide: the lowest is left out first. Without it the column is always shown. */
  keep?: number;
  /** If the table is still too wide, the texts of this column are cut. They must be plain text. */
  mayCut?: boolean;
}

const GAP = 2;
const INDENT = 2;
const MIN_CUT = 8;
/** Columns are left out before texts are cut to less than this. */
const MIN_READABLE = 18;

interface Laid extends Column {
  cells: string[];
  width: number;
}

/** Returns a heading and one line per row, without borders. Columns of zeros or empty cells are left out first. */
export function layTable(
  columns: readonly Column[],
  rows: readonly (readonly string[])[],
  colours: Colours,
  width = widthOf(),
): string[] {
  const laid = columns.map((column, i) => {
    const cells = rows.map((row) => row[i] ?? '');
    return {
      ...column,
      cells,
      width: Math.max(...[column.title, ...cells].map((text) => stringWidth(text))),
    };
  });
  const shown = cutToFit(leaveOut(laid, width), width);
  const line = (texts: readonly string[]) =>
    (
      ' '.repeat(INDENT) + shown.map((column, i) => pad(texts[i]!, column.width, column.isNumber)).join('  ')
    ).trimEnd();
  const head = line(shown.map(({ title }) => (title === '' ? '' : colours.dim(title))));
  return [head, ...rows.map((_, i) => line(shown.map(({ cells }) => cells[i]!)))];
}

function leaveOut(columns: readonly Laid[], width: number): Laid[] {
  const shown = [...columns];
  while (widthOfAll(shown.map(cutToReadable)) > width) {
    const [next] = shown
      .filter(({ keep }) => keep !== undefined)
      .sort((a, b) => priorityOf(a) - priorityOf(b));
    if (!next) break;
    shown.splice(shown.indexOf(next), 1);
  }
  return shown;
}

function priorityOf({ keep, cells }: Laid): number {
  return cells.every((cell) => cell === '0' || cell === '') ? keep! - 1_000 : keep!;
}

function cutToReadable(column: Laid): Laid {
  return column.mayCut ? { ...column, width: Math.min(MIN_READABLE, column.width) } : column;
}

/** Cuts the widest column first. */
function cutToFit(columns: readonly Laid[], width: number): Laid[] {
  const shown = [...columns];
  for (const column of columns.filter(({ mayCut }) => mayCut).sort((a, b) => b.width - a.width)) {
    const to = Math.max(MIN_CUT, column.width - (widthOfAll(shown) - width));
    if (to >= column.width) continue;
    const [title, ...cells] = [column.title, ...column.cells].map((text) => cut(text, to));
    shown[shown.indexOf(column)] = { ...column, width: to, title: title!, cells };
  }
  return shown;
}

function widthOfAll(columns: readonly Laid[]): number {
  return INDENT + columns.reduce((sum, { width }) => sum + width + GAP, -GAP);
}
