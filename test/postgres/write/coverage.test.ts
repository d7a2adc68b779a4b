import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import type { Client } from '../../../src/postgres/connection/pool.ts';
import { extendCoverage, type ProvenRange } from '../../../src/postgres/write/coverage.ts';
import { type Bench, createBench } from '../../support/bench.ts';

const RUNS = Number(process.env.EXPORT_PROPERTY_RUNS ?? 60);
const DAY_ONE = new Date('2026-01-01T00:00:00Z');
const DAY_TWO = new Date('2026-01-02T00:00:00Z');

let bench: Bench;
let client: Client;
let organizations = 0;
let organization: string;

beforeAll(async () => {
  bench = await createBench();
  client = await bench.pool.connect();
});
afterAll(async () => {
  client.release();
  await bench.close();
});

function begin(): void {
  organization = `coverage-${organizations++}`;
}

async function extend(
  from: number,
  to: number,
  rest: Partial<ProvenRange> & { run?: string; log?: string; renewAfterMs?: number } = {},
): Promise<void> {
  const { run = '1', log = 'classic', renewAfterMs = 0, ...proven } = rest;
  const statement = extendCoverage(
    { organization, log, runId: run, renewAfterMs },
    {
      ...{ from: BigInt(from), to: BigInt(to), isFromHead: false, isToEnd: false, readAt: DAY_ONE },
      ...proven,
    },
  );
  if (statement) await client.query(statement);
}

const spans = async (table: 'coverage' | 'gaps') =>
  (
    await bench.query(`select from_ticks, to_ticks from audit.${table} where organization = $1 order by 1`, [
      organization,
    ])
  ).map((row) => [Number(row.from_ticks), Number(row.to_ticks)]);
const proofs = async () =>
  (
    await bench.query(
      'select from_ticks, to_ticks, extract(day from proven_at) as day, run_id from audit.coverage where organization = $1 order by 1',
      [organization],
    )
  ).map((row) => [Number(row.from_ticks), Number(row.to_ticks), Number(row.day), Number(row.run_id)]);

test('ranges in any order merge to their union, and audit.gaps has the spans between', async () => {
  const range = fc
    .tuple(fc.nat(40), fc.integer({ min: 1, max: 8 }))
    .map(([from, length]) => [from, from + length]);
  await fc.assert(
    fc.asyncProperty(fc.array(range, { maxLength: 20 }), async (ranges) => {
      begin();
      for (const [from, to] of ranges) await extend(from!, to!);
      const isCovered = (tick: number) => ranges.some(([from, to]) => tick >= from! && tick < to!);
      const union: number[][] = [];
      for (let tick = 0; tick < 60; tick++) {
        if (isCovered(tick) && !isCovered(tick - 1)) union.push([tick]);
        if (!isCovered(tick) && isCovered(tick - 1)) union.at(-1)!.push(tick);
      }
      expect(await spans('coverage')).toEqual(union);
      expect(await spans('gaps')).toEqual(union.slice(1).map(([from], i) => [union[i]![1], from]));
    }),
    { numRuns: RUNS },
  );
});

describe('a range', () => {
  test.each<[string, [number, number], Partial<ProvenRange>, number[]]>([
    ['that holds the old one proves it', [5, 25], {}, [5, 25, 2, 2]],
    ['of the same span proves it', [10, 20], {}, [10, 20, 2, 1]],
    ['that continues the old one keeps its proof', [20, 30], {}, [10, 30, 1, 1]],
    ['within the old one changes nothing', [12, 18], {}, [10, 20, 1, 1]],
    [
      'from the head of the list to beyond the old one proves it all',
      [15, 25],
      { isFromHead: true },
      [10, 25, 2, 1],
    ],
    ['from the head, within the old one, changes nothing', [15, 18], { isFromHead: true }, [10, 20, 1, 1]],
    [
      'from the head to what is known proves it all',
      [15, 18],
      { isFromHead: true, isToEnd: true },
      [10, 20, 2, 1],
    ],
    ['from the beginning to what is known proves it all', [10, 18], { isToEnd: true }, [10, 20, 2, 1]],
    ['from within to what is known changes nothing', [12, 18], { isToEnd: true }, [10, 20, 1, 1]],
  ])('%s', async (_, [from, to], rest, expected) => {
    begin();
    await extend(10, 20);
    await extend(from, to, { ...rest, readAt: DAY_TWO, run: '2' });
    expect(await proofs()).toEqual([expected]);
  });

  test.each([
    ['less', 86_400_001, [10, 20, 1, 1]],
    ['no less', 86_400_000, [10, 20, 2, 1]],
  ])('of the same span that was proven %s than renewAfterMs before', async (_, renewAfterMs, expected) => {
    begin();
    await extend(10, 20);
    await extend(10, 20, { readAt: DAY_TWO, run: '2', renewAfterMs });
    expect(await proofs()).toEqual([expected]);
  });

  test('that is partly new is recorded even with a recent proof', async () => {
    begin();
    await extend(10, 20);
    await extend(10, 21, { readAt: DAY_TWO, renewAfterMs: 86_400_001 });
    expect(await proofs()).toEqual([[10, 21, 2, 1]]);
  });

  test('that fills a gap merges three ranges, with the oldest proof', async () => {
    begin();
    await extend(10, 20);
    await extend(30, 40, { readAt: DAY_TWO, run: '2' });
    expect(await spans('gaps')).toEqual([[20, 30]]);
    await extend(20, 30, { readAt: DAY_TWO, run: '3' });
    expect(await proofs()).toEqual([[10, 40, 1, 1]]);
  });

  test('that is stored already is not written again', async () => {
    begin();
    await extend(10, 20);
    const place = () =>
      bench.query('select ctid, xmin from audit.coverage where organization = $1', [organization]);
    const before = await place();
    await extend(12, 18, { readAt: DAY_TWO });
    expect(await place()).toEqual(before);
  });
});
