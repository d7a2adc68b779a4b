/** A source and a store in memory, for properties: the list changes between any two requests. */

import type { CoveredRange } from '../../../src/core/coverage.ts';
import type { AuditEvent, SourceRow } from '../../../src/core/event.ts';
import type { Page } from '../../../src/core/offset-list/page.ts';
import { MAX_PAGE_BYTES, MIN_ROWS } from '../../../src/core/offset-list/page-size.ts';
import { type ChunkEvidence, createOffsetListReader } from '../../../src/core/offset-list/reader.ts';
import { placeOfTicks } from '../../../src/core/place.ts';
import type { Json, Source } from '../../../src/core/source.ts';
import type { Commit, CommitResult, RunSession } from '../../../src/core/store.ts';
import { commitResultOf } from '../../support/batch.ts';

/** One millisecond: rows closer together may be in any order. */
export const STEP = 10_000n;

/** The time of a row: `steps` milliseconds after 1970. */
export function at(steps: number): bigint {
  return BigInt(steps) * STEP;
}

/** The clock before the first request, in milliseconds: later than every row. */
export const CLOCK_MS = 1_000_000;

/** A row and the rows without readable `createdOn` that follow it; they move together. */
interface Block {
  ticks: bigint;
  event: AuditEvent;
  content: string;
  unreadable: string[];
}

export type Change =
  | { kind: 'append'; gap: number; content: number; ties: number }
  | { kind: 'late'; at: number; content: number }
  | { kind: 'deleteHead'; count: number }
  | { kind: 'delete'; at: number; count: number }
  | { kind: 'cap'; cap: number }
  | { kind: 'none' };

export interface ModelOptions {
  /** Distance of each row to the one before, in steps; 0 makes a tie. */
  gaps: number[];
  /** Ticks of a step; a millisecond unless given. Shorter steps put rows of several times into one tie group. */
  step?: bigint;
  contents: number[];
  /** A row without readable createdOn follows these rows. */
  unreadableAfter: number[];
  history: Change[];
  isShuffling: boolean;
  cap: number;
  /** No tie group grows beyond this. */
  maxTies: number;
  seed: number;
  /** Sizes of rows in bytes, by their time. The source cuts a response as `fetchPage` of UiPath does. */
  sizes?: number[];
}

export class ModelSource implements Source {
  private readonly reader = createOffsetListReader({
    fetchPage: (request) => this.fetchPage(request),
    orderAdvice: '',
  });
  readonly read: Source['read'] = (start, options) => this.readNoting(start, options);
  readonly prover = this.reader.prover;
  private blocks: Block[] = [];
  private readonly history: Change[];
  private readonly random: () => number;
  private readonly maxTies: number;
  private readonly isShuffling: boolean;
  private readonly step: bigint;
  private readonly sizes: number[] | undefined;
  private unreadableCount = 0;
  private listed: SourceRow[] | undefined;
  cap: number;
  requests = 0;
  /** Rows that were visible at every moment since `watch`. */
  private lasting = new Map<string, number>();
  private readonly existed = new Map<string, number>();
  /** Rows that a response of a read has shown, each as often as in the one that showed it most often. */
  readonly shown = new Map<string, number>();

  constructor(options: ModelOptions) {
    this.history = [...options.history];
    this.cap = options.cap;
    this.maxTies = options.maxTies;
    this.isShuffling = options.isShuffling;
    this.random = mulberry(options.seed);
    this.step = options.step ?? STEP;
    this.sizes = options.sizes;
    let ticks = at(1000);
    options.gaps.forEach((gap, i) => {
      ticks += BigInt(gap) * this.step;
      this.insert(ticks, options.contents[i % options.contents.length] ?? 0);
      if (options.unreadableAfter.includes(i)) this.addUnreadable();
    });
    this.watch();
  }

  /** From now on, `lastingRows` counts anew. */
  watch(): void {
    this.lasting = this.counts();
    this.observe();
  }

  /** Rows visible all the time since `watch`, at or after `from`, as text → how often. */
  lastingRows(from: bigint): Map<string, number> {
    return new Map([...this.lasting].filter(([key]) => placeOf(key) >= from));
  }

