import type { z } from 'zod';
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
  postgresUrl,
  text,
  timeZone,
  webAddress,
} from './kinds.ts';

interface Variable {
  /** Variables of the groups `source` and `organizations` are read only by commands that ask UiPath. */
  readonly group: 'source' | 'organizations' | 'database' | 'export' | 'status' | 'log';
  readonly kind: Kind;
  readonly default?: string;
  /** Shown in a problem's remedy where there is no default. */
  readonly example?: string;
  /** Never shown, and also read from the file that `NAME_FILE` names. */
  readonly secret?: true;
  readonly description: string;
}

const source = 'source';

/** Every variable the program knows: the one place that states names, defaults and meaning. */
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
      'Whether plain http is allowed for hosts other than this machine. The token then travels unencrypted.',
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
    description:
      'Which audit logs of the organization are exported. This version exports the classic one alone.',
  },
  UIPATH_AUDIT_PATH: {
    group: source,
    kind: text(
      'a path that begins with / and has no query, fragment or space',
      /^\/[^?#\s\\\p{Cc}\p{Surrogate}]*$/u,
    ),
    default: '/{organization}/audit_/api/auditlogs',
    description:
      'Path of the audit log. {organization} and {partitionGlobalId} are filled in; some installations need ' +
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
    description: 'Scope of the token. PM.Audit also works.',
  },
  UIPATH_TOKEN_URL: {
    group: source,
    kind: text('an address, in which {base} and {organization} may stand', /^[^\s\p{Cc}\p{Surrogate}]+$/u),
    default: '{base}/{organization}/identity_/connect/token',
    description:
      'URL of the token endpoint. {base} and {organization} are filled in. Automation Suite: ' +
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
    // Whatever it is, it is told by who reads the file, and not shown where it may be a secret.
    kind: text('the path of a file', /./s),
    description:
      'Several organizations in one worker: path of a JSON list with an object for each, whose entries are named like the ' +
      'variables here and replace them.',
  },
  HTTP_TIMEOUT: {
    group: source,
    kind: duration('1ms', '24d'),
    default: '30s',
    description: 'How long one request may take.',
  },
  HTTP_MAX_RESPONSE_MIB: {
    group: source,
    kind: integer(1, 1024),
    default: '64',
    description:
      'The largest response that is read, after decompression, in MiB. A larger page is requested again with half the rows.',
  },
  RETRY_LIMIT: {
    group: source,
    kind: integer(1, 100),
    default: '8',
    description: 'Attempts per request, the first one included.',
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
      'The PostgreSQL to export into, as postgres://user:password@host:5432/database. Unset: the worker starts ' +
      'a PostgreSQL of its own.',
  },
  EMBEDDED_POSTGRES_DIR: {
    group: 'database',
    kind: text('a directory'),
    default: './data/postgres',
    description: 'Where that PostgreSQL of its own keeps its data. Not used with DATABASE_URL.',
  },
  EXPORT_SCHEDULE: {
    group: 'export',
    kind: cron,
    default: '*/5 * * * *',
    description: 'When to export, as a cron expression. A sixth field in front counts seconds.',
  },
  EXPORT_TIMEZONE: {
    group: 'export',
    kind: timeZone,
    default: 'UTC',
    description: 'Time zone of the two schedules.',
  },
  EXPORT_PAGE_SIZE: {
    group: 'export',
    kind: integer(1, 10_000),
    default: '1000',
    description: 'Rows per list request, 1 to 10000.',
  },
  EXPORT_CONCURRENCY: {
    group: 'export',
    kind: integer(1, 64),
    default: '4',
    description: 'Requests in flight at once, 1 to 64.',
  },
  EXPORT_PARALLEL_ORGANIZATIONS: {
    group: 'export',
    kind: integer(1, 64),
    default: '4',
    description: 'How many of several organizations a process exports at once, 1 to 64.',
  },
  EXPORT_LOOKBACK: {
    group: 'export',
    kind: duration('0s', '3650d'),
    default: '1h',
    description: 'How far behind the newest event every run reads again, to find events that came late.',
  },
  EXPORT_RECHECK_SCHEDULE: {
    group: 'export',
    kind: orOff(cron),
    default: '17 3 * * *',
    description: 'When to read the wider window of EXPORT_RECHECK_WINDOW again; off: never.',
  },
  EXPORT_RECHECK_WINDOW: {
    group: 'export',
    kind: duration('0s', '3650d'),
    default: '48h',
    description: 'How far that recheck reaches back.',
  },
  EXPORT_LEASE: {
    group: 'export',
    kind: duration('1s', '1h'),
    default: '60s',
    description:
      'How long a worker may be silent before its lease on the organization ends, so that another one can go on.',
  },
  EXPORT_SYNCHRONOUS_COMMIT: {
    group: 'export',
    kind: flag,
    default: 'true',
    description:
      'Whether each page must be on the disk of the database before the next is stored. With false only the end of a ' +
      'run waits: a crash of the database may take the last pages of a run back, rows and watermark together.',
  },
  EXPORT_STALL_TIMEOUT: {
    group: 'export',
    kind: duration('1s', '24d'),
    default: '30m',
    description:
      'How long a run may come no further before it is ended, so that the next one can begin. More than the ' +
      'longest retries take.',
  },
  STATUS_HOST: {
    group: 'status',
    kind: text('a host name or address to listen on, such as 127.0.0.1 or 0.0.0.0', /^[\w.:-]+$/),
    default: '127.0.0.1',
    description:
      'Address on which start serves health, metrics and the status page. 0.0.0.0: every interface.',
  },
  STATUS_PORT: {
    group: 'status',
    kind: orOff(integer(0, 65_535)),
    default: '8080',
    description: 'Port of the same. 0: any free port; off: serve nothing.',
  },
  LOG_LEVEL: {
    group: 'log',
    kind: logLevel,
    default: 'info',
    description: 'How much is logged: trace, debug, info, warn, error, fatal or silent.',
  },
} satisfies Record<string, Variable>;

export type VariableName = keyof typeof variables;

type Entry<N extends VariableName> = (typeof variables)[N];
type Typed<N extends VariableName> = z.output<Entry<N>['kind']['schema']>;

/** The values of all variables: one without a default may be missing. */
export type Values = {
  readonly [N in VariableName]: Entry<N> extends { default: string } ? Typed<N> : Typed<N> | undefined;
};

export const variableNames = Object.keys(variables) as VariableName[];

/** Those of one organization, which an entry of the file below may give. */
export const sourceNames = variableNames.filter((name) => variables[name].group === 'source');

export const ORGANIZATIONS_FILE: VariableName = 'UIPATH_ORGANIZATIONS_FILE';

/** The variable's row of the table, without its own type. */
export function variableOf(name: VariableName): Variable {
  return variables[name];
}

/** Every name that is read from the environment, with the `NAME_FILE` of each secret. */
export const knownNames: readonly string[] = variableNames.flatMap((name) =>
  variableOf(name).secret ? [name, `${name}_FILE`] : [name],
);
