/** The rank rule over longer lists and random changes: what the enumeration of small lists cannot show is how many requests it takes. */
import { describe, expect, test } from '@jest/globals';
import { type ListRow, MemoryStore, type RunResult, runOnce, ticksOf } from './world.ts';

const HISTORIES = Number(process.env.PROPERTY_RUNS ?? 1500) / 50;
const BUDGET = 60;
/** Requests of a run that finds a late or a deleted row. */
const MAX_SEARCH = 21;

/** A list that changes, and a store that follows it. */
class World {
  readonly store = new MemoryStore();
  readonly deletedInside = new Set<number>();
  list: ListRow[] = [];
  /** Called before each response. */
  onRequest: () => void = () => {};
  /** Most rows of a response, where the rows are too large for more. */
  maxRows: () => number = () => Number.POSITIVE_INFINITY;
  requests = 0;
  private time = 16;
  private key = 0;
  private readonly snapshots = new Map<number, ListRow[]>();

  constructor(
    private readonly random: () => number,
    readonly pageSize: number,
    rows: number,
  ) {
    this.append(rows);
  }

  below(limit: number): number {
    return Math.floor(this.random() * limit);
  }

  append(count: number): void {
    for (let i = 0; i < count; i++) {
      if (this.random() < 0.8) this.time += 16 * (1 + this.below(6));
      this.list.push({ time: this.time, key: this.key++, isBad: false, isKept: false });
    }
  }

  /** Inserts a row between the oldest and the newest one. */
  insertLate(): ListRow {
    const [first, last] = [this.list[0]!.time, this.list.at(-1)!.time];
    const row = {
      time: first + 1 + this.below(last - first - 1),
      key: this.key++,
      isBad: false,
      isKept: false,
    };
    const at = this.list.findLastIndex(({ time }) => time <= row.time) + 1;
    this.list.splice(at, 0, row);
    return row;
  }

  deleteHead(count: number): void {
    this.list.splice(0, Math.min(count, this.list.length - 20));
  }

  deleteInside(): ListRow {
    const [row] = this.list.splice(20 + this.below(this.list.length - 25), 1);
    this.deletedInside.add(row!.key);
    return row!;
  }

  run(scrubPages = 0): RunResult {
    this.requests = 0;
    this.snapshots.clear();
    const result = runOnce(
      this.store,
      ({ skip, top }) => {
        this.onRequest();
        this.snapshots.set(++this.requests, [...this.list]);
        const limit = Math.min(top, this.maxRows());
        const rows = this.list.slice(skip, skip + Math.min(limit, this.pageSize));
        return { rows, totalCount: this.list.length, ...(limit < top && { limit }) };
      },
      { pageSize: this.pageSize, scrubPages },
    );
    this.expectNothingFalse(result);
    return result;
  }

  has({ key }: ListRow): boolean {
    return this.store.events.some((event) => event.key === key);
  }

  absenceOf({ key }: ListRow): string | undefined {
    return this.store.events.find((event) => event.key === key)?.absence;
  }

  private expectNothingFalse({ proof, end, requestAt }: RunResult): void {
    const wronglyGone = this.store.gone.filter(({ key }) => !this.deletedInside.has(key));
    expect(wronglyGone).toEqual([]);
    this.store.gone = [];
    if (proof.state !== 'complete' || !end?.newest) return;
    const shown = this.snapshots.get(requestAt.get(end.newest.page.sent)!)!;
    const isCounted = ({ time }: { time: number }) =>
      ticksOf(time) > this.store.head! && ticksOf(time) < end.newest!.place;
    const missing = shown.filter((row) => isCounted(row) && !this.has(row));
    // A late row and a deleted one cancel out; the scrub finds them.
    const unnoticed = this.store.events.filter(
      (event) =>
        isCounted(event) && event.absence === undefined && !shown.some(({ key }) => key === event.key),
    );
    expect(missing.length).toBeLessThanOrEqual(unnoticed.length);
  }
}

