import { MIN_TICKS } from '../core/ticks.ts';
import { createFixedBlock, type RowInput } from './fixed.ts';
import { ListMemory } from './memory.ts';
import type { Moves } from './misbehaviour.ts';
import { drawMoves } from './misbehaviour.ts';
import { below, createRandom, type Random } from './random.ts';
import { RowMarks } from './row-marks.ts';
import { BlockCache, type Piece, RowList, rowsOf, type SimulatedRow } from './rows.ts';
import { type Removal, type RowSpan, SpanLog } from './spans.ts';
import { EventStream, formatCreatedOn, type StreamOptions } from './stream.ts';

interface HistoryOptions extends StreamOptions {
  /** Rows of the stream in the list at the start. */
  events: number;
  /** Size of the cache of rendered rows. */
  cacheBytes: number;
  /** Record when each row was in the list; see `spans`. */
  recordSpans: boolean;
}

/** Another history of the organization. What is omitted continues as before. */
export interface NewHistory {
  seed?: number;
  /** Rows at once; default 0. */
  events?: number;
  /** Time of the first row; default: where the typical rows have arrived. */
  startAt?: Date;
  spacingMs?: number;
}

/** A range of time: typical rows get times in it, `from` included. */
export interface TimeRange {
  from: Date;
  to: Date;
}

/** A state of the list and of the stream, to which `restore` returns. */
export interface Snapshot {
  readonly list: RowList;
  readonly stream: EventStream;
  readonly streamed: number;
  readonly options: StreamOptions;
}

/** The organization's list and its changes. */
export class History {
  readonly list: RowList;
  readonly memory = new ListMemory();
  #cache: BlockCache;
  #options: StreamOptions;
  #stream: EventStream;
  #random: Random;
  #streamed = 0;
  #removed: Piece[] = [];
  #spans: SpanLog | undefined;

