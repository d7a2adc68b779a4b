import { describe, expect, test } from '@jest/globals';
import type { AuditEvent, SourceRow } from '../../src/core/event.ts';
import { exportEvents } from '../../src/core/export.ts';
import { evaluatePage, type FrontierState, startFrontier } from '../../src/core/offset-list/frontier.ts';
import type { FetchPage } from '../../src/core/offset-list/page.ts';
import { createOffsetListReader } from '../../src/core/offset-list/reader.ts';
import type { ReadWarning, Source } from '../../src/core/source.ts';
import { type Commit, newCounters } from '../../src/core/store.ts';
import {
  at,
  type Change,
  CLOCK_MS,
  type ModelOptions,
  ModelSource,
  ModelStore,
} from './offset-list/model.ts';

const STEADY: ModelOptions = {
  gaps: [],
  contents: [0],
  unreadableAfter: [],
  history: [],
  isShuffling: false,
  cap: 1000,
  maxTies: 1_000_000,
  seed: 1,
};

const EVENT: AuditEvent = {
  createdOnTicks: 0n,
  createdOnRaw: '',
  category: null,
  action: null,
  source: null,
  userName: null,
  email: null,
  message: null,
  detailsVersion: null,
  auditLogDetails: null,
  extra: null,
  raw: null,
};

function rows(count: number): number[] {
  return Array<number>(count).fill(1);
}

async function read(
  source: Source,
  store: ModelStore,
  options: { frontier?: bigint; skip?: number; pageSize?: number } = {},
): Promise<{ commits: Commit[]; warnings: ReadWarning[] }> {
  const commits: Commit[] = [];
  const warnings: ReadWarning[] = [];
  store.afterCommit = (commit) => commits.push(commit);
  await exportEvents(source, store, newCounters(), {
    start: { frontier: options.frontier, known: store.known, resume: { skip: options.skip ?? 0 } },
    pageSize: options.pageSize ?? 10,
    concurrency: 1,
    signal: new AbortController().signal,
    onWarning: (warning) => warnings.push(warning),
  });
  return { commits, warnings };
}

function sourceOf(fetchPage: FetchPage): Source {
  return createOffsetListReader({ fetchPage, orderAdvice: '' });
}

/** Lets the source respond `requests` times before `change`. */
function after(requests: number, change: Change): Change[] {
  return [...Array<Change>(requests).fill({ kind: 'none' }), change];
}

describe('the retention guard', () => {
  test('reports rows deleted ahead of a first run, from where it had read to', async () => {
    const history = after(1, { kind: 'deleteHead', count: 50 });
    const source = new ModelSource({ ...STEADY, gaps: rows(100), history });
    const store = new ModelStore();
    const { warnings } = await read(source, store);
    // The first page gave the rows up to 1009; 1010 was seen and left for the next.
    expect(store.gaps).toEqual([{ from: at(1010), to: at(1051) }]);
    expect(warnings).toEqual([
      { kind: 'gap', message: expect.stringContaining('may have been deleted before they were read') },
    ]);
    // The first page showed ten rows: the last one is stored although it was deleted before the rest of its group could be shown.
    expect(store.events.size).toBe(10 + 50);
  });

  test('reports nothing if the deleted rows had been read already', async () => {
    const source = new ModelSource({ ...STEADY, gaps: rows(100) });
    const store = new ModelStore();
    await read(source, store);
    store.known = at(1020);
    const history = after(3, { kind: 'deleteHead', count: 33 });
    const moving = new ModelSource({ ...STEADY, gaps: rows(100), history });
    await read(moving, store, { frontier: at(1010), skip: 18 });
    expect(store.gaps).toEqual([]);
  });

  test('starts where the run had read to, not at its initial watermark', async () => {
    const store = new ModelStore();
    store.known = at(1005);
    const history = after(3, { kind: 'deleteHead', count: 80 });
    const source = new ModelSource({ ...STEADY, gaps: rows(100), history });
    await read(source, store, { frontier: at(1000) });
    expect(store.gaps).toHaveLength(1);
    expect(store.gaps[0]).toMatchObject({ to: at(1081) });
    expect(store.gaps[0]!.from).toBeGreaterThan(at(1020));
  });
});