function worldOf(seed: number): World {
  let state = seed * 7919 + 13;
  const random = () => {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0;
    return (state >>> 8) / 16777216;
  };
  const world = new World(random, 5 + Math.floor(random() * 11), 100 + Math.floor(random() * 400));
  for (let i = 0; i < 3 && world.run().proof.state !== 'complete'; i++);
  return world;
}

const seeds = Array.from({ length: HISTORIES }, (_, i) => i + 1);

describe('over lists of 100 to 500 rows, pages of 5 to 15', () => {
  test('a quiet run takes two requests, and is proven', () => {
    for (const seed of seeds) {
      const world = worldOf(seed);
      expect([world.run().proof.state, world.requests]).toEqual(['complete', 2]);
    }
  });

  test('a late row of any age is stored by the next run, by few requests', () => {
    for (const seed of seeds) {
      const world = worldOf(seed);
      const late = world.insertLate();
      const { proof } = world.run();
      expect({ seed, isStored: world.has(late), state: proof.state }).toEqual({
        seed,
        isStored: true,
        state: 'complete',
      });
      expect(world.requests).toBeLessThanOrEqual(MAX_SEARCH);
    }
  });

  test('a deleted row is suspected by the next run, and gone by the one after', () => {
    for (const seed of seeds) {
      const world = worldOf(seed);
      const deleted = world.deleteInside();
      world.run();
      expect([seed, world.absenceOf(deleted)]).toEqual([seed, 'suspected']);
      expect(world.requests).toBeLessThanOrEqual(MAX_SEARCH);
      expect(world.run().proof.state).toBe('complete');
      expect([seed, world.absenceOf(deleted)]).toEqual([seed, 'gone']);
      expect(world.requests).toBeLessThanOrEqual(5);
    }
  });

  test('changes between the requests of several runs lose nothing, and are proven when the list stands still', () => {
    for (const seed of seeds) {
      const world = worldOf(seed);
      for (let runs = 0; runs < 4; runs++) {
        let changes = 0;
        world.onRequest = () => {
          if (changes++ >= 12 || world.below(10) > 2) return;
          const change = world.below(5);
          if (change <= 1) world.append(1 + world.below(3));
          else if (change === 2) world.insertLate();
          else if (change === 3) world.deleteHead(1 + world.below(6));
          else world.deleteInside();
        };
        world.run();
        world.onRequest = () => {};
      }
      let quiet = 0;
      while (
        quiet++ < 120 &&
        (world.run(1).proof.state !== 'complete' || world.list.some((row) => !world.has(row)))
      );
      expect([seed, world.list.filter((row) => !world.has(row))]).toEqual([seed, []]);
      expect(world.run().proof.state).toBe('complete');
    }
  });

  test('a late and a deleted row are found where large rows limit each response to another number of rows', () => {
    for (const seed of seeds) {
      const world = worldOf(seed);
      world.maxRows = () => 4 + world.below(world.pageSize);
      const late = world.insertLate();
      for (let runs = 0; runs < 3 && !world.has(late); runs++) world.run();
      expect([seed, world.has(late), world.run().proof.state]).toEqual([seed, true, 'complete']);
      const deleted = world.deleteInside();
      for (let runs = 0; runs < 4 && world.absenceOf(deleted) !== 'gone'; runs++) world.run();
      const found = [seed, world.absenceOf(deleted), world.run().proof.state];
      expect(found).toEqual([seed, 'gone', 'complete']);
    }
  });

  test('an append and a head deletion at every request cost no endless search', () => {
    for (const seed of seeds) {
      const world = worldOf(seed);
      world.onRequest = () => {
        world.append(1);
        world.deleteHead(1);
      };
      for (let runs = 0; runs < 3; runs++) {
        world.run();
        // Where a page holds few more rows than the list moves at each request, reading it to its end takes many.
        if (world.pageSize >= 8) expect(world.requests).toBeLessThanOrEqual(BUDGET + 40);
      }
      world.onRequest = () => {};
      expect([seed, world.run().proof.state]).toEqual([seed, 'complete']);
    }
  });
});
