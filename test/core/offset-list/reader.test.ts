import { describe, expect, test } from '@jest/globals';
import type { SourceRow } from '../../../src/core/event.ts';
import type { FetchPage } from '../../../src/core/offset-list/page.ts';
import { createOffsetListReader } from '../../../src/core/offset-list/reader.ts';
import {
  type Chunk,
  isEmptyChunk,
  type Json,
  type ReadOptions,
  type StartPoint,
} from '../../../src/core/source.ts';
import { newCounters } from '../../../src/core/store.ts';

const ADVICE = 'Check the address.';

/** The time of row n. */
function at(n: number): bigint {
  return BigInt(n) * 10_000n;
}

/** A row at millisecond n. */
function row(n: number): SourceRow {
  const text = { category: null, action: null, source: null, userName: null, email: null, message: null };
  const rest = { detailsVersion: null, auditLogDetails: null, extra: null, raw: null };
  const createdOnTicks = at(n);
  return {
    ticks: createdOnTicks,
    event: { ...text, ...rest, createdOnTicks, createdOnRaw: String(n) },
  };
}

/** A list of rows at the milliseconds 1 to `length`, and the signal of each request. */
function openList(length: number, list = Array.from({ length }, (_, i) => row(i + 1))) {
  const skips: number[] = [];
  const signals: AbortSignal[] = [];
  const fetchPage: FetchPage = async ({ skip, top }, { signal, meter }) => {
    meter.requests += 1;
    skips.push(skip);
    signals.push(signal);
    const rows = list.slice(skip, skip + top);
    return {
      skip,
      top,
      rows,
      totalCount: list.length,
      requestedAt: new Date(skips.length),
      sourceTime: undefined,
    };
  };
  return { skips, signals, source: createOffsetListReader({ fetchPage, orderAdvice: ADVICE }) };
}

function optionsOf(rest: Partial<ReadOptions> = {}): ReadOptions {
  const signal = new AbortController().signal;
  return { pageSize: 10, concurrency: 1, signal, meter: newCounters(), ...rest };
}

async function readAll(
  { source }: Pick<ReturnType<typeof openList>, 'source'>,
  start: StartPoint = { frontier: undefined },
  options = optionsOf(),
): Promise<Chunk[]> {
  const chunks: Chunk[] = [];
  for await (const chunk of source.read(start, options)) chunks.push(chunk);
  return chunks;
}

/** The times of the events at or after `from`, each once: a page of the search for the frontier may show later ones, too. */
function ticksFrom(chunks: readonly Chunk[], from: bigint): bigint[] {
  const ticks = chunks.flatMap(({ events }) => events.map(({ event }) => event.createdOnTicks));
  return [...new Set(ticks)].filter((time) => time >= from).sort((a, b) => (a < b ? -1 : 1));
}

describe('a chunk', () => {
  test('has the rows of one response, the frontier, and where a later read continues', async () => {
    const chunks = await readAll(openList(25));
    expect(chunks.map(({ events }) => events.length)).toEqual([9, 8, 8]);
    expect(chunks.map(({ frontier }) => frontier)).toEqual([at(10), at(18), at(26)]);
    expect(chunks.map(({ resume }) => resume)).toEqual([
      { skip: 8, largest: 10 },
      { skip: 16, largest: 10 },
      { skip: 25, largest: 10 },
    ]);
    expect(chunks.map(({ isLast }) => isLast)).toEqual([false, false, true]);
    expect(chunks.map(({ progress }) => progress)).toEqual([
      { done: 8, total: 25 },
      { done: 16, total: 25 },
      { done: 25, total: 25 },
    ]);
    expect(chunks.map(({ requestedAt }) => requestedAt.getTime())).toEqual([1, 2, 3]);
    expect(chunks.every(({ sourceTotal }) => sourceTotal === 25)).toBe(true);
  });

  test('is yielded for every response, also for one that only shows where to read next', async () => {
    const meter = newCounters();
    const list = openList(500);
    const chunks = await readAll(list, { frontier: at(400), resume: { skip: 450 } }, optionsOf({ meter }));
    // The rows that it shows are compared, but the read has not come nearer to its end.
    expect(chunks[0]).toMatchObject({
      ...{ span: { from: at(442), to: at(450) }, frontier: at(400), isLast: false, progress: { done: 0 } },
    });
    expect(ticksFrom(chunks.slice(0, 1), at(0))).toEqual(Array.from({ length: 8 }, (_, i) => at(442 + i)));
    expect(ticksFrom(chunks, at(400))).toHaveLength(101);
    expect(meter.pages).toBe(chunks.length);
    // Nothing is prefetched while the read searches.
    expect(list.skips.slice(0, 6)).toEqual([440, 438, 434, 426, 410, 378]);
  });

  test('of a response without rows needs no commit', async () => {
    const chunks = await readAll(openList(50), { frontier: at(40), resume: { skip: 900 } });
    expect(isEmptyChunk(chunks[0]!)).toBe(true);
    expect(chunks.slice(1).map(isEmptyChunk)).not.toContain(true);
    expect(ticksFrom(chunks, at(40))).toHaveLength(11);
  });

  test('of an empty list is the last one, and does not count as empty, so that the end is recorded', async () => {
    const [only, ...more] = await readAll(openList(0));
    expect(more).toEqual([]);
    expect(only).toMatchObject({ events: [], isLast: true, sourceTotal: 0 });
    expect(isEmptyChunk(only!)).toBe(false);
  });
});

