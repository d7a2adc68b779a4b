import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import type { RunKind } from '../../src/postgres/write/session.ts';
import type { FaultRule } from '../../src/simulator/faults.ts';
import type { Misbehaviour } from '../../src/simulator/misbehaviour.ts';
import { type Bench, createBench, type Scene } from '../support/bench.ts';
import { expectNothingLostOrDoubled } from '../support/truth.ts';

const RUNS = Number(process.env.EXPORT_PROPERTY_RUNS ?? 50);

let bench: Bench;

beforeAll(async () => {
  bench = await createBench();
});
afterAll(() => bench.close());

/** Larger than twice the simulator's longest burst, so that each tie group fits into a page. */
const cap = fc.integer({ min: 80, max: 200 });

const FAULTS = [
  500,
  429,
  408,
  'reset',
  'half-length',
  'half-chunked',
  'half-clean',
  'empty',
  'null-results',
] as const;

const fault: fc.Arbitrary<FaultRule> = fc.record(
  {
    fault: fc.constantFrom(...FAULTS),
    every: fc.integer({ min: 3, max: 9 }),
    on: fc.constantFrom('list', 'both'),
    retryAfter: fc.constant(1),
  },
  { requiredKeys: ['fault', 'every'] },
);

const misbehaviour: fc.Arbitrary<Partial<Misbehaviour>> = fc.record({
  shuffleTies: fc.boolean(),
  cap: fc.oneof(fc.constant(Number.POSITIVE_INFINITY), cap, fc.array(cap, { minLength: 2, maxLength: 4 })),
  moves: fc.record({
    append: fc.integer({ min: 0, max: 6 }),
    insertLate: fc.integer({ min: 0, max: 2 }),
    deleteHead: fc.integer({ min: 0, max: 4 }),
    deleteMiddle: fc.integer({ min: 0, max: 1 }),
  }),
  gzip: fc.boolean(),
  bom: fc.boolean(),
  faults: fc.array(fault, { maxLength: 2 }),
});

/** A run, what interrupts it, and what happens to the list before the next run. */
interface Chapter {
  kind: RunKind;
  death: { how: 'told to stop' | 'connection ended' | 'source away'; afterPages: number } | undefined;
  between: { append: number; insertLate: number; deleteHead: number };
}

const chapter: fc.Arbitrary<Chapter> = fc.record({
  kind: fc.constantFrom('run', 'run', 'recheck', 'backfill'),
  death: fc.option(
    fc.record({
      how: fc.constantFrom('told to stop', 'connection ended', 'source away'),
      afterPages: fc.integer({ min: 1, max: 6 }),
    }),
    { nil: undefined },
  ),
  between: fc.record({ append: fc.nat(60), insertLate: fc.nat(3), deleteHead: fc.nat(40) }),
});

const story = fc.record({
  events: fc.nat(500),
  seed: fc.nat(1000),
  createdOnForm: fc.constantFrom('full', 'mixed'),
  pageSize: fc.integer({ min: 40, max: 200 }),
  concurrency: fc.integer({ min: 1, max: 6 }),
  misbehaviour,
  chapters: fc.array(chapter, { minLength: 1, maxLength: 3 }),
});

const ENDINGS = ['interrupted', 'database-away', 'source-away'];

/** Plays one run to its end or to its interruption. */
async function play(
  scene: Scene,
  { kind, death, between }: Chapter,
  usual: Partial<Misbehaviour>,
): Promise<void> {
  const { simulator } = scene;
  const stop = new AbortController();
  const doing: Promise<unknown>[] = [];
  let pages = 0;
  const onChunk = () => {
    if (++pages !== death?.afterPages) return;
    if (death.how === 'told to stop') stop.abort();
    if (death.how === 'source away') simulator.set({ faults: [{ fault: 503 }] });
    if (death.how === 'connection ended') doing.push(scene.endSession());
  };
  await scene.run({ kind, signal: stop.signal, onChunk }).catch((error) => {
    expect(ENDINGS).toContain(error.code);
  });
  await Promise.all(doing);
  simulator.set(usual);
  simulator.append(between.append);
  simulator.insertLate(between.insertLate);
  simulator.deleteHead(between.deleteHead);
}

describe('over HTTP and PostgreSQL, with any behaviour of the source and any end of the runs', () => {
  test(
    'a quiet run later all that the source shows is stored once, and nothing that it never showed',
    async () => {
      await fc.assert(
        fc.asyncProperty(story, async ({ pageSize, concurrency, misbehaviour: usual, chapters, ...list }) => {
          const scene = await bench.open(
            { ...list, ...usual },
            {
              EXPORT_PAGE_SIZE: String(pageSize),
              EXPORT_CONCURRENCY: String(concurrency),
              EXPORT_LOOKBACK: '1h',
              EXPORT_RECHECK_WINDOW: '2h',
              RETRY_LIMIT: '10',
            },
          );
          for (const each of chapters) await play(scene, each, usual);
          scene.simulator.set({ moves: {}, faults: [], shuffleTies: false, cap: Number.POSITIVE_INFINITY });
          await scene.run();
          await expectNothingLostOrDoubled(scene);
          const again = await scene.run();
          expect(again.counters).toMatchObject({ inserted: 0, updated: 0 });
          await scene.close();
        }),
        // On a slow machine fewer stories are played: what fails is a story, never a time. Shrinking, too, ends in time.
        { numRuns: RUNS, interruptAfterTimeLimit: RUNS * 1000, markInterruptAsFailure: false },
      );
    },
    RUNS * 2000,
  );
});
