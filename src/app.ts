/** The composition root: configuration → log, database, source, closed in reverse. */
import {
  type Config,
  type DatabaseConfig,
  loadEnvironment,
  type Needs,
  parseConfig,
  secretsOf,
} from './config.ts';
import { createLog, type Logger } from './log.ts';
import { acquireEmbeddedPostgres } from './postgres/embedded.ts';
import { createPool, type Pool } from './postgres/pool.ts';
import { createRedactor, type Redactor } from './redaction.ts';
import { createUipathSource, type UipathSource } from './uipath/client.ts';

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

export interface App extends DatabaseApp {
  config: Config;
  source: UipathSource;
}

interface AppOptions {
  /** Read in place of `.env`. */
  envFile?: string | undefined;
  /** `context.environment` is all there is: no file is read. */
  isSelfContained?: boolean;
}

interface AppFor {
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
): Promise<DatabaseApp | App> {
  const envFile = options.envFile === undefined ? {} : { envFile: options.envFile };
  const environment = options.isSelfContained
    ? context.environment
    : loadEnvironment(envFile, context.environment);
  const { config, warnings } = parseConfig(environment, options.needs);
  const redactor = createRedactor(secretsOf(config));
  const log = createLog({ level: config.logLevel, redactor });
  for (const warning of warnings) log.warn(warning);

  const url = await openDatabase(config, log, closers);
  const pool = createPool(url, (err) => log.warn({ err }, 'an idle database connection broke'));
  closers.push(() => pool.end());
  const database = { config, log, redactor, pool };
  if (!hasSource(config)) return database;

  const { source: given } = config;
  const { organization: _organization, baseUrl: _baseUrl, ...settings } = given;
  const source = createUipathSource({
    ...settings,
    log,
    environment,
    onToken: (token) => redactor.add(token),
  });
  closers.push(() => source.close());
  return { ...database, config, source };
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

function hasSource(config: DatabaseConfig | Config): config is Config {
  return 'source' in config;
}
