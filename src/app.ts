/** The composition root: configuration → log, database, source, closed in reverse. */
import {
  type Config,
  type DatabaseConfig,
  type Environment,
  loadEnvironment,
  type Needs,
  parseConfig,
  type SourceConfig,
  type SourcesConfig,
  secretsOf,
} from './config.ts';
import { createLog, type Logger } from './log.ts';
import { acquireEmbeddedPostgres } from './postgres/embedded.ts';
import { createPool, type Pool } from './postgres/pool.ts';
import { createRedactor, type Redactor } from './redaction.ts';
import { createUipathSource, type UipathSource } from './uipath/client.ts';

/** The token in use and the one before. */
const TOKENS_EACH = 2;

/** What a command is given by `main.ts`. */
export interface CommandContext {
  environment: Readonly<Record<string, string | undefined>>;
  /** Aborted by the first SIGTERM or SIGINT. */
  signal: AbortSignal;
  /** Writes a line of the result to standard output. */
  out: (line: string) => void;
}

/** What commands that never ask UiPath work with. */
export interface DatabaseApp {
  config: DatabaseConfig;
  log: Logger;
  redactor: Redactor;
  pool: Pool;
}

/** What one organization is exported with. Its log names the organization in every line. */
export interface App extends DatabaseApp {
  config: Config;
  source: UipathSource;
}

/** What several organizations are exported with: an app of each, which share everything but source and log. */
export interface OrganizationsApp extends DatabaseApp {
  config: SourcesConfig;
  /** One at least, in the order of the configuration. */
  organizations: readonly App[];
}

interface AppOptions {
  /** Read in place of `.env`. */
  envFile?: string | undefined;
  /** `context.environment` is all there is: no file is read. */
  isSelfContained?: boolean;
  /** The one organization that is asked for, of those that are configured. */
  organization?: string | undefined;
}

interface AppFor {
  sources: OrganizationsApp;
  source: App;
  database: DatabaseApp;
}

/** Opens what `needs` names, does `work`, and closes everything again, whatever happens. */
export async function withApp<N extends Needs, T>(
  context: CommandContext,
  options: AppOptions & { needs: N },
  work: (app: AppFor[N]) => Promise<T>,
): Promise<T> {
  const closers: (() => Promise<void> | void)[] = [];
  try {
    const app = await openApp(context, options, closers);
    return await work(app as AppFor[N]);
  } finally {
    for (const close of closers.reverse()) {
      try {
        await close();
      } catch (error) {
        // Nothing must keep the rest from being closed, nor hide what the work came to.
        process.stderr.write(`warning: closing failed: ${error instanceof Error ? error.message : error}\n`);
      }
    }
  }
}

async function openApp(
  context: CommandContext,
  options: AppOptions & { needs: Needs },
  closers: (() => Promise<void> | void)[],
): Promise<DatabaseApp | App | OrganizationsApp> {
  const envFile = options.envFile === undefined ? {} : { envFile: options.envFile };
  const environment = options.isSelfContained
    ? context.environment
    : loadEnvironment(envFile, context.environment);
  const { organization } = options;
  const parsed = parseConfig<Needs>(environment, options.needs, { organization });
  const config: DatabaseConfig | Config | SourcesConfig = parsed.config;
  const sources = sourcesOf(config);
  const redactor = createRedactor(secretsOf(config), { mostPassing: TOKENS_EACH * (sources.length + 1) });
  const log = createLog({ level: config.logLevel, redactor });
  for (const warning of parsed.warnings) log.warn(warning);

  const url = await openDatabase(config, log, closers);
  const onIdleError = (err: Error) => log.warn({ err }, 'an idle database connection broke');
  const pool = createPool(url, onIdleError, { sessions: sources.length });
  closers.push(() => pool.end());
  const database = { config, log, redactor, pool };
  const apps = sources.map((source) => openSource(database, source, environment, closers));
  return 'sources' in config ? { ...database, config, organizations: apps } : (apps[0] ?? database);
}

function openSource(
  database: DatabaseApp,
  config: SourceConfig,
  environment: Environment,
  closers: (() => Promise<void> | void)[],
): App {
  const { redactor } = database;
  const { organization, log: _log, baseUrl: _baseUrl, ...settings } = config;
  const log = database.log.child({ organization });
  const source = createUipathSource({
    ...settings,
    log,
    environment,
    onToken: (token) => redactor.add(token),
  });
  closers.push(() => source.close());
  return { ...database, config: { ...database.config, source: config }, log, source };
}

function sourcesOf(config: DatabaseConfig | Config | SourcesConfig): readonly SourceConfig[] {
  if ('sources' in config) return config.sources;
  return 'source' in config ? [config.source] : [];
}

async function openDatabase(
  config: DatabaseConfig,
  log: Logger,
  closers: (() => Promise<void> | void)[],
): Promise<string> {
  if (config.database.kind === 'url') return config.database.url;
  const { directory } = config.database;
  const embedded = await acquireEmbeddedPostgres({ directory, log: (message) => log.info(message) });
  closers.push(() => embedded.release());
  return embedded.connectionString;
}
