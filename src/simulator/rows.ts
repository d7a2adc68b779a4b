/**
 * The list of rows is a piece table: blocks of rows never change, and the list is a sequence of pieces of blocks. Inserting or
 * deleting rows splits a piece and copies nothing. A block is rendered on demand, and the rendered bytes are kept in a cache of
 * limited size, so that two million rows need little more memory than the objects of their blocks.
 */
export interface Block {
  readonly length: number;
  render(language: string): RenderedBlock;
}

/** Row `i` is `bytes[starts[i] .. starts[i + 1] - 1]`: each row is followed by a comma, so that a run of rows is one slice. */
export interface RenderedBlock {
  bytes: Buffer;
  starts: Uint32Array;
  /** Sort keys; a row without a readable `createdOn` has the ticks of the row before it. */
  ticks: BigInt64Array;
  unreadable?: ReadonlySet<number>;
}

export interface Piece {
  block: Block;
  from: number;
  to: number;
}

/** A row as the source shows it. `ticks` is `undefined` if `createdOn` is not readable. */
export interface SimulatedRow {
  ticks: bigint | undefined;
  /** The exact JSON text. */
  text: string;
}

/** Keeps the most recently used rendered blocks. */
export class BlockCache {
  #entries = new Map<Block, Map<string, RenderedBlock>>();
  #bytes = 0;

  constructor(private readonly maxBytes: number) {}

  get(block: Block, language: string): RenderedBlock {
    const languages = this.#entries.get(block) ?? new Map<string, RenderedBlock>();
    this.#entries.delete(block);
    this.#entries.set(block, languages);
    let rendered = languages.get(language);
    if (!rendered) {
      rendered = block.render(language);
      languages.set(language, rendered);
      this.#bytes += sizeOf(rendered);
      this.#shrink(block);
    }
    return rendered;
  }

  get isFull(): boolean {
    return this.#bytes >= this.maxBytes;
  }

  #shrink(keep: Block): void {
    for (const [block, languages] of this.#entries) {
      if (this.#bytes <= this.maxBytes || block === keep) return;
      this.#entries.delete(block);
      for (const rendered of languages.values()) this.#bytes -= sizeOf(rendered);
    }
  }
}

function sizeOf({ bytes, starts, ticks }: RenderedBlock): number {
  return bytes.byteLength + starts.byteLength + ticks.byteLength;
}

/** Rows in order of `createdOn`, oldest first. Indices count from the oldest. */
export class RowList {
  #pieces: Piece[] = [];
  #offsets: number[] = [];
  #length = 0;

  constructor(private readonly cache: BlockCache) {}

  get length(): number {
    return this.#length;
  }

  get lastBlock(): Block | undefined {
    return this.#pieces.at(-1)?.block;
  }

  /** Appends rows without a check: none may be older than the last row of the list. */
  push(piece: Piece): void {
    const last = this.#pieces.at(-1);
    if (last?.block === piece.block && last.to === piece.from) {
      // A new object: copies of the list share the pieces.
      this.#pieces[this.#pieces.length - 1] = { ...last, to: piece.to };
    } else {
      this.#pieces.push({ ...piece });
      this.#offsets.push(this.#length);
    }
    this.#length += piece.to - piece.from;
  }

  /** Returns a list with the same rows that later changes of this one do not affect. Copies no row. */
  copy(): RowList {
    const copy = new RowList(this.cache);
    copy.assign(this);
    return copy;
  }

  /** Replaces the rows by those of `other`, and returns the pieces it had before. */
  assign(other: RowList): Piece[] {
    const before = this.#pieces;
    this.#pieces = [...other.#pieces];
    this.#offsets = [...other.#offsets];
    this.#length = other.#length;
    return before;
  }

  get pieces(): readonly Piece[] {
    return this.#pieces;
  }

  /** Inserts the rows of a sorted piece, each after all rows that are not newer. */
  insertSorted({ block, from, to }: Piece): void {
    const { ticks } = this.cache.get(block, 'en');
    for (let start = from; start < to; ) {
      const index = this.#upperBound(ticks[start]!);
      const next = index < this.#length ? this.ticksAt(index) : undefined;
      let end = start + 1;
      while (end < to && (next === undefined || ticks[end]! < next)) end++;
      this.#split(index, 0, [{ block, from: start, to: end }]);
      start = end;
    }
  }

