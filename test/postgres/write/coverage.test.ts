import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import type { Client } from '../../../src/postgres/connection/pool.ts';
import { cutCoverage, extendCoverage, type ReadRange } from '../../../src/postgres/write/coverage.ts';
import { type Bench, createBench } from '../../support/bench.ts';

const RUNS = Number(process.env.PROPERTY_RUNS ?? 60);
const [DAY_ONE, DAY_TWO, DAY_THREE] = [1, 2, 3].map((day) => new Date(Date.UTC(2026, 0, day))) as [
  ...[Date, Date, Date],
];

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
  { run = '1', ...rest }: Omit<Partial<ReadRange>, 'from' | 'to'> & { run?: string } = {},
): Promise<void> {
  const statement = extendCoverage(
    { organization, log: 'classic', runId: run },
    { isFromHead: false, isToEnd: false, ...rest, from: BigInt(from), to: BigInt(to) },
  );
  if (statement) await client.query(statement);
}

const spans = async (table: 'coverage' | 'gaps') =>
  (
    await bench.query(`select from_ticks, to_ticks from audit.${table} where organization = $1 order by 1`, [
      organization,
    ])
  ).map((row) => [Number(row.from_ticks), Number(row.to_ticks)]);
const dayOf = (time: unknown) => (time === null ? null : (time as Date).getUTCDate());
/** From, to, the days of proof and verification, and the run. */
const proofs = async () =>
  (
    await client.query(
      'select from_ticks, to_ticks, proven_at, verified_at, run_id from audit.coverage where organization = $1 order by 1',
      [organization],
    )
  ).rows.map((row) => [
    ...[Number(row.from_ticks), Number(row.to_ticks), dayOf(row.proven_at), dayOf(row.verified_at)],
    Number(row.run_id),
  ]);

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
  type Case = [string, [number, number], Partial<ReadRange>, (number | null)[]];
  test.each<Case>([
    ['that was only read extends the old one, which keeps its proof', [20, 30], {}, [10, 30, 1, 1, 1]],
    ['that was only read and begins earlier takes the proof', [5, 15], {}, [5, 20, null, null, 2]],
    ['that was only read and holds the old one takes the proof', [5, 25], {}, [5, 25, null, null, 2]],
    ['within the old one changes nothing', [12, 18], {}, [10, 20, 1, 1, 1]],
    ['that holds the old one proves it', [5, 25], { provenAt: DAY_TWO }, [5, 25, 2, null, 2]],
    ['of the same span proves it', [10, 20], { provenAt: DAY_TWO }, [10, 20, 2, 1, 1]],
    ['of the same span verifies it', [10, 20], { verifiedAt: DAY_TWO }, [10, 20, 1, 2, 1]],
    ['that continues the old one keeps the older proof', [20, 30], { provenAt: DAY_TWO }, [10, 30, 1, 1, 1]],
    ['within the old one keeps the older proof', [12, 18], { provenAt: DAY_TWO }, [10, 20, 1, 1, 1]],
    [
      'from the head of the list to beyond the old one proves it all',
      ...([[15, 25], { isFromHead: true, provenAt: DAY_TWO }, [10, 25, 2, 1, 1]] as const),
    ],
    [
      'from the head, within the old one, keeps the older proof',
      ...([[15, 18], { isFromHead: true, provenAt: DAY_TWO }, [10, 20, 1, 1, 1]] as const),
    ],
    [
      'from the head to the end of the list proves it all',
      ...([[15, 18], { isFromHead: true, isToEnd: true, provenAt: DAY_TWO }, [10, 20, 2, 1, 1]] as const),
    ],
    [
      'from the beginning to the end of the list proves it all',
      ...([[10, 18], { isToEnd: true, provenAt: DAY_TWO }, [10, 20, 2, 1, 1]] as const),
    ],
    [
      'from within to the end of the list keeps the older proof',
      ...([[12, 18], { isToEnd: true, provenAt: DAY_TWO }, [10, 20, 1, 1, 1]] as const),
    ],
  ] as Case[])('%s', async (_, [from, to], rest, expected) => {
    begin();
    await extend(10, 20, { provenAt: DAY_ONE, verifiedAt: DAY_ONE });
    await extend(from, to, { ...rest, run: '2' });
    expect(await proofs()).toEqual([expected]);
  });

  test.each<[string, Partial<ReadRange>]>([
    ['proves', { provenAt: DAY_TWO }],
    ['verifies', { verifiedAt: DAY_TWO }],
  ])('that %s a part of what was only read says nothing about the whole', async (_, rest) => {
    begin();
    await extend(10, 20);
    await extend(15, 25, rest);
    expect(await proofs()).toEqual([[10, 25, null, null, 1]]);
  });

  test('that fills a gap merges three ranges, with the oldest proof', async () => {
    begin();
    await extend(10, 20, { provenAt: DAY_ONE });
    await extend(30, 40, { provenAt: DAY_TWO, run: '2' });
    expect(await spans('gaps')).toEqual([[20, 30]]);
    await extend(20, 30, { provenAt: DAY_TWO, run: '3' });
    expect(await proofs()).toEqual([[10, 40, 1, null, 1]]);
  });

  test('that is stored already and brings no newer proof is not written again', async () => {
    begin();
    await extend(10, 20);
    const place = () =>
      bench.query('select ctid, xmin from audit.coverage where organization = $1', [organization]);
    const before = await place();
    await extend(12, 18);
    // Nor is one whose proof covers less.
    await extend(12, 18, { provenAt: DAY_TWO });
    expect(await place()).toEqual(before);
  });
});

