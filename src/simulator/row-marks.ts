import type { Block, Piece } from './rows.ts';

/** A set of rows, each a block and an index in it. */
export class RowMarks {
  #marks = new Map<Block, Uint8Array>();

  constructor(pieces: readonly Piece[]) {
    for (const { block, from, to } of pieces) this.#of(block).fill(1, from, to);
  }

  has(block: Block, index: number): boolean {
    return this.#marks.get(block)?.[index] === 1;
  }

  /** Returns whether the row is new. */
  addRow(block: Block, index: number): boolean {
    const isNew = !this.has(block, index);
    this.#of(block)[index] = 1;
    return isNew;
  }

  #of(block: Block): Uint8Array {
    const marks = this.#marks.get(block) ?? new Uint8Array(block.length);
    this.#marks.set(block, marks);
    return marks;
  }
}
