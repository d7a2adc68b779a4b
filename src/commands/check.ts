import { Command } from 'commander';
import { type CommandContext, withSources } from '../app.ts';
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
import { withHelp } from '../terminal/help.ts';
import { commandLine } from '../terminal/next-steps.ts';
import { type Colours, coloursFor, hang, pad, printable } from '../terminal/screen.ts';
import { describeRoute } from '../uipath/http/proxy.ts';
import { type CommonOptions, withEnvFile, withJson, withOrganization } from './options.ts';
import { withLogLevel } from './with-log-level.ts';

const NAME_WIDTH = 'configuration'.length;

const HELP = {
  notes: [
    'Changes nothing, with one exception: without DATABASE_URL it creates the embedded PostgreSQL if that does not exist yet.',
  ],
  examples: ['node dist/main.js check', 'node -- dist/main.js check --env-file production.env --json'],
};

export function checkCommand(context: CommandContext): Command {
  const command = new Command('check').description(
    'test configuration, database, token, scope, path and sort order, one line each',
  );
  withHelp(command, HELP);
  return withJson(withOrganization(withEnvFile(command))).action((options: CommonOptions) =>
    runCheck(context, options),
  );
}

/** Runs all checks and prints the results. Throws with the code of the most severe failure. */
async function runCheck(context: CommandContext, options: CommonOptions): Promise<void> {
  const colours = coloursFor(context.environment);
  const checklist = createChecklist((check) => {
    if (!options.json) for (const line of describeCheck(check, colours)) context.out(line);
  });
  await runAllChecks(checklist, context, options);
  const { checks } = checklist;
  const mostSevere = mostSevereFailure(checks);
  const next = nextSteps(checks, options);
  if (options.json) {
    const lines = next.map((parts) => parts.join(''));
    context.out(JSON.stringify({ ok: mostSevere === undefined, checks, next: lines }));
  } else {
    const lines = next.flatMap(([text, explanation]) =>
      explanation === undefined ? hang('', text) : hang(text, explanation),
    );
    for (const line of ['', ...lines]) context.out(line);
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
): Promise<void> {
  let quiet: CommandContext | undefined;
  let config: SourcesConfig | undefined;
  await checklist.run('configuration', [], async () => {
    quiet = withLogLevel(context, envFile, 'error');
    const parsed = parseConfig(quiet.environment, 'sources', { organization });
    const { sources } = parsed.config;
    const found = [describeSources(sources), ...describeRoutes(sources, quiet.environment)].join('\n');
    config = parsed.config;
    return parsed.warnings.length === 0 ? ok(found) : warning([found, ...parsed.warnings].join('\n'));
  });
  const canOpen = quiet && hasValidDatabaseVariables(quiet.environment);
  await checkDatabase(checklist, canOpen ? quiet : undefined, envFile);
  if (!config) return checkSource(checklist, undefined);
  const { sources } = config;
  await withSources(config, quiet!.environment, async (open) => {
    for (const source of sources) {
      const own = sources.length === 1 ? checklist : checklist.of(source.organization);
      await checkSource(own, { config: source, open, signal: context.signal });
    }
  });
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
