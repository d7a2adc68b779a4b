import { Command, InvalidArgumentError } from 'commander';

export interface Options {
  rounds: number;
  /** Typical events in a backfill. */
  events: number;
  /** Events in the backfill that shows whether a growing table slows it down. */
  growthEvents: number;
  /** Events that the questions of docs/bi.md are asked of. */
  biEvents: number;
  /** Sections asked for, in the order of the program's list. */
  only: string[];
  isShort: boolean;
  /** Prints the plan of each query that is measured. */
  plans: boolean;
  /** Where the figures go. */
  json: string;
}

/** Of a page, as the worker asks for by default. */
export const PAGE_SIZE = 1000;

const FULL = { rounds: 3, events: 200_000, growthEvents: 2_200_000, biEvents: 2_000_000 };
const SHORT = { rounds: 1, events: 5_000, growthEvents: 11_000, biEvents: 20_000 };
const MOST = 100_000_000;

interface Given {
  rounds?: number;
  events?: number;
  growthEvents?: number;
  biEvents?: number;
  only?: string[];
  short?: boolean;
  plans?: boolean;
  json: string;
}

/** The program, which hands the options to `run`, and throws commander's error about a wrong one. */
export function createProgram(
  sections: { standard: readonly string[]; extra: readonly string[] },
  run: (options: Options) => Promise<void>,
): Command {
  const { standard, extra } = sections;
  return new Command('bench')
    .description('measures the worker against what the machine, PostgreSQL and a plain program can do')
    .option('--rounds <n>', `counted rounds; one more warms up (default: ${FULL.rounds})`, count)
    .option('--events <n>', `events in a backfill (default: ${FULL.events})`, events)
    .option('--growth-events <n>', `events for the growing table (default: ${FULL.growthEvents})`, events)
    .option('--bi-events <n>', `events for the questions of docs/bi.md (default: ${FULL.biEvents})`, events)
    .option('--only <sections>', `of ${standard.join(', ')}; or, on request, ${extra.join(', ')}`, (text) =>
      parseSections(text, [...standard, ...extra]),
    )
    .option('--short', 'everything small, in less than a minute: shows that it works, not how fast it is')
    .option('--plans', 'prints each query of bi and tools with its plan')
    .option('--json <file>', 'where the figures go', 'build/bench.json')
    .allowExcessArguments(false)
    .exitOverride()
    .action((given: Given) => run(settle(given, standard)));
}

function settle(
  { only, short = false, plans = false, json, ...given }: Given,
  standard: readonly string[],
): Options {
  return { ...(short ? SHORT : FULL), ...given, only: only ?? [...standard], isShort: short, plans, json };
}

function parseSections(text: string, known: readonly string[]): string[] {
  const names = text.split(',').map((name) => name.trim());
  const unknown = names.filter((name) => !known.includes(name));
  if (unknown.length > 0)
    throw new InvalidArgumentError(`There is no "${unknown.join('", "')}". Sections: ${known.join(', ')}.`);
  return known.filter((name) => names.includes(name));
}

function count(text: string): number {
  const value = Number(text);
  if (!/^\d+$/.test(text) || value < 1 || value > MOST)
    throw new InvalidArgumentError(`Expected a whole number from 1 to ${MOST}.`);
  return value;
}

function events(text: string): number {
  const value = count(text);
  if (value < PAGE_SIZE) throw new InvalidArgumentError(`Expected at least a page, ${PAGE_SIZE}.`);
  return value;
}
