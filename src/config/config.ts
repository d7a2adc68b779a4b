import { ExportError } from '../core/errors.ts';
import { secretsOfPostgresUrl } from '../text/postgres-url.ts';
import { closest } from '../text/suggest.ts';
import { type DatabaseSetting, parseDatabase } from './database.ts';
import {
  type Environment,
  fileWarnings,
  type RawValues,
  readRawValues,
  secretFile,
  warnAboutUnknown,
} from './environment.ts';
import { type LedgerKeys, parseLedgerKeys, pemSecrets } from './ledger-keys.ts';
import { findDuplicates, findSameLists, mergeFindings, readOrganizations } from './organizations.ts';
import { type Findings, problemWith, quote, throwProblems } from './problems.ts';
import { parseSource, removeOrganization, type SourceConfig } from './source.ts';
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

/** What a command needs: the database with all organizations, the database with one, or the database alone. */
export type Needs = 'sources' | 'source' | 'database';

export interface StatusConfig {
  host: string;
  port: number;
  /** Required for the page and the metrics. `file`: where it was read from, if it was. */
  token?: { value: string; file: string | undefined } | undefined;
  /** Of docs/operations.md, without a fragment. */
  runbookUrl?: string | undefined;
}

/** Configuration of commands that send no requests to UiPath. No variable of the source was read. */
export interface DatabaseConfig {
  database: DatabaseSetting;
  export: {
    /** Cron, five fields, or six with seconds first. */
    schedule: string;
    timezone: string;
    pageSize: number;
    concurrency: number;
    parallelOrganizations: number;
    /** 0: runs start at the watermark. */
    lookbackMs: number;
    /** Pages of old history compared in each run; 0 disables it. */
    scrubPages: number;
    /** An event that was first stored within this time is not suspected of being deleted at the source. */
    settleMs: number;
    /** A base URL, in the form of `SourceConfig.baseUrl`, to which the source of a log may change. */
    acceptSource: string | undefined;
    recheck: { schedule: string; windowMs: number } | undefined;
    /** Cron; `undefined`: never. */
    verifySchedule: string | undefined;
    leaseMs: number;
    isSynchronous: boolean;
    /** Older runs that succeeded and stored nothing are removed; `undefined`: never. */
    runHistoryMs: number | undefined;
    stallTimeoutMs: number;
  };
  /** Port 0 is any free port; `undefined` disables the status server. */
  status: StatusConfig | undefined;
  logLevel: Values['LOG_LEVEL'];
  ledger: LedgerKeys;
}

/** Configuration for one organization. */
export interface Config extends DatabaseConfig {
  source: SourceConfig;
}

/** Configuration for all organizations, or for the selected one. Never empty; each name occurs once. */
export interface SourcesConfig extends DatabaseConfig {
  sources: readonly SourceConfig[];
}

interface ConfigFor {
  sources: SourcesConfig;
  source: Config;
  database: DatabaseConfig;
}

/**
 * Parses `env` into a deeply frozen configuration, for all organizations or the selected one, and warnings for the log. Reads
 * only `env` and the files it names. Throws one `configuration` error that lists every problem and contains no secret.
 */
export function parseConfig<N extends Needs>(
  env: Environment,
  needs: N,
  { organization }: { organization?: string | undefined } = {},
): { config: ConfigFor[N]; warnings: string[] } {
  const findings: Findings = { problems: [], warnings: [...(env[fileWarnings] ?? [])] };
  warnAboutUnknown(env, findings);
  const shared = parseValues(env, sharedNames, findings);
  const sources =
    needs === 'database' ? [] : parseSources(env, shared.values.UIPATH_ORGANIZATIONS_FILE, findings);
  checkAcceptedSource(shared.values as Values, sources, findings);
  // The keys themselves are not frozen: Node 20 cannot use a frozen one.
  const { privateKeys, trusted } = parseLedgerKeys(shared.values, env, findings);
  const ledger = Object.freeze({ privateKeys: Object.freeze(privateKeys), trusted: Object.freeze(trusted) });
  const database = parseDatabase(shared.values as Values, findings);
  throwProblems(findings);
  const selected = organization === undefined ? sources : selectOrganization(sources, organization);
  const common = {
    database,
    ...describeCommon(shared.values as Values, sources, secretFile(env, 'STATUS_TOKEN')),
  };
  // Node.js writes to the objects of keys.
  const config = Object.freeze({ ...freezeDeep({ ...describeSources(needs, selected), ...common }), ledger });
  return {
    config: config as unknown as ConfigFor[N],
    warnings: findings.warnings,
  };
}

