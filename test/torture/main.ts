/** `npm run torture`: the real process against the simulator and a real PostgreSQL, a fault a round. */
import { Command, InvalidArgumentError } from 'commander';
import { type CampaignOptions, isWrong, playCampaign } from './campaign.ts';
import { FAULTS } from './faults.ts';
import type { Fault, Played } from './play.ts';
import { renderTable, summarize } from './table.ts';
import { openWorkshop, type Workshop } from './workshop.ts';

interface Options {
  rounds: number;
  seed: number;
  fault?: Fault;
  round?: { number: number; attempt: number };
  json?: boolean;
  list?: boolean;
}

/** Of what is wrong in a round, so much is shown. */
const SHOWN = { findings: 5, characters: 400, logLines: 12 };

const program = new Command('torture')
  .description(
    'kills, stops and starves the worker, round after round, and compares the table with the source after each',
  )
  .option('--rounds <n>', 'rounds to play', parseCount, FAULTS.length)
  .option('--seed <n>', 'what is drawn follows from it', parseCount, 1)
  .option('--fault <name>', 'plays this fault only', parseFault)
  .option('--round <n>', 'plays this round of the seed alone, as a failed one named itself', parseRound)
  .option('--json', 'the result as JSON')
  .option('--list', 'lists the faults, and plays nothing')
  .action(torture);
await program.parseAsync();

async function torture(options: Options): Promise<void> {
  if (options.list) {
    for (const { name, does } of FAULTS) process.stdout.write(`${name.padEnd(28)}${does}\n`);
    return;
  }
  const stopped = stopOnSignals();
  let workshop: Workshop | undefined;
  const played: Played[] = [];
  try {
    workshop = await openWorkshop();
    const { cluster, noDisk } = workshop;
    report(`PostgreSQL ${cluster.version}, Node.js ${process.version}, seed ${options.seed}`);
    if (noDisk !== undefined)
      report(`skipped: no file system can be mounted here, so no disk is filled (${noDisk})`);
    // Not the round's end: closing the workshop ends what the round waits for.
    await Promise.race([playCampaign(workshop, campaignOf(options, stopped, played)), aborted(stopped)]);
  } catch (error) {
    // What a signal ended fails in some way; that is not worth a word.
    if (!stopped.aborted) throw error;
  } finally {
    await workshop?.close();
  }
  if (stopped.aborted) process.exit(130);
  finish(options, played, workshop!);
}

function campaignOf(options: Options, signal: AbortSignal, played: Played[]): CampaignOptions {
  const { seed, fault, round } = options;
  return {
    faults: fault ? [fault] : FAULTS,
    seed,
    from: round ?? { number: 1, attempt: 0 },
    rounds: round ? 1 : options.rounds,
    signal,
    onRound(each) {
      played.push(each);
      report(describeRound(each));
      if (isWrong(each)) report(describeFindings(each, options));
    },
  };
}

function describeRound(played: Played): string {
  const { id, fault, durationMs, recoveryMs, rows, isMissed } = played;
  const verdict = isMissed ? 'missed' : isWrong(played) ? 'WRONG' : 'right';
  const recovery = recoveryMs === undefined ? '' : `, recovered in ${Math.round(recoveryMs)} ms`;
  return `${id.padStart(6)}  ${fault.padEnd(28)}${String(Math.round(durationMs)).padStart(6)} ms  ${verdict}  ${rows} rows${recovery}`;
}

function describeFindings(played: Played, { seed, fault }: Options): string {
  const findings = (
    ['broken', 'lost', 'doubled', 'altered', 'falselyComplete', 'falselyGone'] as const
  ).flatMap((kind) =>
    played[kind].slice(0, SHOWN.findings).map((text) => `  ${kind}: ${text.slice(0, SHOWN.characters)}`),
  );
  const only = fault ? ` --fault '${fault.name}'` : '';
  const logs = played.logs.map((log) => log.trim().split('\n').slice(-SHOWN.logLines).join('\n'));
  const again = `  again: npm run torture -- --seed ${seed}${only} --round ${played.id}`;
  return [...findings, again, ...logs.map((log, i) => `  --- process ${i + 1}\n${log}`)].join('\n');
}

function finish(options: Options, played: readonly Played[], { cluster }: Workshop): void {
  const faults = options.fault ? [options.fault] : FAULTS;
  const summary = summarize(faults, played);
  const wrong = played.filter(isWrong).map(({ id }) => id);
  const facts = { seed: options.seed, postgres: cluster.version, node: process.version, wrong };
  if (options.json) process.stdout.write(`${JSON.stringify({ ...facts, ...summary })}\n`);
  else {
    process.stdout.write(`${renderTable(summary)}\n\n`);
    for (const { fault, notes } of summary.faults) {
      for (const [note, times] of Object.entries(notes))
        process.stdout.write(`${fault}: ${note}, ${times} times\n`);
    }
    process.stdout.write(
      `seed ${facts.seed}, ${summary.total.rounds} rounds, PostgreSQL ${facts.postgres}, Node.js ${facts.node}\n`,
    );
    if (wrong.length > 0) process.stdout.write(`wrong: round ${wrong.join(', ')}\n`);
  }
  process.exitCode = wrong.length > 0 ? 1 : 0;
}

/** The first signal ends the round and cleans up. */
function stopOnSignals(): AbortSignal {
  const controller = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(signal, () => {
      report(`${signal}: cleaning up`);
      controller.abort();
    });
  }
  return controller.signal;
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
}

function report(line: string): void {
  process.stderr.write(`${line}\n`);
}

function parseCount(text: string): number {
  if (!/^[1-9]\d{0,8}$/.test(text)) throw new InvalidArgumentError('It must be a whole number from 1.');
  return Number(text);
}

function parseRound(text: string): { number: number; attempt: number } {
  const [, number, attempt = '0'] = /^([1-9]\d*)(?:\.(\d))?$/.exec(text) ?? [];
  if (number === undefined) throw new InvalidArgumentError('It must be a round such as 17 or 17.2.');
  return { number: Number(number), attempt: Number(attempt) };
}

function parseFault(name: string): Fault {
  const fault = FAULTS.find((known) => known.name === name);
  if (!fault)
    throw new InvalidArgumentError(`It must be one of ${FAULTS.map((known) => known.name).join('; ')}.`);
  return fault;
}
