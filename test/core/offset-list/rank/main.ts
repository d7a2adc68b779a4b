/** `npm run enumerate`: the whole enumeration of the rank rule, with the count of histories. */
import { type EnumerationOptions, enumerate, type Mode } from './enumerate.ts';

const args = Object.fromEntries(
  process.argv.slice(2).map((argument) => {
    const [name, value] = argument.replace(/^--/, '').split(/=(.*)/s);
    return [name!, value ?? 'true'];
  }),
);

const options: EnumerationOptions = {
  maxRows: Number(args.rows ?? 3),
  minRows: Number(args['min-rows'] ?? 0),
  changes: Number(args.changes ?? 2),
  cap: Number(args.cap ?? 5),
  runs: Number(args.runs ?? 2),
  mode: (args.mode ?? 'plain') as Mode,
  withScrub: args.scrub === 'true',
  withoutTies: args.ties === 'false',
  maxSeconds: Number(args.seconds ?? Number.POSITIVE_INFINITY),
  describe: Number(args.describe ?? 2),
};
const started = performance.now();
const { examples, ...result } = enumerate(options);
for (const example of examples) process.stdout.write(`--- ${example}\n`);
process.stdout.write(
  `${JSON.stringify({ ...options, ...result, seconds: Math.round(performance.now() - started) / 1000 })}\n`,
);
