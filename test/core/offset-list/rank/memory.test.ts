import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { formatRanks, parseRanks, type RankMemory } from '../../../../src/core/offset-list/rank/memory.ts';
import type { Json } from '../../../../src/core/source.ts';

const EMPTY = parseRanks(null);
const place = fc.bigInt({ min: -621355968000000000n, max: 2534023007999999999n });
const optional = fc.option(place, { nil: undefined });
const count = fc.nat(2 ** 31 - 1);

const memory: fc.Arbitrary<RankMemory> = fc.record({
  largest: count,
  headOffset: count,
  scrub: fc.record({ skip: count, place: optional }),
  difference: fc.option(fc.record({ missing: fc.integer() }), { nil: undefined }),
  newest: optional,
  changedAt: optional,
  newestBeforeChange: optional,
});

describe('the memory of a count', () => {
  test('is read as it was written, by way of JSON', () => {
    fc.assert(
      fc.property(memory, (written) => {
        expect(parseRanks(JSON.parse(JSON.stringify(formatRanks(written))))).toEqual(written);
      }),
    );
  });

  test('is empty for any other value, and every part of it has its type', () => {
    const names = [
      'largest',
      'headOffset',
      'scrub',
      'difference',
      'newest',
      'changedAt',
      'newestBeforeChange',
    ];
    const value = fc.jsonValue({ maxDepth: 3 }) as fc.Arbitrary<Json>;
    const parts = fc.dictionary(fc.constantFrom(...names, 'skip', 'place', 'missing', 'cursor'), value);
    fc.assert(
      fc.property(fc.oneof(value, parts), (ranks) => {
        const read = parseRanks(ranks as Json);
        for (const number of [read.largest, read.headOffset, read.scrub.skip])
          expect(Number.isSafeInteger(number) && number >= 0).toBe(true);
        for (const ticks of [read.newest, read.changedAt, read.newestBeforeChange, read.scrub.place])
          expect(['bigint', 'undefined']).toContain(typeof ticks);
        if (read.difference) expect(typeof read.difference.missing).toBe('number');
      }),
      { numRuns: 1000 },
    );
  });

  test.each<Json>([
    null,
    7,
    'next',
    [],
    [3],
    {},
    { largest: '9' },
    { largest: -1 },
    { newest: 12 },
    { newest: '1e5' },
  ])('%j counts as nothing', (ranks) => {
    expect(parseRanks(ranks)).toEqual(EMPTY);
  });
});
