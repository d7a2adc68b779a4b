import { Command, Option } from 'commander';
import { ExportError } from '../core/errors.ts';
import { hostileRows } from '../simulator/hostile.ts';
import { createSimulator, type Simulator } from '../simulator/simulator.ts';
import { MAX_BURST } from '../simulator/stream.ts';
import { withHelp } from '../terminal/help.ts';
import { shellQuote } from '../terminal/next-steps.ts';
import { aborted } from './signal.ts';
import {
  parseCaps,
  parseFault,
  parseLatency,
  parsePort,
  parseRate,
  parseStart,
  parseWhole,
  type SimulateOptions,
} from './simulate-options.ts';

const USUAL_SPACING_MS = 30_000;

const HELP = {
  notes: [
    'Faults: any HTTP status, html, half-length, half-chunked, half-clean, reset, silence, drip, null-results, empty, revoke, ' +
      'huge, bomb, redirect. When: every=N, next=N, after=N, probability=P, on=list|token|both. Also retryAfter=SECONDS, ' +
      'body=message|problem|errorMessage|error|oauth|html, bytesPerSecond=N, bytes=N, location=URL.',
  ],
  examples: [
    'node dist/main.js simulate --port 8090 --events 20000 --appends-per-minute 60',
    'node dist/main.js simulate --page-cap 100,7 --shuffle-ties --fault 429:every=10,retryAfter=1',
  ],
};

/** `simulate`: prints its address and the variables for the worker, and serves until the signal. */
export function simulateCommand(context: { signal: AbortSignal; out: (line: string) => void }): Command {
  return withHelp(
    new Command('simulate')
      .description('serve a simulated UiPath organization on 127.0.0.1, for tests')
      .option('--port <port>', 'port to listen on; 0 chooses a free one', parsePort, 0)
      .option('--organization <name>', 'name of the organization', 'acme')
      .option('--events <count>', 'number of events at the start', parseWhole, 5000)
      .option('--seed <number>', 'the same seed gives the same events', parseWhole, 1)
      .option(
        '--start-at <time>',
        'time of the first event (default: chosen so that the last one is now)',
        parseStart,
      )
      .option('--appends-per-minute <rate>', 'new events while it runs', parseRate, 0)
      .option(
        '--late-per-minute <rate>',
        'events that appear up to 10 minutes late while it runs',
        parseRate,
        0,
      )
      .option('--hostile', 'add some 200 rows that are hard to store')
      .option(
        '--page-cap <rows>',
        'most rows in a response; of a list like 50,10 each request takes the next',
        parseCaps,
      )
      .option('--latency <ms>', 'time before each response, or a range like 50-200', parseLatency, 0)
      .option('--shuffle-ties', 'return events with the same time in a different order at every request')
      .option('--ignore-sort-order', 'always return the newest events first')
      .option('--gzip', 'compress for clients that accept it')
      .option('--prerender', 'render the events before listening, for measuring')
      .option('--append-rate <rows>', 'events that appear after each list request', parseRate, 0)
      .option('--late-rate <rows>', 'events that appear late after each list request', parseRate, 0)
      .option('--delete-head-rate <rows>', 'oldest events deleted after each list request', parseRate, 0)
      .option('--delete-middle-rate <rows>', 'random events deleted after each list request', parseRate, 0)
      .option('--token-life <seconds>', 'lifetime of a token', parseWhole, 3600)
      .addOption(
        new Option('--fault <rule>', 'an HTTP status or a fault, and when it occurs; may be repeated')
          .argParser(parseFault)
          .default([], 'none'),
      )
      .option('--json', 'print address and variables as one JSON object')
      .action((options: SimulateOptions) => runSimulate(options, context.signal, context.out)),
    HELP,
  );
}

/** Serves until the signal is aborted. Throws `configuration` when the port is not available. */
async function runSimulate(
  options: SimulateOptions,
  signal: AbortSignal,
  out: (line: string) => void,
): Promise<void> {
  const simulator = await startSimulator(options);
  const timers = [
    every(options.appendsPerMinute, () => simulator.append(1)),
    every(options.latePerMinute, () => simulator.insertLate(1)),
  ];
  try {
    describe(simulator, options.json === true, out);
    await aborted(signal);
  } finally {
    for (const timer of timers) clearInterval(timer);
    await simulator.close();
  }
}

async function startSimulator(options: SimulateOptions): Promise<Simulator> {
  const { port, events, appendsPerMinute } = options;
  const spacingMs = appendsPerMinute > 0 ? 60_000 / appendsPerMinute : USUAL_SPACING_MS;
  try {
    return await createSimulator({
      port,
      events,
      organization: options.organization,
      seed: options.seed,
      spacingMs,
      startAt: options.startAt ?? new Date(Date.now() - (events + MAX_BURST) * spacingMs),
      rows: options.hostile ? hostileRows().map((row) => row.text) : [],
      latencyMs: options.latency,
      cap: options.pageCap ?? Number.POSITIVE_INFINITY,
      shuffleTies: options.shuffleTies === true,
      ignoreSortOrder: options.ignoreSortOrder === true,
      gzip: options.gzip === true,
      prerender: options.prerender === true,
      tokenLifeSeconds: options.tokenLife,
      moves: {
        append: options.appendRate,
        insertLate: options.lateRate,
        deleteHead: options.deleteHeadRate,
        deleteMiddle: options.deleteMiddleRate,
      },
      faults: options.fault,
    });
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException;
    if (code === undefined) throw cause;
    throw new ExportError(
      'configuration',
      `Cannot listen on 127.0.0.1:${port} (${message}). Use another --port.`,
      {
        cause,
      },
    );
  }
}

function describe(simulator: Simulator, isJson: boolean, out: (line: string) => void): void {
  const { url, organization, partitionGlobalId, length } = simulator;
  const environment = {
    UIPATH_BASE_URL: url,
    UIPATH_ORGANIZATION: organization,
    UIPATH_CLIENT_ID: simulator.clientId,
    UIPATH_CLIENT_SECRET: simulator.clientSecret,
  };
  if (isJson) {
    out(JSON.stringify({ url, organization, partitionGlobalId, events: length, environment }));
    return;
  }
  out(`A simulated UiPath organization "${organization}" with ${length} events listens on ${url}`);
  out('Point the worker at it with:');
  out('');
  for (const [name, value] of Object.entries(environment)) out(`export ${name}=${shellQuote(value)}`);
  out('');
  out('Ctrl-C stops it.');
}

function every(perMinute: number, happen: () => void): NodeJS.Timeout | undefined {
  if (perMinute <= 0) return undefined;
  let due = 0;
  // Checked 10 times a second, so that a high rate needs no faster timer.
  return setInterval(() => {
    for (due += perMinute / 600; due >= 1; due--) happen();
  }, 100);
}
