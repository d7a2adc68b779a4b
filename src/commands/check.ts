import { Command } from 'commander';
import { type CommandContext, type OpenSource, withSources } from '../app.ts';
import {
  type Check,
  type Checklist,
  createChecklist,
  mostSevereFailure,
  ok,
  warning,
} from '../checks/checklist.ts';
import { checkDatabase } from '../checks/database.ts';
import { checkSource } from '../checks/source.ts';
import { type Environment, parseConfig, type SourceConfig, type SourcesConfig } from '../config/config.ts';
import { ExportError } from '../core/errors.ts';
import type { Exchange } from '../core/exchange.ts';
import { createRecordingFile, type RecordingFile } from '../recording/file.ts';
import { createRecording } from '../recording/record.ts';
import { withHelp } from '../terminal/help.ts';
import { commandLine } from '../terminal/next-steps.ts';
import { type Colours, coloursFor, hang, pad, printable } from '../terminal/screen.ts';
import { count } from '../text/format.ts';
import { describeRoute } from '../uipath/http/proxy.ts';
import { versionText } from '../version.ts';
import { type CommonOptions, withEnvFile, withJson, withOrganization } from './options.ts';
import { withLogLevel } from './with-log-level.ts';

const NAME_WIDTH = 'configuration'.length;

const HELP = {
  notes: [
    'Changes nothing, with one exception: without DATABASE_URL it creates the embedded PostgreSQL if that does not exist yet.',
    '--record writes what UiPath responded to each request, as a report for the authors of this program. Names, addresses, ids, hosts, ' +
      'details and secrets are replaced; "simulate --replay FILE" serves such a file. An existing file is not overwritten.',
  ],
  examples: [
    'node dist/main.js check',
    'node dist/main.js check --record uipath.json',
    'node -- dist/main.js check --env-file production.env --json',
  ],
};

export function checkCommand(context: CommandContext): Command {
  const command = new Command('check').description(
    'test configuration, database, token, scope, path and sort order, one line each',
  );
  withHelp(command, HELP);
  return withJson(withOrganization(withEnvFile(command)))
    .option(
      '--record <file>',
      'write the responses of UiPath to a new file, with everything confidential replaced',
    )
    .action((options: CheckOptions) => runCheck(context, options));
}

interface CheckOptions extends CommonOptions {
  record?: string;
}

/** The responses of the checks, and the organization that they belong to. */
interface Recorder {
  exchanges: Exchange[];
  source?: SourceConfig;
}

/** Runs all checks and prints the results. Throws with the code of the most severe failure. */
async function runCheck(context: CommandContext, options: CheckOptions): Promise<void> {
  if (options.record === undefined) return await checkAndReport(context, options);
  const file = await createRecordingFile(options.record);
  try {
    await checkAndReport(context, options, file);
  } finally {
    await file.close();
  }
}

async function checkAndReport(
  context: CommandContext,
  options: CheckOptions,
  file?: RecordingFile,
): Promise<void> {
  const colours = coloursFor(context.environment);
  const checklist = createChecklist((check) => {
    if (!options.json) for (const line of describeCheck(check, colours)) context.out(line);
  });
  const recorder: Recorder = { exchanges: [] };
  let recorded: string | undefined;
  const { checks } = checklist;
  try {
    await runAllChecks(checklist, context, options, file && recorder);
  } finally {
    // Also after a signal: the responses so far may explain why somebody lost patience.
    if (file) recorded = await writeRecording(file, options.record!, recorder, checks);
  }
  const mostSevere = mostSevereFailure(checks);
  const next = nextSteps(checks, options);
  if (options.json) {
    const lines = next.map((parts) => parts.join(''));
    context.out(JSON.stringify({ ok: mostSevere === undefined, checks, next: lines, recorded }));
  } else {
    const lines = next.flatMap(([text, explanation]) =>
      explanation === undefined ? hang('', text) : hang(text, explanation),
    );
    for (const line of ['', ...(recorded === undefined ? [] : [...hang('', recorded), '']), ...lines])
      context.out(line);
  }
  if (!mostSevere) return;
  const failed = checks.filter(({ outcome }) => outcome === 'failed');
  throw new ExportError(
    mostSevere.code,
    `${failed.length} of ${checks.length} checks failed: ${failed.map(nameCheck).join(', ')}.`,
  );
}

