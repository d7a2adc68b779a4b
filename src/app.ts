/** The composition root: configuration → log, database, source, closed in reverse. */
import { resolve } from 'node:path';
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
} from './config/config.ts';
import type { Exchange } from './core/exchange.ts';
import { type ByteBudget, createByteBudget } from './core/offset-list/byte-budget.ts';
import { acquireEmbeddedPostgres } from './embedded-postgres/embedded-postgres.ts';
import { createLog, type Logger } from './log.ts';
import { createPool, type Pool } from './postgres/connection/pool.ts';
import { writeNotice } from './stdio.ts';
import { createRedactor, type Redactor } from './text/redaction.ts';
import { createUipathSource, type UipathSource } from './uipath/classic/source.ts';
import { proxySecrets } from './uipath/http/proxy.ts';

/** The current token and the previous one. */
const TOKENS_PER_SOURCE = 2;

/** What `main.ts` passes to a command. */
export interface CommandContext {
  environment: Readonly<Record<string, string | undefined>>;
  /** Aborted by the first SIGTERM or SIGINT. */
  signal: AbortSignal;
  /** Writes a line of the result to standard output. */
  out: (line: string) => void;
}

/** For commands that send no request to UiPath. */
export interface DatabaseApp {
  config: DatabaseConfig;
  log: Logger;
  redactor: Redactor;
  pool: Pool;
}

/** What the export of one organization needs. Its logger adds the organization to each line. */
export interface App extends DatabaseApp {
  config: Config;
  source: UipathSource;
}

/** What the export of several organizations needs: one app each. They share everything except source and logger. */
export interface OrganizationsApp extends DatabaseApp {
  config: SourcesConfig;
  /** At least one, in the order of the configuration. */
  organizations: readonly App[];
}

/** Opens a source with the settings of one organization. */
export type OpenSource = (settings: SourceConfig) => UipathSource;

interface AppOptions {
  /** The file to read instead of `.env`. */
  envFile?: string | undefined;
  /** Uses `context.environment` alone and reads no file. */
  isSelfContained?: boolean;
  /** Limits the app to one of the configured organizations. */
  organization?: string | undefined;
}

interface AppFor {
  sources: OrganizationsApp;
  source: App;
  database: DatabaseApp;
}

/** Opens what `needs` names, runs `work`, and closes everything, also after an error. */
export async function withApp<N extends Needs, T>(
  context: CommandContext,
  options: AppOptions & { needs: N },
  work: (app: AppFor[N]) => Promise<T>,
): Promise<T> {
  const closers: Closers = [];
  try {
    const app = await openApp(context, options, closers);
    return await work(app as AppFor[N]);
  } finally {
    await closeAll(closers);
  }
}

/** Runs `work`, which may open sources, and closes these. Opens no database: `check` tests each part separately. `onExchange` receives each response. */
export async function withSources<T>(
  config: SourcesConfig,
  environment: Environment,
  work: (open: OpenSource) => Promise<T>,
  onExchange?: (exchange: Exchange) => void,
): Promise<T> {
  const closers: Closers = [];
  const logging = createLogging(config, environment);
  try {
    const open: OpenSource = (settings) =>
      openSource(logging, settings, environment, closers, onExchange).source;
    return await work(open);
  } finally {
    await closeAll(closers);
  }
}

type Closers = (() => Promise<void> | void)[];

async function closeAll(closers: Closers): Promise<void> {
  for (const close of closers.reverse()) {
    try {
      await close();
    } catch (error) {
      // A failure must neither keep the rest open nor replace the result of `work`.
      const message = `closing failed: ${error instanceof Error ? error.message : error}`;
      writeNotice('warn', message, { text: `warning: ${message}\n` });
    }
  }
}

type Logging = Pick<DatabaseApp, 'log' | 'redactor'>;

function createLogging(config: DatabaseConfig | Config | SourcesConfig, environment: Environment): Logging {
  const sources = sourcesOf(config);
  const secrets = [...secretsOf(config), ...proxySecrets(environment)];
  const redactor = createRedactor(secrets, { maxTemporary: TOKENS_PER_SOURCE * (sources.length + 1) });
  return { log: createLog({ level: config.logLevel, redactor }), redactor };
}

async function openApp(
  context: CommandContext,
  options: AppOptions & { needs: Needs },
  closers: Closers,
): Promise<DatabaseApp | App | OrganizationsApp> {
  const envFile = options.envFile === undefined ? {} : { envFile: options.envFile };
  const environment = options.isSelfContained
    ? context.environment
    : loadEnvironment(envFile, context.environment);
  const { organization } = options;
  const parsed = parseConfig<Needs>(environment, options.needs, { organization });
  const config: DatabaseConfig | Config | SourcesConfig = parsed.config;
  const sources = sourcesOf(config);
  const { log, redactor } = createLogging(config, environment);
  for (const warning of parsed.warnings) log.warn(warning);

  if (config.database.kind === 'embedded' && !options.isSelfContained) {
    const directory = resolve(config.database.directory);
    log.warn(`DATABASE_URL is not set: the worker's own PostgreSQL in ${directory} stores the events`);
  }
  const budget = createByteBudget();
  const url = await openDatabase(config, log, closers);
  const onIdleError = (err: Error) => log.warn({ err }, 'an idle database connection failed');
  // The variables of libpq are for other servers than the embedded one.
  const ofDatabase = config.database.kind === 'url' ? process.env : {};
  const pool = createPool(url, onIdleError, { sessions: sources.length, environment: ofDatabase });
  closers.push(() => pool.end());
  const database = { config, log, redactor, pool };
  const apps = sources.map((source) => ({
    ...database,
    ...openSource({ ...database, budget }, source, environment, closers),
    config: { ...config, source },
  }));
  return 'sources' in config ? { ...database, config, organizations: apps } : (apps[0] ?? database);
}

function openSource(
  logging: Logging & { budget?: ByteBudget },
  config: SourceConfig,
  environment: Environment,
  closers: Closers,
  onExchange?: (exchange: Exchange) => void,
): Pick<App, 'log' | 'source'> {
  const { organization, log: _log, ...settings } = config;
  const log = logging.log.child({ organization });
  const source = createUipathSource({
    ...settings,
    log,
    environment,
    onExchange,
    budget: logging.budget,
    onToken: (token) => logging.redactor.add(token),
  });
  closers.push(() => source.close());
  return { log, source };
}

function sourcesOf(config: DatabaseConfig | Config | SourcesConfig): readonly SourceConfig[] {
  if ('sources' in config) return config.sources;
  return 'source' in config ? [config.source] : [];
}

async function openDatabase(config: DatabaseConfig, log: Logger, closers: Closers): Promise<string> {
  if (config.database.kind === 'url') return config.database.url;
  const { directory } = config.database;
  const embedded = await acquireEmbeddedPostgres({ directory, log: (message) => log.info(message) });
  closers.push(() => embedded.release());
  return embedded.connectionString;
}
