import { MIN_TICKS } from '../core/ticks.ts';
import { createFixedBlock, type RowInput } from './fixed.ts';
import type { Moves } from './misbehaviour.ts';
import { drawMoves } from './misbehaviour.ts';
import { below, createRandom, type Random } from './random.ts';
import { BlockCache, type Piece, RowList, rowsOf, type SimulatedRow } from './rows.ts';
import { EventStream, formatCreatedOn, type StreamOptions } from './stream.ts';

interface HistoryOptions extends StreamOptions {
  /** Rows of the stream in the list at the start. */
  events: number;
  /** Size of the cache of rendered rows. */
  cacheBytes: number;
}

/** The organization's list and its changes. */
export class History {
  readonly list: RowList;
  #cache: BlockCache;
  #stream: EventStream;
  #random: Random;
  #streamed = 0;
  #removed: Piece[] = [];

  constructor(options: HistoryOptions) {
    this.#cache = new BlockCache(options.cacheBytes);
    this.list = new RowList(this.#cache);
    this.#stream = new EventStream(options);
    this.#random = createRandom(options.seed, 7);
    this.append(options.events);
  }

  append(rows: number | readonly RowInput[]): void {
    if (typeof rows === 'number') this.#extendStream(rows);
    else this.#insert(rows, this.list.length > 0 ? this.list.ticksAt(this.list.length - 1) : MIN_TICKS);
  }

  insertLate(rows: number | readonly RowInput[], withinMs: number): void {
    if (typeof rows !== 'number') {
      this.#insert(rows, MIN_TICKS);
      return;
    }
    const newest = this.#stream.timeOf(this.#streamed);
    const made = Array.from({ length: rows }, () => {
      const at = newest - 1 - Math.floor(this.#random() * withinMs);
      return this.#stream.rowAt(this.#random, formatCreatedOn(at, below(this.#random, 10_000)));
    });
    this.#insert(made, MIN_TICKS);
  }

  delete(index: number, count: number): void {
    this.#removed.push(...this.list.remove(index, count));
  }

  /** Applies one round of random changes. */
  move(moves: Moves, lateWithinMs: number): void {
    const { append, insertLate, deleteHead, deleteMiddle } = drawMoves(this.#random, moves);
    if (append > 0) this.append(append);
    if (insertLate > 0) this.insertLate(insertLate, lateWithinMs);
    if (deleteHead > 0) this.delete(0, deleteHead);
    for (let i = 0; i < deleteMiddle && this.list.length > 0; i++)
      this.delete(below(this.#random, this.list.length), 1);
  }

  *rows(language: string): Generator<SimulatedRow> {
    for (const row of this.list.rows(0, this.list.length, language)) yield toSimulatedRow(row);
  }

  *removedRows(language: string): Generator<SimulatedRow> {
    for (const { block, from, to } of this.#removed) {
      for (const row of rowsOf(this.#cache, block, from, to, language)) yield toSimulatedRow(row);
    }
  }

  #extendStream(count: number): void {
    const to = this.#streamed + count;
    for (const piece of this.#stream.pieces(this.#streamed, to)) {
      const isNewest =
        this.list.length === 0 || this.#stream.isInBlock(this.list.lastBlock, this.#streamed - 1);
      if (isNewest) this.list.push(piece);
      else this.list.insertSorted(piece);
      this.#streamed += piece.to - piece.from;
    }
  }

  #insert(rows: readonly RowInput[], fallbackTicks: bigint): void {
    if (rows.length === 0) return;
    const block = createFixedBlock(rows, fallbackTicks);
    this.list.insertSorted({ block, from: 0, to: block.length });
  }
}

function toSimulatedRow(row: { bytes: Buffer; ticks: bigint; isReadable: boolean }): SimulatedRow {
  return {
    ticks: row.isReadable ? row.ticks : undefined,
    text: row.bytes.toString('utf8', 0, row.bytes.length - 1),
  };
}