  constructor(options: HistoryOptions) {
    this.#cache = new BlockCache(options.cacheBytes);
    this.list = new RowList(this.#cache);
    this.#options = options;
    this.#stream = new EventStream(options);
    this.#random = createRandom(options.seed, 7);
    this.#spans = options.recordSpans ? new SpanLog(this.#cache) : undefined;
    this.#record(() => this.#extendStream(options.events));
  }

  /** Time of the next typical row in milliseconds since 1970. */
  get newestMs(): number {
    return this.#stream.timeOf(this.#streamed);
  }

  append(rows: number | readonly RowInput[]): void {
    if (isNothing(rows)) return;
    this.#change(() => {
      if (typeof rows === 'number') this.#extendStream(rows);
      else this.#insert(rows, this.list.length > 0 ? this.list.ticksAt(this.list.length - 1) : MIN_TICKS);
    });
  }

  /** Inserts rows by their `createdOn`. */
  insert(rows: readonly RowInput[]): void {
    if (isNothing(rows)) return;
    this.#change(() => this.#insert(rows, MIN_TICKS));
  }

  /** Inserts typical rows with times of `range`. */
  insertDated(count: number, { from, to }: TimeRange): void {
    if (isNothing(count)) return;
    this.#change(() => this.#insertDated(count, from.getTime(), to.getTime() - from.getTime()));
  }

  delete(index: number, count: number): void {
    if (count <= 0 || index >= this.list.length) return;
    this.#change(() => this.#remove(index, count));
  }

  /** Deletes the oldest rows but the first `spare` ones. */
  deleteHead(count: number, spare: number): void {
    if (count <= 0 || spare >= this.list.length) return;
    this.#change(() => this.#remove(spare, count), { isRetention: true });
  }

  /** Replaces rows by others, as one change. The rows must have readable times. */
  rewrite(index: number, count: number, write: (text: string) => RowInput): void {
    const rows = [...this.list.rows(index, Math.min(index + count, this.list.length), 'en')].map(
      toSimulatedRow,
    );
    if (rows.length === 0) return;
    const replace = () => {
      this.#remove(index, rows.length);
      this.#insert(
        rows.map(({ text }) => write(text)),
        MIN_TICKS,
      );
    };
    this.#change(replace, { isRewritten: true });
  }

  /** Deletes one of two neighbours with equal text, drawn from all such pairs. Reads the whole list. */
  deleteTwin(): SimulatedRow | undefined {
    const found: number[] = [];
    let before: Buffer | undefined;
    let index = 0;
    for (const { bytes } of this.list.rows(0, this.list.length, 'en')) {
      if (before?.equals(bytes)) found.push(index);
      before = bytes;
      index++;
    }
    if (found.length === 0) return undefined;
    const twin = found[below(this.#random, found.length)]!;
    const [row] = [...this.list.rows(twin, twin + 1, 'en')];
    const deleted = toSimulatedRow(row!);
    this.delete(twin, 1);
    return deleted;
  }

  /** Empties the list; then another history begins. */
  reset(next: NewHistory): void {
    this.#change(() => {
      this.#removed.push(...this.list.assign(new RowList(this.#cache)));
      this.#begin(next);
    });
  }

  snapshot(): Snapshot {
    return {
      list: this.list.copy(),
      stream: this.#stream,
      streamed: this.#streamed,
      options: this.#options,
    };
  }

  /** Returns to the snapshot. Without `next`, the same typical rows follow again. */
  restore(snapshot: Snapshot, next?: NewHistory): void {
    this.#change(() => {
      this.#removed.push(...this.list.assign(snapshot.list));
      this.#stream = snapshot.stream;
      this.#streamed = snapshot.streamed;
      this.#options = snapshot.options;
      if (next) this.#begin(next);
    });
  }

  /** Applies one round of random changes. They are one change for `memory`. */
  move(moves: Moves, lateWithinMs: number): void {
    const { append, insertLate, deleteHead, deleteMiddle } = drawMoves(this.#random, moves);
    if (append + insertLate + deleteHead + deleteMiddle === 0) return;
    this.memory.remember(this.list);
    this.#record(() => {
      if (append > 0) this.#extendStream(append);
      if (insertLate > 0) this.#insertDated(insertLate, this.newestMs - lateWithinMs, lateWithinMs);
    });
    this.#record(() => this.#remove(moves.spareHead ?? 0, deleteHead), { isRetention: true });
    this.#record(() => {
      for (let i = 0; i < deleteMiddle && this.list.length > 0; i++)
        this.#remove(below(this.#random, this.list.length), 1);
    });
  }

  *rows(language: string): Generator<SimulatedRow> {
    for (const row of this.list.rows(0, this.list.length, language)) yield toSimulatedRow(row);
  }

  /** The deleted rows that are not in the list again, each once, in the order of deletion. */
  *removedRows(language: string): Generator<SimulatedRow> {
    const seen = new RowMarks(this.list.pieces);
    for (const { block, from, to } of this.#removed) {
      let index = from;
      for (const row of rowsOf(this.#cache, block, from, to, language)) {
        if (seen.addRow(block, index++)) yield toSimulatedRow(row);
      }
    }
  }

  /** When each row was in the list, if `recordSpans`. Rows that were there at the same time are in no order. */
  *spans(): Generator<RowSpan> {
    yield* this.#spans?.spans() ?? [];
  }

  #change(work: () => void, how?: Removal): void {
    this.memory.remember(this.list);
    this.#record(work, how);
  }

  #record(work: () => void, how: Removal = {}): void {
    const before = this.#spans && [...this.list.pieces];
    work();
    if (before) this.#spans?.record(before, this.list.pieces, how);
  }

  #remove(index: number, count: number): void {
    this.#removed.push(...this.list.remove(index, count));
  }

  #begin({ events = 0, ...changes }: NewHistory): void {
    this.#options = { ...this.#options, startAt: new Date(this.newestMs), ...changes };
    this.#stream = new EventStream(this.#options);
    this.#streamed = 0;
    this.#extendStream(events);
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

  #insertDated(count: number, fromMs: number, widthMs: number): void {
    const made = Array.from({ length: count }, () => {
      const at = fromMs + widthMs - 1 - Math.floor(this.#random() * widthMs);
      return this.#stream.rowAt(this.#random, formatCreatedOn(at, below(this.#random, 10_000)));
    });
    this.#insert(made, MIN_TICKS);
  }

  #insert(rows: readonly RowInput[], fallbackTicks: bigint): void {
    const block = createFixedBlock(rows, fallbackTicks);
    this.list.insertSorted({ block, from: 0, to: block.length });
  }
}

/** Nothing happens, and `memory` has no state of it. */
function isNothing(rows: number | readonly RowInput[]): boolean {
  return typeof rows === 'number' ? rows <= 0 : rows.length === 0;
}

function toSimulatedRow(row: { bytes: Buffer; ticks: bigint; isReadable: boolean }): SimulatedRow {
  return {
    ticks: row.isReadable ? row.ticks : undefined,
    text: row.bytes.toString('utf8', 0, row.bytes.length - 1),
  };
}