/** Parses the address of the status server alone, for the healthcheck. Throws as `parseConfig`. */
export function parseStatus(env: Environment): DatabaseConfig['status'] {
  const findings: Findings = { problems: [], warnings: [] };
  const { values } = parseValues(env, ['STATUS_HOST', 'STATUS_PORT'], findings);
  throwProblems(findings);
  return describeStatus(values as Values);
}

/** Returns the values that must never be shown, as written and URL-decoded. */
export function secretsOf(config: DatabaseConfig | Config | SourcesConfig): string[] {
  const sources = 'sources' in config ? config.sources : 'source' in config ? [config.source] : [];
  const secrets = sources.map(({ credentials }) =>
    credentials.kind === 'client' ? credentials.clientSecret : credentials.accessToken,
  );
  if (config.database.kind === 'url') {
    secrets.push(...secretsOfPostgresUrl(config.database.url));
  }
  if (config.status?.token) secrets.push(config.status.token.value);
  secrets.push(...pemSecrets(config.ledger.privateKeys));
  return [...new Set(secrets)].filter((secret) => secret !== '');
}

/** Throws `configuration`, with the nearest known name, if `organization` is not in `known`. */
export function assertKnown(organization: string, known: readonly string[]): void {
  if (known.includes(organization)) return;
  const shown = quote(organization);
  if (known.length === 0)
    throw new ExportError(
      'configuration',
      `--organization: ${shown} is not known; there are no organizations.`,
    );
  const list = known.slice(0, MAX_NAMED).join(', ') + (known.length > MAX_NAMED ? ', …' : '');
  throw new ExportError(
    'configuration',
    `--organization: ${shown} is not known. Did you mean ${closest(organization, known)}? Known: ${list}.`,
  );
}

const MAX_NAMED = 20;

const sharedNames = variableNames.filter((name) => variableOf(name).group !== 'source');

function parseSources(env: Environment, path: string | undefined, findings: Findings): SourceConfig[] {
  const parsed = readOrganizations(env, path, findings).map(({ env: entryEnv, label }) => {
    const ownFindings: Findings = { problems: [], warnings: [] };
    const { raw, values } = parseValues(entryEnv, sourceNames, ownFindings);
    const source = parseSource(raw, values, ownFindings);
    return { label, source, organization: values.UIPATH_ORGANIZATION, findings: ownFindings };
  });
  mergeFindings(parsed, findings);
  const named = parsed.flatMap(({ organization, label }) => (organization ? [{ organization, label }] : []));
  findings.problems.push(...findDuplicates(named));
  const labelled = parsed.flatMap(({ label, source }) => (source ? [{ ...source, label }] : []));
  findings.problems.push(...findSameLists(labelled));
  const unused = path === undefined ? '' : (env.UIPATH_ORGANIZATION?.trim() ?? '');
  if (unused !== '' && !named.some(({ organization }) => organization === unused)) {
    findings.warnings.push(
      `UIPATH_ORGANIZATION has no effect: ${ORGANIZATIONS_FILE} is set and has no entry for ${quote(unused)}.`,
    );
  }
  return parsed.flatMap(({ source }) => source ?? []);
}

function selectOrganization(sources: readonly SourceConfig[], organization: string): SourceConfig[] {
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
    'Several organizations are configured: select one with --organization.',
  );
}

