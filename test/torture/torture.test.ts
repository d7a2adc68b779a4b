/** The short form of `npm run torture`: a few rounds of the same code. */
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { findBinaries } from '../../src/embedded-postgres/binaries.ts';
import { faultOf, playCampaign } from './campaign.ts';
import { FAULTS } from './faults.ts';
import type { Played } from './play.ts';
import { openWorkshop, type Workshop } from './workshop.ts';

const SHORT = [
  'kill -9',
  'overtaken, connection kept',
  'database stopped at once',
  'source: half a body',
  'rows deleted at the head',
];

const unavailable = await findBinaries().then(
  // The server does not inherit the environment by which .ci/calendar shifts the clock.
  () => (process.env.FAKETIME ? 'Its clock would not be that of the worker.' : undefined),
  (error: Error) => error.message,
);
if (unavailable !== undefined)
  console.warn(`skipped: the torture test needs the embedded PostgreSQL. ${unavailable}`);

(unavailable === undefined ? describe : describe.skip)(
  'whatever befalls the worker, the table is the source',
  () => {
    let workshop: Workshop;

    beforeAll(async () => {
      workshop = await openWorkshop();
    });
    afterAll(() => workshop?.close());

    test.each(SHORT)('%s', async (name) => {
      const faults = FAULTS.filter((fault) => fault.name === name);
      const rounds: Played[] = [];
      await playCampaign(workshop, {
        faults,
        seed: 1,
        from: { number: 1, attempt: 0 },
        rounds: 1,
        signal: new AbortController().signal,
        onRound: (played) => rounds.push(played),
      });
      const { rows, lost, doubled, altered, falselyComplete, falselyGone, broken, isMissed } = rounds.at(-1)!;
      expect({ lost, doubled, altered, falselyComplete, falselyGone, broken, isMissed }).toEqual({
        ...{ lost: [], doubled: [], altered: [], falselyComplete: [], falselyGone: [], broken: [] },
        isMissed: false,
      });
      expect(rows).toBeGreaterThan(1_000);
    });
  },
);

describe('the fault of a round', () => {
  test('follows from seed and number, and every fault comes once before any comes again', () => {
    const name = (seed: number, number: number) => faultOf(FAULTS, seed, number).name;
    const turn = (seed: number, from: number) => FAULTS.map((_, i) => name(seed, from + i));
    const names = FAULTS.map((fault) => fault.name);
    for (const from of [1, 1 + FAULTS.length]) expect([...turn(7, from)].sort()).toEqual([...names].sort());
    expect(turn(7, 1)).toEqual(turn(7, 1));
    expect(turn(7, 1)).not.toEqual(turn(8, 1));
  });
});
