/** Rows in aligned columns, made to fit the terminal rather than broken by it. */
import stringWidth from 'string-width';
import { type Colours, cut, pad, widthOf } from './screen.ts';

export interface Column {
  title: string;
  isNumber?: boolean;
  /** Where the table is too wide this column is left out, the lowest first; without it, never. */
  keep?: number;
  /** Where even that is not enough, its texts are cut. They must be plain text. */
  mayCut?: boolean;
}

const GAP = 2;
const INDENT = 2;
const MIN_CUT = 8;
/** Rather than cut texts shorter than this, columns are left out. */
const ENOUGH = 18;

interface Laid extends Column {
  cells: string[];
  width: number;
}

/** A heading and one line a row, without borders. Columns that hold nothing but 0 or nothing are the first to be left out. */
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
  while (widthOfAll(shown.map(cutToEnough)) > width) {
    const [next] = shown.filter(({ keep }) => keep !== undefined).sort((a, b) => worth(a) - worth(b));
    if (!next) break;
    shown.splice(shown.indexOf(next), 1);
  }
  return shown;
}

function worth({ keep, cells }: Laid): number {
  return cells.every((cell) => cell === '0' || cell === '') ? keep! - 1_000 : keep!;
}

function cutToEnough(column: Laid): Laid {
  return column.mayCut ? { ...column, width: Math.min(ENOUGH, column.width) } : column;
}

/** The widest gives way first. */
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