  private async *readNoting(...options: Parameters<Source['read']>): ReturnType<Source['read']> {
    for await (const chunk of this.reader.read(...options)) {
      const { page } = chunk.evidence as ChunkEvidence;
      const counts = new Map<string, number>();
      for (const row of page.rows) {
        const key = row.event ? keyOf(row.ticks!, row.event.auditLogDetails!) : keyOf(0n, row.rejected.text);
        counts.set(key, (counts.get(key) ?? 0) + 1);
      }
      for (const [key, count] of counts) this.shown.set(key, Math.max(count, this.shown.get(key) ?? 0));
      yield chunk;
    }
  }

  /** How many rows that are equal to this one the list has ever contained, deleted ones included. */
  everExisted(key: string): number {
    return this.existed.get(key) ?? 0;
  }

  async fetchPage(request: { skip: number; top: number }): Promise<Page> {
    this.requests += 1;
    if (this.requests > 5000) throw new Error('the reader does not stop');
    const change = this.history.shift();
    if (change) this.apply(change);
    if (change || this.isShuffling) this.listed = undefined;
    this.listed ??= this.list();
    const { rows, bytes, limit } = this.cut(this.listed, request);
    return {
      ...request,
      ...(this.sizes && { bytes, limit }),
      rows,
      totalCount: this.listed.length,
      requestedAt: new Date(CLOCK_MS + this.requests),
      sourceTime: undefined,
    };
  }

  /** Half the rows, until the response is small enough. */
  private cut(listed: SourceRow[], { skip, top }: { skip: number; top: number }) {
    for (let limit = top; ; limit = Math.max(MIN_ROWS, limit >> 1)) {
      const rows = listed.slice(skip, skip + Math.min(limit, this.cap));
      const bytes = rows.reduce((sum, { ticks = 0n }) => sum + this.sizeOf(ticks), 0);
      if (bytes <= MAX_PAGE_BYTES || limit <= MIN_ROWS)
        return { rows, bytes, limit: limit < top ? limit : undefined };
    }
  }

  private sizeOf(ticks: bigint): number {
    const sizes = this.sizes ?? [];
    return sizes[Number(placeOfTicks(ticks) / STEP) % sizes.length] ?? 0;
  }

  private apply(change: Change): void {
    const newest = this.blocks.at(-1)?.ticks ?? at(1000);
    if (change.kind === 'append') {
      for (let i = 0; i <= change.ties; i++)
        this.insert(newest + BigInt(change.gap) * this.step, change.content + (i % 2));
    } else if (change.kind === 'late') {
      const near = this.blocks[Math.floor(change.at * this.blocks.length)];
      if (near) this.insert(near.ticks + this.step, change.content);
    } else if (change.kind === 'deleteHead') this.blocks.splice(0, change.count);
    else if (change.kind === 'delete')
      this.blocks.splice(Math.floor(change.at * this.blocks.length), change.count);
    else if (change.kind === 'cap') this.cap = change.cap;
    this.observe();
  }

  private insert(ticks: bigint, content: number): void {
    let index = this.blocks.length;
    while (index > 0 && this.blocks[index - 1]!.ticks > ticks) index--;
    let ties = 0;
    const place = placeOfTicks(ticks);
    const isTie = (block: Block | undefined) => block !== undefined && placeOfTicks(block.ticks) === place;
    for (let i = index - 1; isTie(this.blocks[i]); i--) ties++;
    for (let i = index; isTie(this.blocks[i]); i++) ties++;
    if (ties >= this.maxTies) return;
    const block = { ticks, content: `c${content}` };
    this.blocks.splice(index, 0, { ...block, event: eventOf(block), unreadable: [] });
    const key = keyOf(ticks, block.content);
    this.existed.set(key, this.everExisted(key) + 1);
  }

  private addUnreadable(): void {
    this.blocks.at(-1)!.unreadable.push(`u${this.unreadableCount++}`);
  }