describe('a run', () => {
  test('records with every commit when its first page was requested', async () => {
    const { commits } = await read(new ModelSource({ ...STEADY, gaps: rows(100) }), new ModelStore());
    expect(commits.length).toBeGreaterThan(5);
    expect(new Set(commits.map(({ beganAt }) => beganAt.getTime()))).toEqual(new Set([CLOCK_MS + 1]));
  });

  test('takes a tie group of 150,000 rows', async () => {
    const row = (ticks: bigint) => ({ ticks, event: { ...EVENT, createdOnTicks: ticks } });
    const rows = [row(1n), ...Array.from({ length: 150_000 }, () => row(2n)), row(3n)];
    const source = sourceOf(async (request) => ({
      ...request,
      rows: rows.slice(request.skip, request.skip + request.top),
      totalCount: rows.length,
      requestedAt: new Date(0),
      sourceTime: undefined,
    }));
    const { commits } = await read(source, new ModelStore(), { pageSize: 20_000 });
    expect(commits.reduce((sum, { events }) => sum + events.length, 0)).toBe(150_002);
  });

  test('stores equal rows correctly when the list moves under a large tie group', async () => {
    for (const change of [
      { kind: 'deleteHead', count: 1 },
      { kind: 'late', at: 0, content: 5 },
    ] satisfies Change[]) {
      const gaps = [1, 5, ...Array<number>(59).fill(0), 1];
      const history = after(6, change);
      const source = new ModelSource({ ...STEADY, gaps, cap: 20, history });
      const store = new ModelStore();
      await read(source, store);
      const stored = [...store.events.values()].filter(({ createdOnTicks }) => createdOnTicks === at(1006));
      expect([change.kind, stored.length]).toEqual([change.kind, 60]);
    }
  });
});

describe('a commit', () => {
  test('runs while the next page is fetched, and after the previous commit', async () => {
    const source = new ModelSource({ ...STEADY, gaps: rows(100) });
    const store = new ModelStore();
    const commitNow = store.commit.bind(store);
    const trace: string[] = [];
    const traced = sourceOf((request) => {
      trace.push('requested');
      return source.fetchPage(request);
    });
    store.commit = async (commit) => {
      trace.push('begun');
      await new Promise((resolve) => setTimeout(resolve, 5));
      trace.push('done');
      return commitNow(commit);
    };
    await read(traced, store);
    expect(store.events.size).toBe(100);
    expect(trace.join(' ')).toMatch(/^requested( requested)* begun( requested)+ done begun/);
    const commits = trace.filter((step) => step !== 'requested');
    expect(commits).toEqual(commits.map((_, i) => (i % 2 ? 'done' : 'begun')));
  });

  describe('of pages read during the previous commit', () => {
    /** Each commit takes longer than all responses of the source, counted in turns of the event loop. */
    function slowStore(): ModelStore {
      const store = new ModelStore();
      const commitNow = store.commit.bind(store);
      store.commit = async (commit) => {
        for (let turn = 0; turn < 200; turn += 1) await new Promise(setImmediate);
        return commitNow(commit);
      };
      return store;
    }

    test('contains the rows of up to four pages, and the frontier of the last one', async () => {
      const store = slowStore();
      const { commits } = await read(new ModelSource({ ...STEADY, gaps: rows(100) }), store);
      expect(store.events.size).toBe(100);
      // A page of ten repeats two rows.
      expect(commits.map(({ events }) => events.length)).toEqual([9, 32, 32, 27]);
      expect(commits.map(({ frontier }) => frontier)).toEqual([at(1010), at(1042), at(1074), at(1101)]);
      expect(commits.map(({ isEnd }) => isEnd)).toEqual([false, false, false, true]);
    });

    test('contains fewer pages if events are large', async () => {
      const model = new ModelSource({ ...STEADY, gaps: rows(40) });
      const large = sourceOf(async (request) => {
        const page = await model.fetchPage(request);
        const auditLogDetails = 'x'.repeat(400_000);
        const event = (row: SourceRow) => ({ ...EVENT, ...row.event, auditLogDetails });
        return { ...page, rows: page.rows.map((row) => ({ ticks: row.ticks!, event: event(row) })) };
      });
      const store = slowStore();
      const { commits } = await read(large, store);
      expect(store.events.size).toBe(40);
      expect(Math.max(...commits.map(({ events }) => events.length))).toBeLessThan(12);
    });

    test('does not span a gap, and reports it', async () => {
      const store = slowStore();
      const history = after(3, { kind: 'deleteHead', count: 60 });
      const { warnings } = await read(new ModelSource({ ...STEADY, gaps: rows(100), history }), store);
      expect(store.gaps).toEqual([{ from: at(1026), to: at(1061) }]);
      expect(warnings).toEqual([{ kind: 'gap', message: expect.stringContaining('may have been deleted') }]);
    });

    test('is reported chunk by chunk, its result with the last', async () => {
      const store = slowStore();
      const told: [number, number, number, number | undefined][] = [];
      await exportEvents(new ModelSource({ ...STEADY, gaps: rows(40) }), store, newCounters(), {
        ...{ start: { frontier: undefined }, pageSize: 10, concurrency: 1 },
        signal: new AbortController().signal,
        onChunk: ({ done, total, taken, result }) => told.push([done, total, taken, result?.inserted]),
      });
      expect(told).toEqual([
        [8, 40, 9, 9],
        [16, 40, 8, undefined],
        [24, 40, 8, undefined],
        [32, 40, 8, undefined],
        [40, 40, 7, 31],
      ]);
    });
  });

  test('does not start after the run was stopped, even if one is in progress', async () => {
    const source = new ModelSource({ ...STEADY, gaps: rows(100) });
    const store = new ModelStore();
    const stop = new AbortController();
    let begun = 0;
    const commitNow = store.commit.bind(store);
    store.commit = async (commit) => {
      begun += 1;
      await new Promise((resolve) => setTimeout(resolve, 20));
      stop.abort();
      return commitNow(commit);
    };
    const reading = exportEvents(source, store, newCounters(), {
      ...{ start: { frontier: undefined }, pageSize: 10, concurrency: 1, signal: stop.signal },
    });
    await expect(reading).rejects.toMatchObject({ code: 'interrupted' });
    expect([begun, store.events.size]).toEqual([1, 9]);
  });

  test('that fails ends the run with its reason at once, even if a request is in flight', async () => {
    const source = new ModelSource({ ...STEADY, gaps: rows(100) });
    let requests = 0;
    const slow = sourceOf((request, options) => {
      if (++requests < 2) return source.fetchPage(request);
      return new Promise((_resolve, reject) => {
        options.signal.addEventListener('abort', () => reject(new Error('given up')));
      });
    });
    const store = new ModelStore();
    store.commit = async () => {
      await new Promise((resolve) => setTimeout(resolve, 5));
      throw new Error('fenced');
    };
    await expect(read(slow, store)).rejects.toThrow('fenced');
  });
});