async function runAllChecks(
  checklist: Checklist,
  context: CommandContext,
  { envFile, organization }: CommonOptions,
  recorder: Recorder | undefined,
): Promise<void> {
  let quiet: CommandContext | undefined;
  let config: SourcesConfig | undefined;
  await checklist.run('configuration', [], async () => {
    quiet = withLogLevel(context, envFile, 'error');
    const parsed = parseConfig(quiet.environment, 'sources', { organization });
    const { sources } = parsed.config;
    if (recorder) recorder.source = onlySource(parsed.config);
    const found = [describeSources(sources), ...describeRoutes(sources, quiet.environment)].join('\n');
    config = parsed.config;
    return parsed.warnings.length === 0 ? ok(found) : warning([found, ...parsed.warnings].join('\n'));
  });
  const canOpen = quiet && hasValidDatabaseVariables(quiet.environment);
  await checkDatabase(checklist, canOpen ? quiet : undefined, envFile);
  if (!config) return checkSource(checklist, undefined);
  const { sources } = config;
  const onExchange = recorder && ((exchange: Exchange) => void recorder.exchanges.push(exchange));
  const checkSources = async (open: OpenSource) => {
    for (const source of sources) {
      const own = sources.length === 1 ? checklist : checklist.of(source.organization);
      await checkSource(own, { config: source, open, signal: context.signal });
    }
  };
  await withSources(config, quiet!.environment, checkSources, onExchange);
}

function onlySource({ sources }: SourcesConfig): SourceConfig {
  const [first, ...others] = sources;
  if (others.length === 0) return first!;
  throw new ExportError(
    'configuration',
    `--record records one organization, and ${sources.length} are configured: add --organization NAME.`,
  );
}

/** Returns a sentence for the person. */
async function writeRecording(
  file: RecordingFile,
  name: string,
  { exchanges, source }: Recorder,
  checks: readonly Check[],
): Promise<string> {
  if (source === undefined || exchanges.length === 0) {
    return `Nothing was recorded in ${name}: UiPath sent no response.`;
  }
  const { organization, auditUrl, credentials } = source;
  const recording = createRecording({
    exchanges,
    organization,
    auditUrl,
    tokenUrl: credentials.kind === 'client' ? credentials.tokenUrl : null,
    confidential:
      credentials.kind === 'client'
        ? [credentials.clientId, credentials.clientSecret]
        : [credentials.accessToken],
    checks: checks.map(({ name, outcome }) => ({ name, outcome })),
    program: versionText,
    recordedAt: new Date(),
  });
  await file.write(`${JSON.stringify(recording, null, 2)}\n`);
  return (
    `Recorded ${count(exchanges.length, 'response')} in ${name}, with names, addresses, ids, details and secrets replaced. Read it ` +
    'before you send it.'
  );
}

function describeSources(sources: readonly SourceConfig[]): string {
  const [first, ...rest] = sources;
  if (rest.length === 0) return `organization ${first!.organization}, list ${first!.auditUrl}`;
  return [
    `${sources.length} organizations:`,
    ...sources.map(({ organization, auditUrl }) => `${organization}, list ${auditUrl}`),
  ].join('\n');
}

/** How each host is reached, if a variable names a proxy. Throws `configuration` if that is not the URL of a proxy. */
function describeRoutes(sources: readonly SourceConfig[], environment: Environment): string[] {
  const urls = sources.flatMap(({ auditUrl, credentials }) =>
    credentials.kind === 'client' ? [credentials.tokenUrl, auditUrl] : [auditUrl],
  );
  return [...new Set(urls.flatMap((url) => describeRoute(url, environment) ?? []))];
}

/** The variables of the database may be valid although those of the source are not. */
function hasValidDatabaseVariables(environment: Environment): boolean {
  try {
    parseConfig(environment, 'database');
    return true;
  } catch {
    return false;
  }
}

const OUTCOMES = {
  ok: { mark: '✓', colour: 'green' },
  warning: { mark: '!', colour: 'yellow' },
  failed: { mark: '✗', colour: 'red' },
  skipped: { mark: '-', colour: 'dim' },
} as const;

function describeCheck({ name, organization, outcome, found }: Check, colours: Colours): string[] {
  const { mark, colour } = OUTCOMES[outcome];
  const shown = outcome === 'skipped' ? colours.dim(found) : printable(found);
  const subject = organization === undefined ? '' : `${printable(organization)}: `;
  return hang(`${colours[colour](mark)} ${pad(name, NAME_WIDTH)}  `, `${subject}${shown}`);
}

function nameCheck({ name, organization }: Check): string {
  return organization === undefined ? name : `${name} of ${organization}`;
}

/** Sentences, and commands with an explanation; not yet wrapped to the terminal. */
function nextSteps(checks: readonly Check[], options: CommonOptions): [text: string, explanation?: string][] {
  const line = (name: string) => `  ${commandLine(name, options)}`;
  const failed = checks.filter(({ outcome }) => outcome === 'failed');
  const [first, ...others] = failed.map(nameCheck);
  if (first !== undefined) {
    const then = others.length === 0 ? '' : `, then ${others.join(' and ')}`;
    return [[`Fix the ${first} check first${then}: see the lines above. Then run:`], [line('check')]];
  }
  const commands = [line('run'), line('start')];
  const width = Math.max(...commands.map((command) => command.length));
  const [run, start] = commands.map((command) => `${pad(command, width)}   `);
  return [
    ['All checks passed. Next:'],
    [run!, 'exports once: everything the first time, then new events'],
    [start!, 'exports on a schedule and serves a status page'],
  ];
}
