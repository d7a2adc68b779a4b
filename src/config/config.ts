import { ExportError } from '../core/errors.ts';
import { closest } from '../text/suggest.ts';
import { type Environment, fileWarnings, type GivenTexts, readGiven, warnOfUnknown } from './environment.ts';
import { findDuplicates, findSameLists, mergeFindings, readOrganizations } from './organizations.ts';
import { type Findings, problemWith, quote, throwProblems } from './problems.ts';
import { parseSource, type SourceConfig } from './source.ts';
import {
  ORGANIZATIONS_FILE,
  sourceNames,
  type Values,
  type VariableName,
  variableNames,
  variableOf,
} from './variables.ts';

export { type Environment, loadEnvironment } from './environment.ts';
export type { SourceConfig } from './source.ts';

/** What a command needs: all organizations, or one, as well as the database, or the database alone. */
export type Needs = 'sources' | 'source' | 'database';

/** For commands that never ask UiPath. No variable of the source was read for it. */
export interface DatabaseConfig {
  database: { kind: 'url'; url: string } | { kind: 'embedded'; directory: string };
  export: {
    /** Cron, five fields, or six with seconds first. */
    schedule: string;
    timezone: string;
    pageSize: number;
    concurrency: number;
    parallelOrganizations: number;
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

/** For one organization. */
export interface Config extends DatabaseConfig {
  source: SourceConfig;
}

/** For all of them, or the one that was chosen: one at least, each name once. */
export interface SourcesConfig extends DatabaseConfig {
  sources: readonly SourceConfig[];
}

interface ConfigFor {
  sources: SourcesConfig;
  source: Config;
  database: DatabaseConfig;
}

/**
 * The deeply frozen configuration that `env` describes, of all organizations or of the one chosen, and warnings for the log.
 * Reads nothing but `env` and the files that it names. Throws one `configuration` error with every problem; no secret is in
 * it.
 */
export function parseConfig<N extends Needs>(
  env: Environment,
  needs: N,
  { organization }: { organization?: string | undefined } = {},
): { config: ConfigFor[N]; warnings: string[] } {
  const findings: Findings = { problems: [], warnings: [...(env[fileWarnings] ?? [])] };
  warnOfUnknown(env, findings);
  const shared = parseValues(env, sharedNames, findings);
  const sources =
    needs === 'database' ? [] : parseSources(env, shared.values.UIPATH_ORGANIZATIONS_FILE, findings);
  throwProblems(findings);
  const chosen = organization === undefined ? sources : choose(sources, organization);
  const rest = describeRest(shared.values as Values);
  const config = { ...describeSources(needs, chosen), ...rest };
  return { config: freezeDeep(config) as ConfigFor[N], warnings: findings.warnings };
}

/** The literal values that must appear nowhere, each as it stands and as it is meant (URL-decoded). */
export function secretsOf(config: DatabaseConfig | Config | SourcesConfig): string[] {
  const sources = 'sources' in config ? config.sources : 'source' in config ? [config.source] : [];
  const secrets = sources.map(({ credentials }) =>
    credentials.kind === 'client' ? credentials.clientSecret : credentials.accessToken,
  );
  if (config.database.kind === 'url') {
    const { password, searchParams } = new URL(config.database.url);
    secrets.push(password, decodeURIComponent(password), searchParams.get('password') ?? '');
  }
  return [...new Set(secrets)].filter((secret) => secret !== '');
}

/** Throws `configuration`, with the nearest name, for one that is not among `known`. */
export function assertKnown(organization: string, known: readonly string[]): void {
  if (known.includes(organization)) return;
  const asked = quote(organization);
  if (known.length === 0)
    throw new ExportError('configuration', `--organization: ${asked} is not known, nor is any other one.`);
  const few = known.slice(0, MAX_NAMED).join(', ') + (known.length > MAX_NAMED ? ', …' : '');
  throw new ExportError(
    'configuration',
    `--organization: ${asked} is not known. Did you mean ${closest(organization, known)}? There ${known.length === 1 ? 'is' : 'are'} ${few}.`,
  );
}

const MAX_NAMED = 20;

const sharedNames = variableNames.filter((name) => variableOf(name).group !== 'source');

function parseSources(env: Environment, path: string | undefined, findings: Findings): SourceConfig[] {
  const parsed = readOrganizations(env, path, findings).map(({ env: own, label }) => {
    const ownFindings: Findings = { problems: [], warnings: [] };
    const { given, values } = parseValues(own, sourceNames, ownFindings);
    const source = parseSource(given, values, ownFindings);
    return { label, source, organization: values.UIPATH_ORGANIZATION, findings: ownFindings };
  });
  mergeFindings(parsed, findings);
  const named = parsed.flatMap(({ organization, label }) => (organization ? [{ organization, label }] : []));
  findings.problems.push(...findDuplicates(named));
  const asked = parsed.flatMap(({ label, source }) => (source ? [{ ...source, label }] : []));
  findings.problems.push(...findSameLists(asked));
  const unused = path === undefined ? '' : (env.UIPATH_ORGANIZATION?.trim() ?? '');
  if (unused !== '' && !named.some(({ organization }) => organization === unused)) {
    const sentence = `has no effect beside ${ORGANIZATIONS_FILE}, in which ${quote(unused)} is not.`;
    findings.warnings.push(`UIPATH_ORGANIZATION ${sentence}`);
  }
  return parsed.flatMap(({ source }) => source ?? []);
}

function choose(sources: readonly SourceConfig[], organization: string): SourceConfig[] {
  const known = sources.map((source) => source.organization);
  if (sources.length > 0) assertKnown(organization, known);
  return sources.filter((source) => source.organization === organization);
}

function describeSources(needs: Needs, sources: readonly SourceConfig[]): object {
  if (needs === 'database') return {};
  if (needs === 'sources') return { sources };
  if (sources.length === 1) return { source: sources[0] };
  throw new ExportError(
    'configuration',
    `Several organizations are configured: choose one with --organization.`,
  );
}

function parseValues(
  env: Environment,
  names: readonly VariableName[],
  findings: Findings,
): { given: GivenTexts; values: Partial<Values> } {
  const given = readGiven(env, names, findings);
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
  return { given, values: values as Partial<Values> };
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
      parallelOrganizations: values.EXPORT_PARALLEL_ORGANIZATIONS,
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
