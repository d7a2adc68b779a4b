import {
  type Environment,
  type GivenTexts,
  namesFor,
  readGiven,
  warnOfUnknown,
} from './config-environment.ts';
import { type Findings, problemWith, throwProblems } from './config-findings.ts';
import { parseSource, type SourceConfig } from './config-source.ts';
import { type Values, type VariableName, variableOf } from './config-variables.ts';

export { type Environment, loadEnvironment } from './config-environment.ts';
export type { Credentials, SourceConfig } from './config-source.ts';

/** What a command needs: the source as well as the database, or the database alone. */
export type Needs = 'source' | 'database';

/** For commands that never ask UiPath. No variable of the source was read for it. */
export interface DatabaseConfig {
  database: { kind: 'url'; url: string } | { kind: 'embedded'; directory: string };
  export: {
    /** Cron, five fields, or six with seconds first. */
    schedule: string;
    timezone: string;
    pageSize: number;
    concurrency: number;
    lookbackMs: number;
    recheck: { schedule: string; windowMs: number } | undefined;
    leaseMs: number;
    isSynchronous: boolean;
    stallTimeoutMs: number;
  };
  /** Port 0 is any free port; `undefined` serves nothing. */
  status: { host: string; port: number } | undefined;
  logLevel: Values['LOG_LEVEL'];
}

export interface Config extends DatabaseConfig {
  source: SourceConfig;
}

interface ConfigFor {
  source: Config;
  database: DatabaseConfig;
}

/**
 * The deeply frozen configuration that `env` describes, and warnings for the log. Reads nothing but `env` and the
 * files its `NAME_FILE` variables name. Throws one `configuration` error with every problem; no secret is in it.
 */
export function parseConfig<N extends Needs>(
  env: Environment,
  needs: N,
): { config: ConfigFor[N]; warnings: string[] } {
  const findings: Findings = { problems: [], warnings: [] };
  warnOfUnknown(env, findings);
  const names = namesFor(needs);
  const given = readGiven(env, names, findings);
  const values = parseValues(names, given, findings);
  const source = needs === 'source' ? parseSource(given, values, findings) : undefined;
  throwProblems(findings);
  const config = { ...(source && { source }), ...describeRest(values as Values) };
  return { config: freezeDeep(config) as ConfigFor[N], warnings: findings.warnings };
}

/** The literal values that must appear nowhere, each as it stands and as it is meant (URL-decoded). */
export function secretsOf(config: DatabaseConfig | Config): string[] {
  const secrets: string[] = [];
  if ('source' in config) {
    const { credentials } = config.source;
    secrets.push(credentials.kind === 'client' ? credentials.clientSecret : credentials.accessToken);
  }
  if (config.database.kind === 'url') {
    const { password, searchParams } = new URL(config.database.url);
    secrets.push(password, decodeURIComponent(password), searchParams.get('password') ?? '');
  }
  return [...new Set(secrets)].filter((secret) => secret !== '');
}

function parseValues(names: readonly VariableName[], given: GivenTexts, findings: Findings): Partial<Values> {
  const values: Partial<Record<VariableName, unknown>> = {};
  for (const name of names) {
    const { kind, default: fallback } = variableOf(name);
    const text = given.has(name) ? given.get(name) : fallback;
    // Not given, or not readable, which is a problem already.
    if (text === undefined || text === null) continue;
    const parsed = kind.schema.safeParse(text);
    if (parsed.success) values[name] = parsed.data;
    else findings.problems.push(problemWith(name, text));
  }
  return values as Partial<Values>;
}

function describeRest(values: Values): DatabaseConfig {
  const { DATABASE_URL: url, EXPORT_RECHECK_SCHEDULE: recheckSchedule, STATUS_PORT: port } = values;
  return {
    database:
      url === undefined
        ? { kind: 'embedded', directory: values.EMBEDDED_POSTGRES_DIR }
        : { kind: 'url', url },
    export: {
      schedule: values.EXPORT_SCHEDULE,
      timezone: values.EXPORT_TIMEZONE,
      pageSize: values.EXPORT_PAGE_SIZE,
      concurrency: values.EXPORT_CONCURRENCY,
      lookbackMs: values.EXPORT_LOOKBACK,
      recheck:
        recheckSchedule === undefined
          ? undefined
          : { schedule: recheckSchedule, windowMs: values.EXPORT_RECHECK_WINDOW },
      leaseMs: values.EXPORT_LEASE,
      isSynchronous: values.EXPORT_SYNCHRONOUS_COMMIT,
      stallTimeoutMs: values.EXPORT_STALL_TIMEOUT,
    },
    status: port === undefined ? undefined : { host: values.STATUS_HOST, port },
    logLevel: values.LOG_LEVEL,
  };
}

function freezeDeep<T extends object>(value: T): T {
  for (const part of Object.values(value)) {
    if (typeof part === 'object' && part !== null) freezeDeep(part);
  }
  return Object.freeze(value);
}
