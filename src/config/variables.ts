import type * as z from 'zod';
import { CLASSIC_LOG } from '../core/log-key.ts';
import {
  cron,
  duration,
  flag,
  integer,
  type Kind,
  language,
  logLevel,
  onlyLog,
  orOff,
  pathSegment,
  pem,
  postgresUrl,
  text,
  timeZone,
  webAddress,
} from './kinds.ts';

interface Variable {
  /** The groups `source` and `organizations` are read only by commands that send requests to UiPath. */
  readonly group: 'source' | 'organizations' | 'database' | 'export' | 'status' | 'log';
  readonly kind: Kind;
  readonly default?: string;
  /** Shown in the error message of a variable without a default. */
  readonly example?: string;
  /** Never shown. Also read from the file that `NAME_FILE` names. */
  readonly secret?: true;
  readonly description: string;
}

const source = 'source';

/** Every variable of the program, with its default and meaning. */
export const variables = {
  UIPATH_BASE_URL: {
    group: source,
    kind: webAddress,
    default: 'https://cloud.uipath.com',
    description:
      'Address of Automation Cloud, or of your own Automation Suite or Orchestrator. Must be https.',
  },
  UIPATH_ALLOW_HTTP: {
    group: source,
    kind: flag,
    default: 'false',
    description:
      'Whether plain http is allowed for hosts other than this machine. The token is then sent unencrypted.',
  },
  UIPATH_ORGANIZATION: {
    group: source,
    kind: pathSegment('the name of the organization as its web address shows it'),
    example: 'acme',
    description: 'Name of the organization, as in https://cloud.uipath.com/NAME. Also the key of its rows.',
  },
  UIPATH_LOGS: {
    group: source,
    kind: onlyLog,
    default: CLASSIC_LOG,
    description: 'Audit logs to export. This version exports only the classic one.',
  },
  UIPATH_AUDIT_PATH: {
    group: source,
    kind: text(
      'a path that begins with / and has no query, fragment or space',
      /^\/[^?#\s\\\p{Cc}\p{Surrogate}]*$/u,
    ),
    default: '/{organization}/audit_/api/auditlogs',
    description:
      'Path of the audit log. {organization} and {partitionGlobalId} are replaced; some installations need ' +
      '/{organization}/audit_/api/auditlogs/{partitionGlobalId} or /audit_/api/auditlogs/{partitionGlobalId}.',
  },
  UIPATH_PARTITION_GLOBAL_ID: {
    group: source,
    kind: pathSegment('the GUID of the organization'),
    example: '00000000-0000-0000-0000-000000000000',
    description: 'GUID of the organization, if UIPATH_AUDIT_PATH contains {partitionGlobalId}.',
  },
  UIPATH_CLIENT_ID: {
    group: source,
    kind: text('the id of the external application, in one line'),
    secret: true,
    description: 'Id of the external application (confidential, with application scope PM.Audit.Read).',
  },
  UIPATH_CLIENT_SECRET: {
    group: source,
    kind: text('the secret of the external application, in one line'),
    secret: true,
    description: 'Secret of the external application.',
  },
  UIPATH_SCOPE: {
    group: source,
    kind: text('scopes with one space between them', /^[\x21-\x7e]+( [\x21-\x7e]+)*$/),
    default: 'PM.Audit.Read',
    description: 'Scope of the requested token. PM.Audit works as well.',
  },
  UIPATH_TOKEN_URL: {
    group: source,
    kind: text('a URL, which may contain {base} and {organization}', /^[^\s\p{Cc}\p{Surrogate}]+$/u),
    default: '{base}/{organization}/identity_/connect/token',
    description:
      'URL of the token endpoint. {base} and {organization} are replaced. Automation Suite: ' +
      '{base}/identity_/connect/token. Standalone Orchestrator: {base}/identity/connect/token.',
  },
  UIPATH_ACCESS_TOKEN: {
    group: source,
    kind: text('the token alone, without the word Bearer, spaces or line breaks', /^[\x21-\x7e]+$/),
    secret: true,
    description: 'A fixed bearer token (a personal access token) instead of a client. It is not renewed.',
  },
  UIPATH_LANGUAGE: {
    group: source,
    kind: language,
    default: 'en',
    description:
      "Language of the events' messages: en, ja, de, es, es-mx, fr, ko, pt, pt-br, ru, tr, zh-cn or zh-tw.",
  },
  UIPATH_API_VERSION: {
    group: source,
    kind: text('a version such as 1.0', /^[\w.-]{1,50}$/),
    example: '1.0',
    description: 'Sent as api-version; not sent when unset.',
  },
  UIPATH_ORGANIZATIONS_FILE: {
    group: 'organizations',
    // Accepts any text: the reader of the file reports a wrong path, and hides it if it may be a secret.
    kind: text('the path of a file', /./s),
    description:
      'Path of a JSON list with one object per organization, for several organizations in one worker. Its members ' +
      'have the names of these variables and override them.',
  },
  HTTP_TIMEOUT: {
    group: source,
    kind: duration('1ms', '24d'),
    default: '30s',
    description: 'Timeout of one request, until the whole response is read.',
  },
  HTTP_MAX_RESPONSE_MIB: {
    group: source,
    kind: integer(1, 1024),
    default: '64',
    description:
      'Largest response that is read, after decompression, in MiB. A larger page is requested again with half the ' +
      'rows.',
  },
  RETRY_LIMIT: {
    group: source,
    kind: integer(1, 100),
    default: '8',
    description: 'Attempts per request, including the first.',
  },
  RETRY_MAX_DELAY: {
    group: source,
    kind: duration('0s', '24d'),
    default: '2m',
    description: 'Longest wait between two attempts, even if Retry-After is longer.',
  },
  DATABASE_URL: {
    group: 'database',
    kind: postgresUrl,
    example: 'postgres://user:password@localhost:5432/audit',
    secret: true,
    description:
      'The PostgreSQL to export into, as postgres://user:password@host:5432/database. Unset: the worker starts its ' +
      'own PostgreSQL.',
  },
  DATABASE_PASSWORD: {
    group: 'database',
    kind: text('the password of the user in DATABASE_URL, in one line'),
    secret: true,
    description:
      'Password of the user in DATABASE_URL, if that contains none. Any characters, without percent-encoding.',
  },
  EMBEDDED_POSTGRES_DIR: {
    group: 'database',
    kind: text('a directory'),
    default: './data/postgres',
    description: "Data directory of the worker's own PostgreSQL. Not used with DATABASE_URL.",
  },
  EXPORT_SCHEDULE: {
    group: 'export',
    kind: cron,
    default: '*/5 * * * *',
    description:
      'When to export, as a cron expression. An optional field in front is the seconds. When the clock is changed, an ' +
      'interval does not pause, and a time of day runs once.',
  },
  EXPORT_TIMEZONE: {
    group: 'export',
    kind: timeZone,
    default: 'UTC',
    description: 'Time zone of the schedules, and of dates such as yesterday on the command line.',
  },
  EXPORT_PAGE_SIZE: {
    group: 'export',
    kind: integer(1, 10_000),
    default: '1000',
    description: 'Most rows per request, 1 to 10000; fewer while rows are large.',
  },
  EXPORT_CONCURRENCY: {
    group: 'export',
    kind: integer(1, 64),
    default: '4',
    description: 'Most requests in flight at once, 1 to 64.',
  },
  EXPORT_PARALLEL_ORGANIZATIONS: {
    group: 'export',
    kind: integer(1, 64),
    default: '4',
    description: 'Most organizations that one process exports at once, 1 to 64.',
  },
  EXPORT_LOOKBACK: {
    group: 'export',
    kind: duration('0s', '3650d'),
    default: '0s',
    description:
      'How far before the newest event each run starts to read again. Late events are found without it, by counting.',
  },
  EXPORT_SCRUB_PAGES: {
    group: 'export',
    kind: integer(0, 100),
    default: '1',
    description: 'Pages of old history that each run compares with the stored events, 0 to 100.',
  },
  EXPORT_SETTLE: {
    group: 'export',
    kind: duration('0s', '3650d'),
    default: '1h',
    description:
      'An event that was stored more recently is not suspected of being deleted at the source: a lagging replica of ' +
      'the source may not show it yet.',
  },
  EXPORT_ACCEPT_SOURCE: {
    group: 'export',
    kind: webAddress,
    example: 'https://cloud.uipath.com',
    description:
      'The new UIPATH_BASE_URL, if it changed and the new source does not show the stored events. Stored events that ' +
      'it does not show are then marked as events of the former source.',
  },
  EXPORT_LEDGER_KEY: {
    group: 'export',
    kind: pem,
    secret: true,
    description:
      'Private key (Ed25519, PEM) that signs the ledger at each commit that appends to it: `ledger keygen` creates one. ' +
      'Usually a file, EXPORT_LEDGER_KEY_FILE. While a key is replaced: the new key, then the old one.',
  },
  EXPORT_LEDGER_PUBLIC_KEY: {
    group: 'export',
    kind: pem,
    secret: true,
    description:
      'Public key (PEM, or a verifier key) that `verify` and `report --check` trust. Usually a file, ' +
      'EXPORT_LEDGER_PUBLIC_KEY_FILE. Needed where there is no EXPORT_LEDGER_KEY.',
  },
  EXPORT_RECHECK_SCHEDULE: {
    group: 'export',
    kind: orOff(cron),
    default: '17 3 * * *',
    description: 'When to read the window of EXPORT_RECHECK_WINDOW again, as a cron expression; off: never.',
  },
  EXPORT_RECHECK_WINDOW: {
    group: 'export',
    kind: duration('0s', '3650d'),
    default: '48h',
    description: 'How far before now a recheck starts.',
  },
  EXPORT_VERIFY_SCHEDULE: {
    group: 'export',
    kind: orOff(cron),
    default: 'off',
    description:
      'When start runs `verify --offline`, as a cron expression; off: never. It reads all events and does not delay ' +
      'runs. The log, the status and the metrics show the result.',
  },
  EXPORT_LEASE: {
    group: 'export',
    kind: duration('1s', '1h'),
    default: '60s',
    description:
      'How long a worker that does not respond keeps its lease on an organization. Another worker can then take ' +
      'over.',
  },
  EXPORT_SYNCHRONOUS_COMMIT: {
    group: 'export',
    kind: flag,
    default: 'true',
    description:
      "Whether each commit waits for the database's disk. With false only the last commit of a run waits: a crash " +
      'of the database may undo the last pages of a run, rows and watermark together.',
  },
  EXPORT_RUN_HISTORY: {
    group: 'export',
    kind: orOff(duration('30d', '36500d')),
    default: '400d',
    description:
      'How long to keep each run that succeeded and stored nothing; older ones leave one row a day in audit.run_days. ' +
      'All other runs are kept. off: all runs are kept.',
  },
  EXPORT_STALL_TIMEOUT: {
    group: 'export',
    kind: duration('1s', '24d'),
    default: '30m',
    description:
      'A run without progress for this long is stopped, so that the next one can start. Set it longer than the ' +
      'longest retries take.',
  },
  STATUS_HOST: {
    group: 'status',
    kind: text('a host name or address to listen on, such as 127.0.0.1 or 0.0.0.0', /^[\w.:-]+$/),
    default: '127.0.0.1',
    description:
      'Address on which start serves health, metrics and the status page. 0.0.0.0: all interfaces.',
  },
  STATUS_PORT: {
    group: 'status',
    kind: orOff(integer(0, 65_535)),
    default: '8080',
    description: 'Port of that server. 0: any free port; off: no server.',
  },
  STATUS_TOKEN: {
    group: 'status',
    kind: text('a token without spaces or line breaks', /^[\x21-\x7e]+$/),
    secret: true,
    description:
      'Token that the status page and /metrics require, as a bearer token or as the password of HTTP Basic with any user name. ' +
      'Usually a file, STATUS_TOKEN_FILE, which is read again when it changes. /healthz and /readyz stay open.',
  },
  STATUS_RUNBOOK_URL: {
    group: 'status',
    kind: text('an http or https URL without # and spaces', /^https?:\/\/[^\s#\p{Cc}]+$/u),
    example: 'https://git.example.org/uipath-audit-export/docs/operations.md',
    description:
      'Address at which you publish docs/operations.md. The status page and the alerts link to its headings.',
  },
  LOG_LEVEL: {
    group: 'log',
    kind: logLevel,
    default: 'info',
    description: 'Lowest level that is logged: trace, debug, info, warn, error, fatal or silent.',
  },
} satisfies Record<string, Variable>;

export type VariableName = keyof typeof variables;

type Entry<N extends VariableName> = (typeof variables)[N];
type Typed<N extends VariableName> = z.output<Entry<N>['kind']['schema']>;

/** The parsed values. A variable without a default may be `undefined`. */
export type Values = {
  readonly [N in VariableName]: Entry<N> extends { default: string } ? Typed<N> : Typed<N> | undefined;
};

export const variableNames = Object.keys(variables) as VariableName[];

/** Variables of one organization, which an entry of the organizations file may set. */
export const sourceNames = variableNames.filter((name) => variables[name].group === 'source');

export const ORGANIZATIONS_FILE: VariableName = 'UIPATH_ORGANIZATIONS_FILE';

/** The variable's definition, with the general type. */
export function variableOf(name: VariableName): Variable {
  return variables[name];
}

/** Every name that is read from the environment, including the `NAME_FILE` of each secret. */
export const knownNames: readonly string[] = variableNames.flatMap((name) =>
  variableOf(name).secret ? [name, `${name}_FILE`] : [name],
);