  private list(): SourceRow[] {
    const order = this.blocks.map((block) => ({
      block,
      place: Number(placeOfTicks(block.ticks)),
      luck: this.isShuffling ? this.random() : 0,
    }));
    order.sort((a, b) => a.place - b.place || a.luck - b.luck);
    return order.flatMap(({ block }) => [
      { ticks: block.ticks, event: block.event },
      ...block.unreadable.map((text) => ({ ticks: undefined, rejected: { reason: 'createdOn', text } })),
    ]);
  }

  private counts(): Map<string, number> {
    const counts = new Map<string, number>();
    for (const block of this.blocks) {
      const keys = [
        keyOf(block.ticks, block.content),
        // A row without a time has the place of the row before it.
        ...block.unreadable.map((text) => keyOf(placeOfTicks(block.ticks), text)),
      ];
      for (const key of keys) counts.set(key, (counts.get(key) ?? 0) + 1);
    }
    return counts;
  }

  private observe(): void {
    const counts = this.counts();
    for (const [key, count] of this.lasting) {
      this.lasting.set(key, Math.min(count, counts.get(key) ?? 0));
    }
  }
}

/** A store that upserts by event id and fails its n-th commit when told to. */
export class ModelStore implements RunSession {
  readonly events = new Map<string, AuditEvent>();
  readonly rejected = new Set<string>();
  known: bigint | undefined;
  newest: bigint | undefined;
  resume: Json = null;
  /** What the run read in one piece each. */
  pieces: CoveredRange[] = [];
  commitsLeft = Number.POSITIVE_INFINITY;
  afterCommit: (commit: Commit) => void = () => {};

  async commit(commit: Commit): Promise<CommitResult> {
    if (this.commitsLeft-- <= 0) throw new Error('killed');
    const before = this.events.size;
    for (const { eventId, event } of [...commit.events, ...commit.others.events]) {
      if (!this.events.has(eventId)) this.events.set(eventId, event);
    }
    // A page that is not read for its frontier may show later events.
    for (const { event } of commit.events) {
      const isRead = event.createdOnTicks < commit.frontier;
      if (isRead && (this.newest === undefined || event.createdOnTicks > this.newest))
        this.newest = event.createdOnTicks;
    }
    for (const { text } of [...commit.rejected, ...commit.others.rejected]) this.rejected.add(text);
    if (commit.covered?.from === this.pieces.at(-1)?.from) this.pieces.pop();
    if (commit.covered) this.pieces.push(commit.covered);
    this.resume = commit.resume;
    const inserted = this.events.size - before;
    this.afterCommit(commit);
    return commitResultOf({ inserted, unchanged: commit.events.length - inserted });
  }

  /** What lies between the pieces. */
  get gaps(): { from: bigint; to: bigint }[] {
    return this.pieces.slice(1).flatMap(({ from }, i) => {
      const before = this.pieces[i]!;
      return from > before.to ? [{ from: before.to, to: from }] : [];
    });
  }

  /** What is stored, as text → how often. */
  stored(): Map<string, number> {
    const counts = new Map<string, number>();
    for (const event of this.events.values()) {
      const key = keyOf(event.createdOnTicks, event.auditLogDetails!);
      counts.set(key, (counts.get(key) ?? 0) + 1);
    }
    return counts;
  }

  /** `stored` saves counting again if many keys are counted. */
  has(key: string, count: number, stored = this.stored()): boolean {
    const text = key.slice(key.indexOf(' ') + 1);
    return text.startsWith('u') ? this.rejected.has(text) : (stored.get(key) ?? 0) >= count;
  }
}

function keyOf(ticks: bigint, text: string): string {
  return `${ticks} ${text}`;
}

export function placeOf(key: string): bigint {
  return BigInt(key.slice(0, key.indexOf(' ')));
}

function eventOf(block: Pick<Block, 'ticks' | 'content'>): AuditEvent {
  return {
    createdOnTicks: block.ticks,
    createdOnRaw: String(block.ticks),
    category: null,
    action: null,
    source: null,
    userName: null,
    email: null,
    message: null,
    detailsVersion: null,
    auditLogDetails: block.content,
    extra: null,
    raw: null,
  };
}

function mulberry(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}