test('a tie group whose order changes at every request is left out of what is known to be complete', async () => {
  const gaps = [1, 5, ...Array<number>(59).fill(0), 1, 1];
  const contents = gaps.map((_, i) => i);
  const source = new ModelSource({ ...STEADY, gaps, contents, cap: 20, isShuffling: true });
  const store = new ModelStore();
  const { warnings } = await read(source, store);
  expect(warnings).toEqual([
    {
      kind: 'large-tie-group',
      message: expect.stringContaining('some may be stored only by a later run'),
    },
  ]);
  expect(store.gaps).toEqual([{ from: at(1006), to: at(1007) }]);
});

describe('a list that ends with rows without a readable time', () => {
  const unreadable: SourceRow = { ticks: undefined, rejected: { reason: 'createdOn', text: 'odd' } };
  const readable = (ms: number): SourceRow => ({
    ticks: at(ms),
    event: { ...EVENT, createdOnTicks: at(ms) },
  });
  const listOf = (rows: SourceRow[]) =>
    sourceOf(async (request) => ({
      ...request,
      rows: rows.slice(request.skip, request.skip + request.top),
      totalCount: rows.length,
      requestedAt: new Date(CLOCK_MS),
      sourceTime: undefined,
    }));

  test('is read to its end, although the page that confirms the end has no readable row', async () => {
    const { commits } = await read(listOf([readable(1), unreadable]), new ModelStore());
    expect(commits.at(-1)).toMatchObject({ isEnd: true, covered: { from: at(1), to: at(2) } });
  });

  test('fails if no row of it is readable, keeps the rows, and covers nothing', async () => {
    const store = new ModelStore();
    await expect(read(listOf([unreadable, unreadable]), store)).rejects.toMatchObject({
      code: 'source-invalid',
    });
    expect([[...store.rejected], store.pieces, store.newest]).toEqual([['odd'], [], undefined]);
  });
});

describe('an empty response', () => {
  const evaluateEmpty = (state: FrontierState, totalCount: number) => {
    const { skip, top } = state;
    return evaluatePage(state, {
      skip,
      top,
      rows: [],
      totalCount,
      requestedAt: new Date(0),
      sourceTime: undefined,
    }).state;
  };

  test('is requested again a few times if the total says that there are rows, then the reader steps back', () => {
    const skips: number[] = [];
    let state = startFrontier({ frontier: 5n, skip: 500, pageSize: 100 });
    for (let i = 0; i < 5; i++) {
      state = evaluateEmpty(state, 1000);
      skips.push(state.skip);
    }
    expect(skips.slice(0, 3)).toEqual([500, 500, 500]);
    expect(skips[3]).toBeLessThan(500);
    expect(skips[4]).toBeLessThan(skips[3]!);
  });

  test('beyond the end makes the reader step back at once', () => {
    expect(evaluateEmpty(startFrontier({ frontier: 5n, skip: 500, pageSize: 100 }), 300).skip).toBeLessThan(
      300,
    );
  });
});
