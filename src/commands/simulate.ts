import { Command, Option } from 'commander';
import { ExportError } from '../core/errors.ts';
import { hostileRows } from '../simulator/hostile.ts';
import type { Replay } from '../simulator/replay.ts';
import { createSimulator, type Simulator } from '../simulator/simulator.ts';
import { MAX_BURST } from '../simulator/stream.ts';
import { withHelp } from '../terminal/help.ts';
import { shellQuote } from '../terminal/next-steps.ts';
import { aborted } from './signal.ts';
import {
  parseCaps,
  parseFault,
  parseHost,
  parseLatency,
  parsePort,
  parseRate,
  parseStart,
  parseWhole,
  readReplay,
  type SimulateOptions,
} from './simulate-options.ts';

const DEFAULT_HOST = '127.0.0.1';
const DEFAULT_PORT = 8090;
/** Time between two new events, and between the events of the last hour. */
const USUAL_SPACING_MS = 30_000;
const HISTORY_MS = 90 * 86_400_000;
/** Events at the end of the history that are as close as new ones. */
const MAX_RECENT = 120;

const HELP = {
  notes: [
    'A source to try commands against without a UiPath: run it in one terminal, and set the variables that it prints in another ' +
      'one. Its history reaches back 90 days from its start. After a restart the events have other times, which is another source ' +
      'for a worker that has stored the former ones; --start-at fixes the times.',
    'With --host 0.0.0.0, containers and other machines can reach it; their worker needs UIPATH_ALLOW_HTTP=true.',
    'Faults: any HTTP status, html, half-length, half-chunked, half-clean, reset, silence, drip, null-results, empty, revoke, ' +
      'huge, bomb, redirect. When: every=N, next=N, after=N, probability=P, on=list|token|both. Also retryAfter=SECONDS, ' +
      'body=message|problem|errorMessage|error|oauth|html, bytesPerSecond=N, bytes=N, location=URL.',
  ],
  examples: [
    'node dist/main.js simulate --events 20000 --appends-per-minute 60',
    'node dist/main.js simulate --page-cap 100,7 --shuffle-ties --fault 429:every=10,retryAfter=1',
  ],
};

