import { describe, expect, test } from '@jest/globals';
import { createProgram, type Options } from '../../bench/options.ts';

const SECTIONS = { standard: ['backfill', 'latency', 'quiet'], extra: ['ledger'] };

async function parse(...args: string[]): Promise<Options> {
  let parsed: Options | undefined;
  const program = createProgram(SECTIONS, async (options) => {
    parsed = options;
  });
  program.configureOutput({ writeErr: () => {} });
  await program.parseAsync(args, { from: 'user' });
  return parsed!;
}

test('without options everything of the issue is measured, and no extra section', async () => {
  expect(await parse()).toEqual({
    rounds: 3,
    events: 200_000,
    growthEvents: 2_200_000,
    biEvents: 2_000_000,
    only: ['backfill', 'latency', 'quiet'],
    isShort: false,
    plans: false,
    json: 'build/bench.json',
  });
});

test('the short form is small, and what is named beside it counts', async () => {
  const options = await parse('--short', '--events', '5000');
  expect(options).toMatchObject({ isShort: true, rounds: 1, events: 5000 });
  expect(options.growthEvents).toBeLessThan(100_000);
});

test('sections are played in their own order, extra ones too', async () => {
  expect((await parse('--only', 'ledger, quiet,backfill')).only).toEqual(['backfill', 'quiet', 'ledger']);
});

describe('a wrong option is refused with what was expected:', () => {
  test.each([
    [['--rounds', '0'], 'a whole number from 1'],
    [['--rounds', '1.5'], 'a whole number from 1'],
    [['--events', '10'], 'at least a page, 1000'],
    [['--only', 'backfill,speed'], 'There is no "speed". Sections: backfill, latency, quiet, ledger.'],
    [['--fast'], "unknown option '--fast'"],
    [['backfill'], 'too many arguments'],
  ])('%j', async (args, message) => {
    await expect(parse(...args)).rejects.toThrow(message);
  });
});