function parseValues(
  env: Environment,
  names: readonly VariableName[],
  findings: Findings,
): { raw: RawValues; values: Partial<Values> } {
  const raw = readRawValues(env, names, findings);
  const values: Partial<Record<VariableName, unknown>> = {};
  for (const name of names) {
    const { kind, default: fallback } = variableOf(name);
    const text = raw.has(name) ? raw.get(name) : fallback;
    // Unset, or unreadable, which is already reported as a problem.
    if (text === undefined || text === null) continue;
    const parsed = kind.schema.safeParse(text);
    if (parsed.success) values[name] = parsed.data;
    else findings.problems.push(problemWith(name, text));
  }
  return { raw, values: values as Partial<Values> };
}

/** EXPORT_ACCEPT_SOURCE must be the base URL of an organization, so that it does not stay set when the address changes again. */
function checkAcceptedSource(values: Values, sources: readonly SourceConfig[], findings: Findings): void {
  const accepted = parseAcceptedSource(values, sources);
  if (accepted === undefined || sources.length === 0) return;
  const baseUrls = [...new Set(sources.map(({ baseUrl }) => baseUrl))];
  if (baseUrls.includes(accepted)) return;
  const expected =
    baseUrls.length === 1 ? `UIPATH_BASE_URL, ${baseUrls[0]}` : 'the UIPATH_BASE_URL of an organization';
  findings.problems.push(
    `EXPORT_ACCEPT_SOURCE: expected ${expected}, found ${quote(accepted)}. Correct it, or remove it: it is needed only ` +
      'until another source was accepted.',
  );
}

function parseAcceptedSource(values: Values, sources: readonly SourceConfig[]): string | undefined {
  const names = sources.map(({ organization }) => organization);
  return removeOrganization(values.EXPORT_ACCEPT_SOURCE, names);
}

function describeCommon(
  values: Values,
  sources: readonly SourceConfig[],
  tokenFile: string | undefined,
): Omit<DatabaseConfig, 'ledger' | 'database'> {
  const { EXPORT_RECHECK_SCHEDULE: recheckSchedule } = values;
  return {
    export: {
      schedule: values.EXPORT_SCHEDULE,
      timezone: values.EXPORT_TIMEZONE,
      pageSize: values.EXPORT_PAGE_SIZE,
      concurrency: values.EXPORT_CONCURRENCY,
      parallelOrganizations: values.EXPORT_PARALLEL_ORGANIZATIONS,
      lookbackMs: values.EXPORT_LOOKBACK,
      scrubPages: values.EXPORT_SCRUB_PAGES,
      settleMs: values.EXPORT_SETTLE,
      acceptSource: parseAcceptedSource(values, sources),
      recheck:
        recheckSchedule === undefined
          ? undefined
          : { schedule: recheckSchedule, windowMs: values.EXPORT_RECHECK_WINDOW },
      verifySchedule: values.EXPORT_VERIFY_SCHEDULE,
      leaseMs: values.EXPORT_LEASE,
      isSynchronous: values.EXPORT_SYNCHRONOUS_COMMIT,
      runHistoryMs: values.EXPORT_RUN_HISTORY,
      stallTimeoutMs: values.EXPORT_STALL_TIMEOUT,
    },
    status: describeStatus(values, tokenFile),
    logLevel: values.LOG_LEVEL,
  };
}

function describeStatus(
  { STATUS_HOST: host, STATUS_PORT: port, STATUS_TOKEN: token, STATUS_RUNBOOK_URL: runbookUrl }: Values,
  tokenFile?: string,
): StatusConfig | undefined {
  if (port === undefined) return undefined;
  return {
    host,
    port,
    ...(token !== undefined && { token: { value: token, file: tokenFile } }),
    ...(runbookUrl !== undefined && { runbookUrl }),
  };
}

function freezeDeep<T extends object>(value: T): T {
  for (const part of Object.values(value)) {
    if (typeof part === 'object' && part !== null) freezeDeep(part);
  }
  return Object.freeze(value);
}