/** `simulate`: prints its address and the variables for the worker, and serves until the signal. */
export function simulateCommand(context: { signal: AbortSignal; out: (line: string) => void }): Command {
  return withHelp(
    new Command('simulate')
      .description('serve a simulated UiPath organization, as a source to try against')
      .option('--host <address>', 'address to listen on; 0.0.0.0 for all', parseHost, DEFAULT_HOST)
      .option('--port <port>', 'port to listen on; 0 chooses a free one', parsePort, DEFAULT_PORT)
      .option('--organization <name>', 'name of the organization', 'acme')
      .option('--events <count>', 'number of events at the start', parseWhole, 5000)
      .option('--seed <number>', 'the same seed gives the same events', parseWhole, 1)
      .option(
        '--start-at <time>',
        'time of the first event, with 30 s between two (default: 90 days ago, and the last one is now)',
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
      .option('--details-bytes <bytes>', 'size of the details of each event; 0: as usual', parseWhole, 0)
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
      .addOption(
        new Option(
          '--replay <file>',
          'respond as recorded by "check --record", with the events of the recording',
        ).conflicts(['events', 'organization', 'seed', 'startAt', 'hostile']),
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
  const replay = options.replay === undefined ? undefined : readReplay(options.replay);
  const simulator = await startSimulator(options, replay);
  const timers = [
    every(options.appendsPerMinute, () => simulator.append(1)),
    every(options.latePerMinute, () => simulator.insertLate(1)),
  ];
  try {
    describe(simulator, { isJson: options.json === true, replay }, out);
    await aborted(signal);
  } finally {
    for (const timer of timers) clearInterval(timer);
    await simulator.close();
  }
}

async function startSimulator(options: SimulateOptions, replay: Replay | undefined): Promise<Simulator> {
  const { host, port, startAt, appendsPerMinute } = options;
  const spacingMs = appendsPerMinute > 0 ? 60_000 / appendsPerMinute : USUAL_SPACING_MS;
  const history = planHistory(options.events, spacingMs);
  try {
    const simulator = await createSimulator({
      host,
      port,
      organization: options.organization,
      seed: options.seed,
      ...(replay ? { replay } : {}),
      ...(startAt ? { events: options.events, startAt, spacingMs } : history.first),
      rows: options.hostile ? hostileRows().map((row) => row.text) : [],
      detailsBytes: options.detailsBytes,
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
    if (!startAt && !replay)
      simulator.restore(simulator.snapshot(), { ...history.recent, seed: options.seed + 1 });
    return simulator;
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException;
    if (code === undefined) throw cause;
    throw new ExportError(
      'configuration',
      `Cannot listen on ${host}:${port} (${message}). Use another --host or --port, or --port 0 for a free one.`,
      { cause },
    );
  }
}

/** Most events are spread over 90 days. The recent ones follow each other as new ones do, and end now. */
function planHistory(events: number, spacingMs: number) {
  const now = Date.now();
  const recent = Math.min(MAX_RECENT, Math.ceil(events / 10));
  const recentAt = now - (recent + MAX_BURST) * spacingMs;
  const first = events - recent;
  return {
    first: {
      events: first,
      startAt: new Date(now - HISTORY_MS),
      spacingMs: Math.max(1, (recentAt - (now - HISTORY_MS)) / (first + MAX_BURST)),
    },
    recent: { events: recent, startAt: new Date(recentAt), spacingMs },
  };
}

function describe(
  simulator: Simulator,
  { isJson, replay }: { isJson: boolean; replay: Replay | undefined },
  out: (line: string) => void,
): void {
  const { url, organization, partitionGlobalId, length } = simulator;
  const environment = {
    UIPATH_BASE_URL: url,
    UIPATH_ORGANIZATION: organization,
    UIPATH_CLIENT_ID: simulator.clientId,
    UIPATH_CLIENT_SECRET: simulator.clientSecret,
    ...(replay && pathsOf(replay, simulator)),
    // The worker sends its token over http only to this machine.
    ...(isLoopback(url) ? {} : { UIPATH_ALLOW_HTTP: 'true' }),
  };
  if (isJson) {
    out(JSON.stringify({ url, organization, partitionGlobalId, events: length, environment }));
    return;
  }
  const kind = replay ? 'A recorded' : 'A simulated';
  out(`${kind} UiPath organization "${organization}" with ${length} events listens on ${url}`);
  out('Point the worker at it with:');
  out('');
  for (const [name, value] of Object.entries(environment)) out(`export ${name}=${shellQuote(value)}`);
  out('');
  out('Ctrl-C stops it.');
}

/** The paths of the recording, where they are not the usual ones. */
function pathsOf({ auditPath, tokenPath }: Replay, { url, organization }: Simulator): Record<string, string> {
  return {
    ...(auditPath === `/${organization}/audit_/api/auditlogs` ? {} : { UIPATH_AUDIT_PATH: auditPath }),
    ...(tokenPath === null || tokenPath === `/${organization}/identity_/connect/token`
      ? {}
      : { UIPATH_TOKEN_URL: `${url}${tokenPath}` }),
  };
}

function isLoopback(url: string): boolean {
  return /^(localhost|127\.\d+\.\d+\.\d+|\[::1\])$/.test(new URL(url).hostname);
}

function every(perMinute: number, happen: () => void): NodeJS.Timeout | undefined {
  if (perMinute <= 0) return undefined;
  let due = 0;
  // Checked 10 times a second, so that a high rate needs no faster timer.
  return setInterval(() => {
    for (due += perMinute / 600; due >= 1; due--) happen();
  }, 100);
}