describe('a read', () => {
  test('with the last resume value starts near it, before the rows that must be read again', async () => {
    const list = openList(500);
    await readAll(list, { frontier: at(480), resume: { skip: 500 }, rowsBeforeResume: 20 });
    expect(list.skips[0]).toBe(470);
  });

  test.each<Json | undefined>([
    undefined,
    null,
    7,
    'next',
    [3],
    { cursor: 'a' },
    { skip: '9' },
    { skip: -3 },
  ])(
    'that was given %j, which no offset list left, begins at the head and misses nothing',
    async (resume) => {
      const list = openList(60);
      const chunks = await readAll(list, { frontier: at(50), resume });
      expect(list.skips[0]).toBe(0);
      expect(ticksFrom(chunks, at(50))).toEqual(Array.from({ length: 11 }, (_, i) => at(50 + i)));
    },
  );

  test('with shouldMeasure reports the number of rows from its first chunk on, and does not count these requests', async () => {
    const meter = newCounters();
    const options = optionsOf({ until: at(101), shouldMeasure: true, meter });
    const list = openList(1000);
    const chunks = await readAll(list, { frontier: undefined }, options);
    expect(chunks[0]!.progress).toEqual({ done: 8, total: 100 });
    expect(chunks.at(-1)!.progress).toEqual({ done: 100, total: 100 });
    expect(list.skips.length).toBeGreaterThan(meter.requests);
    expect(meter.pages).toBe(chunks.length);
  });

  test('that its caller stops cancels the prefetched requests', async () => {
    const list = openList(1000);
    for await (const _chunk of list.source.read({ frontier: undefined }, optionsOf({ concurrency: 3 })))
      break;
    expect(list.signals.length).toBeGreaterThan(3);
    expect(list.signals.slice(1).every(({ aborted }) => aborted)).toBe(true);
  });

  test('sends the next request before its caller has processed the chunk', async () => {
    const list = openList(1000);
    for await (const _chunk of list.source.read({ frontier: undefined }, optionsOf())) {
      await new Promise(setImmediate);
      expect(list.skips.slice(0, 2)).toEqual([0, 8]);
      break;
    }
  });

  test('of a list in another order fails with what was found and what to check, and keeps its counts', async () => {
    const meter = newCounters();
    const rows = [...Array.from({ length: 12 }, (_, i) => row(i + 1)), row(5), row(14)];
    const reading = readAll(openList(0, rows), { frontier: undefined }, optionsOf({ meter }));
    await expect(reading).rejects.toMatchObject({
      code: 'source-invalid',
      message: expect.stringMatching(/not sorted by time: in the page at offset 8, .*Check the address\.$/),
    });
    expect(meter).toMatchObject({ pages: 1, requests: 2 });
  });

  test('that is stopped between two chunks ends with interrupted', async () => {
    const stop = new AbortController();
    const read: Chunk[] = [];
    const reading = async () => {
      const options = optionsOf({ signal: stop.signal });
      for await (const chunk of openList(100).source.read({ frontier: undefined }, options)) {
        read.push(chunk);
        stop.abort();
      }
    };
    await expect(reading()).rejects.toMatchObject({ code: 'interrupted' });
    expect(read).toHaveLength(1);
  });
});
