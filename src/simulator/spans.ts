import { RowMarks } from './row-marks.ts';
import type { Block, BlockCache, Piece, SimulatedRow } from './rows.ts';
import { rowsOf } from './rows.ts';

/** A time in which the list contained a row. A row that was deleted and restored has several. */
export interface RowSpan extends SimulatedRow {
  /** `Date.now()` when it appeared. */
  from: number;
  /** `Date.now()` when it was deleted; `undefined` if the list contains it now. */
  to: number | undefined;
  /** It was deleted by `deleteHead`. */
  isRetention: boolean;
  /** It was replaced by `rewrite`. */
  isRewritten: boolean;
}

type Span = Pick<RowSpan, 'from' | 'to' | 'isRetention' | 'isRewritten'>;

/** How rows were removed. */
export type Removal = Partial<Pick<RowSpan, 'isRetention' | 'isRewritten'>>;

/** Records when each row of a list was in it. Costs time in proportion to the list at each change. */
export class SpanLog {
  #spans = new Map<Block, Span[][]>();

  constructor(private readonly cache: BlockCache) {}

  record(before: readonly Piece[], after: readonly Piece[], how: Removal): void {
    const at = Date.now();
    const [had, has] = [new RowMarks(before), new RowMarks(after)];
    for (const { block, from, to } of before) {
      for (let row = from; row < to; row++) {
        const span = has.has(block, row) ? undefined : this.#of(block, row).at(-1);
        if (span) Object.assign(span, { to: at, ...how });
      }
    }
    for (const { block, from, to } of after) {
      for (let row = from; row < to; row++) {
        if (had.has(block, row)) continue;
        this.#of(block, row).push({ from: at, to: undefined, isRetention: false, isRewritten: false });
      }
    }
  }

  *spans(): Generator<RowSpan> {
    for (const [block, spans] of this.#spans) {
      let row = 0;
      for (const { bytes, ticks, isReadable } of rowsOf(this.cache, block, 0, block.length, 'en')) {
        const text = bytes.toString('utf8', 0, bytes.length - 1);
        for (const span of spans[row] ?? []) yield { ticks: isReadable ? ticks : undefined, text, ...span };
        row++;
      }
    }
  }

  #of(block: Block, row: number): Span[] {
    const spans = this.#spans.get(block) ?? [];
    this.#spans.set(block, spans);
    spans[row] ??= [];
    return spans[row];
  }
}