  /** Removes and returns up to `count` rows. */
  remove(index: number, count: number): Piece[] {
    const from = Math.min(Math.max(index, 0), this.#length);
    return this.#split(from, Math.min(Math.max(count, 0), this.#length - from), []);
  }

  /** Renders rows, oldest first, until the cache is full, so that reading them later is only a copy. */
  prerender(language: string): void {
    for (const { block } of this.#pieces) {
      if (this.cache.isFull) return;
      this.cache.get(block, language);
    }
  }

  ticksAt(index: number): bigint {
    const number = this.#pieceAt(index);
    const { block, from } = this.#pieces[number]!;
    return this.cache.get(block, 'en').ticks[from + index - this.#offsets[number]!]!;
  }

  /** The bytes of the rows `[from, to)`, each followed by a comma, in as few slices as possible. */
  *slices(from: number, to: number, language: string): Generator<Buffer> {
    for (const { piece, first, end } of this.#overlaps(from, to)) {
      const { bytes, starts } = this.cache.get(piece.block, language);
      yield bytes.subarray(starts[first]!, starts[end]!);
    }
  }

  /** The bytes of each row in `[from, to)`, followed by a comma, and its sort key. */
  *rows(
    from: number,
    to: number,
    language: string,
  ): Generator<{ bytes: Buffer; ticks: bigint; isReadable: boolean }> {
    for (const { piece, first, end } of this.#overlaps(from, to))
      yield* rowsOf(this.cache, piece.block, first, end, language);
  }

  *#overlaps(from: number, to: number): Generator<{ piece: Piece; first: number; end: number }> {
    if (from >= to) return;
    for (let number = this.#pieceAt(from); number < this.#pieces.length; number++) {
      const piece = this.#pieces[number]!;
      const offset = this.#offsets[number]!;
      if (offset >= to) return;
      yield {
        piece,
        first: piece.from + Math.max(from - offset, 0),
        end: Math.min(piece.to, piece.from + to - offset),
      };
    }
  }

  #pieceAt(index: number): number {
    let low = 0;
    let high = this.#pieces.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.#offsets[middle]! <= index) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  #upperBound(ticks: bigint): number {
    let low = 0;
    let high = this.#length;
    if (high > 0 && this.ticksAt(high - 1) <= ticks) return high;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.ticksAt(middle) <= ticks) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  #split(index: number, count: number, added: Piece[]): Piece[] {
    const before: Piece[] = [];
    const removed: Piece[] = [];
    const after: Piece[] = [];
    this.#pieces.forEach(({ block, from, to }, number) => {
      const start = index - this.#offsets[number]! + from;
      const cuts = [
        from,
        Math.min(Math.max(start, from), to),
        Math.min(Math.max(start + count, from), to),
        to,
      ] as const;
      if (cuts[0] < cuts[1]) before.push({ block, from: cuts[0], to: cuts[1] });
      if (cuts[1] < cuts[2]) removed.push({ block, from: cuts[1], to: cuts[2] });
      if (cuts[2] < cuts[3]) after.push({ block, from: cuts[2], to: cuts[3] });
    });
    this.#pieces = [];
    this.#offsets = [];
    this.#length = 0;
    for (const piece of [...before, ...added, ...after]) this.push(piece);
    return removed;
  }
}

/** The rows `[first, end)` of one block. */
export function* rowsOf(
  cache: BlockCache,
  block: Block,
  first: number,
  end: number,
  language: string,
): Generator<{ bytes: Buffer; ticks: bigint; isReadable: boolean }> {
  const { bytes, starts, ticks, unreadable } = cache.get(block, language);
  for (let i = first; i < end; i++) {
    yield {
      bytes: bytes.subarray(starts[i]!, starts[i + 1]!),
      ticks: ticks[i]!,
      isReadable: !unreadable?.has(i),
    };
  }
}
