/**
 * `npm run enumerate`: the whole enumeration of the rank rule, one line a part, with the number of histories. With options, one part:
 * `--rows=4 --changes=2 --cap=5 --mode=twins --runs=2 --scrub --seconds=600 --describe=2`.
 */
import { type EnumerationOptions, enumerate, type Mode } from './enumerate.ts';

const WITH_CHANGES: readonly Mode[] = [
  'plain',
  'twins',
  'prefetch',
  'hole',
  'hand',
  'remainder',
  'retired',
  'total-1',
  'total+1',
  'total-cap',
  'rejected',
  'lag',
];

const WHOLE: readonly EnumerationOptions[] = [
  ...WITH_CHANGES.map((mode) => ({ maxRows: 3, changes: 2, cap: 5, mode, maxSeconds: 600 })),
  { maxRows: 3, changes: 1, cap: 5, mode: 'total-any', maxSeconds: 120 },
  { maxRows: 3, changes: 2, cap: 5, withScrub: true },
  { maxRows: 4, changes: 2, cap: 6, maxSeconds: 600 },
  { maxRows: 5, changes: 2, cap: 7, ops: ['late', 'inside', 'head'], maxSeconds: 600 },
  { maxRows: 2, changes: 3, cap: 5, maxSeconds: 600 },
  { maxRows: 4, changes: 1, cap: 3, withoutTies: true },
];

const given = Object.fromEntries(
  process.argv.slice(2).map((argument) => {
    const [name, value] = argument.replace(/^--/, '').split(/=(.*)/s);
    return [name!, value ?? 'true'];
  }),
);

function part(): EnumerationOptions {
  const number = (name: string, otherwise: number) => Number(given[name] ?? otherwise);
  return {
    maxRows: number('rows', 3),
    changes: number('changes', 2),
    cap: number('cap', 5),
    runs: number('runs', 2),
    mode: (given.mode ?? 'plain') as Mode,
    withScrub: given.scrub === 'true',
    maxSeconds: number('seconds', Number.POSITIVE_INFINITY),
    describe: number('describe', 2),
  };
}

let histories = 0;
let faults = 0;
for (const options of Object.keys(given).length > 0 ? [part()] : WHOLE) {
  const started = performance.now();
  const { examples, ...result } = enumerate(options);
  for (const example of examples) process.stdout.write(`--- ${example}\n`);
  const seconds = Math.round(performance.now() - started) / 1000;
  process.stdout.write(`${JSON.stringify({ ...options, ...result, seconds })}\n`);
  histories += result.histories;
  faults += Object.values(result.faults).reduce((sum, count) => sum + count);
}
process.stdout.write(`${histories} histories of runs, ${faults} faults\n`);
process.exitCode = faults > 0 ? 1 : 0;