test('a gap ends every range at the tick after its start, with the proof of the range', async () => {
  begin();
  await extend(10, 20, { provenAt: DAY_ONE });
  await extend(30, 40, { verifiedAt: DAY_TWO, run: '2' });
  await extend(50, 60, { run: '3' });
  await client.query(cutCoverage({ organization, log: 'classic' }, { from: 34n }));
  expect(await proofs()).toEqual([
    [10, 20, 1, null, 1],
    [30, 35, null, 2, 2],
    [50, 60, null, null, 3],
  ]);
  await client.query(cutCoverage({ organization, log: 'classic' }, { from: 34n }));
  await client.query(cutCoverage({ organization: 'another', log: 'classic' }, { from: 12n }));
  expect(await spans('gaps')).toEqual([
    [20, 30],
    [35, 50],
  ]);
});

describe('every way to add a range to two others', () => {
  interface Stored {
    from: number;
    to: number;
    provenAt: Date | undefined;
    verifiedAt: Date | undefined;
  }
  type Added = Stored & { isFromHead: boolean; isToEnd: boolean };
  const POINTS = [5, 10, 15, 20, 25, 30, 35, 40, 45];
  const FIRST = { from: 10, to: 20 };
  const SECOND = { from: 30, to: 40 };

  /** The time of the merged range. A part that was not compared at that time takes it, unless it cannot be compared any more. */
  function timeOf(
    touching: readonly Stored[],
    added: Added,
    name: 'provenAt' | 'verifiedAt',
  ): Date | undefined {
    const times = touching.map((stored) => stored[name]);
    const known = times.filter((time) => time !== undefined).sort((a, b) => +a - +b);
    const oldest = known.length === times.length ? known[0] : undefined;
    const now = added[name];
    const isEarlier = touching.every(({ from }) => added.from < from);
    if (now === undefined) return isEarlier ? undefined : oldest;
    const isUncovered = touching.some(
      ({ from, to }) => (from < added.from && !added.isFromHead) || (to > added.to && !added.isToEnd),
    );
    if (!isUncovered) return now;
    return oldest && (oldest < now ? oldest : now);
  }

  function merged(stored: readonly Stored[], added: Added): Stored[] {
    const isTouching = ({ from, to }: Stored) => from <= added.to && to >= added.from;
    const touching = stored.filter(isTouching);
    const all = [...touching, added];
    const result = {
      from: Math.min(...all.map(({ from }) => from)),
      to: Math.max(...all.map(({ to }) => to)),
      provenAt: timeOf(touching, added, 'provenAt'),
      verifiedAt: timeOf(touching, added, 'verifiedAt'),
    };
    return [...stored.filter((range) => !isTouching(range)), result].sort((a, b) => a.from - b.from);
  }

  const times = [undefined, DAY_ONE];
  const kinds: [string, Partial<Pick<ReadRange, 'provenAt' | 'verifiedAt'>>][] = [
    ['only read', {}],
    ['proven', { provenAt: DAY_TWO }],
    ['verified', { verifiedAt: DAY_TWO }],
  ];
  test.each(kinds)('keeps the right time of proof and of verification if it was %s', async (_, kind) => {
    await client.query('begin');
    let cases = 0;
    for (const provenAt of times)
      for (const second of [undefined, { provenAt: undefined }, { provenAt: DAY_THREE }])
        for (const from of POINTS)
          for (const to of POINTS.filter((point) => point > from))
            for (const isFromHead of [false, true])
              for (const isToEnd of [false, true]) {
                begin();
                // The two times are independent of each other.
                const stored: Stored[] = [{ ...FIRST, provenAt, verifiedAt: provenAt ? undefined : DAY_ONE }];
                if (second) {
                  const verifiedAt = second.provenAt ? undefined : DAY_THREE;
                  stored.push({ ...SECOND, provenAt: second.provenAt, verifiedAt });
                }
                for (const { from: begin, to: end, ...rest } of stored) await extend(begin, end, rest);
                const rest = { isFromHead, isToEnd, provenAt: undefined, verifiedAt: undefined, ...kind };
                await extend(from, to, rest);
                const added = { from, to, ...rest };
                const expected = merged(stored, added).map((range) => [
                  ...[range.from, range.to, range.provenAt?.getUTCDate() ?? null],
                  range.verifiedAt?.getUTCDate() ?? null,
                ]);
                const found = (await proofs()).map((row) => row.slice(0, 4));
                expect([added, stored, found]).toEqual([added, stored, expected]);
                cases += 1;
              }
    await client.query('rollback');
    expect(cases).toBe(2 * 3 * 36 * 4);
  });
});
