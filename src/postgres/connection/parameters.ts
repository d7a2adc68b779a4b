/** The parameters of DATABASE_URL and of libpq's environment variables, by libpq's names. */
import { ExportError } from '../../core/errors.ts';
import { type PostgresUrl, parsePostgresUrl } from '../../text/postgres-url.ts';
import { nearest } from '../../text/suggest.ts';

export type Environment = Readonly<Record<string, string | undefined>>;

export interface Parameters {
  url: PostgresUrl;
  /** The value of the URL, else of the environment variable; `undefined` if absent or empty. */
  get(name: string): string | undefined;
  /** The parameter as a person set it: `sslmode=foo in DATABASE_URL`, `PGSSLMODE=foo`. */
  quote(name: string): string;
  /** What has no effect, one sentence each. */
  notes: readonly string[];
}

/** As in libpq. Others, such as PGOPTIONS, are read by pg. */
const VARIABLES: Record<string, string> = {
  host: 'PGHOST',
  port: 'PGPORT',
  dbname: 'PGDATABASE',
  user: 'PGUSER',
  password: 'PGPASSWORD',
  passfile: 'PGPASSFILE',
  sslmode: 'PGSSLMODE',
  sslrootcert: 'PGSSLROOTCERT',
  sslcert: 'PGSSLCERT',
  sslkey: 'PGSSLKEY',
  sslcrl: 'PGSSLCRL',
  sslnegotiation: 'PGSSLNEGOTIATION',
  ssl_min_protocol_version: 'PGSSLMINPROTOCOLVERSION',
  ssl_max_protocol_version: 'PGSSLMAXPROTOCOLVERSION',
  channel_binding: 'PGCHANNELBINDING',
  target_session_attrs: 'PGTARGETSESSIONATTRS',
  connect_timeout: 'PGCONNECT_TIMEOUT',
};

/** Parameters of pg, passed to it unchanged. */
export const PASSED_TO_PG = [
  'options',
  'application_name',
  'fallback_application_name',
  'statement_timeout',
  'query_timeout',
  'lock_timeout',
  'idle_in_transaction_session_timeout',
] as const;

const USED = [...Object.keys(VARIABLES), ...PASSED_TO_PG, 'database', 'ssl', 'sslpassword', 'uselibpqcompat'];

/** Parameters of libpq without a meaning here, or that are always as their default says. */
const HARMLESS = [
  ...['client_encoding', 'sslcompression', 'sslsni', 'sslcertmode', 'sslkeylogfile', 'krbsrvname', 'gsslib'],
  ...[
    'gssencmode',
    'gssdelegation',
    'keepalives',
    'keepalives_idle',
    'keepalives_interval',
    'tcp_user_timeout',
  ],
  ...[
    'keepalives_count',
    'load_balance_hosts',
    'min_protocol_version',
    'max_protocol_version',
    'replication',
  ],
];

/** Parameters of libpq that this program lacks, and what to do instead. Ignoring one would connect elsewhere or less safely. */
const LACKING: Record<string, string> = {
  service: 'Write the values of the service into DATABASE_URL.',
  servicefile: 'Write the values of the service into DATABASE_URL.',
  hostaddr: 'Write the address as the host; for sslmode=verify-full the certificate must contain it.',
  sslcrldir: 'Name one file of revoked certificates with sslcrl.',
  requirepeer: 'Remove it, or protect the directory of the socket by its permissions.',
  require_auth: 'Remove it; sslmode=verify-full protects the password.',
};

/** Reads and checks the names. Throws `configuration` for one that must not be ignored. */
export function readParameters(databaseUrl: string, environment: Environment): Parameters {
  const url = parsePostgresUrl(databaseUrl);
  if (!url) throw new ExportError('configuration', 'DATABASE_URL is not the URL of a PostgreSQL.');
  const notes: string[] = [];
  for (const name of url.parameters.keys()) {
    if (USED.includes(name) || HARMLESS.includes(name)) continue;
    if (LACKING[name] !== undefined)
      throw new ExportError('configuration', `${name} in DATABASE_URL is not supported. ${LACKING[name]}`);
    const meant = nearest(name.toLowerCase(), USED);
    const suggestion = meant === undefined ? '' : ` Did you mean ${meant}?`;
    // A misspelled TLS parameter must not end in a connection without TLS.
    if (/^(ssl|tls)/i.test(name) || meant?.startsWith('ssl') || meant === 'target_session_attrs')
      throw new ExportError(
        'configuration',
        `${name} in DATABASE_URL is not a parameter of PostgreSQL.${suggestion}`,
      );
    notes.push(`${name} in DATABASE_URL is not known and has no effect.${suggestion}`);
  }
  if (url.parameters.get('gssencmode') === 'require')
    throw new ExportError(
      'configuration',
      'gssencmode=require in DATABASE_URL is not supported. Remove it, and set sslmode.',
    );
  const isInUrl = (name: string) => (url.parameters.get(name) ?? '') !== '';
  return {
    url,
    get: (name) =>
      isInUrl(name) ? url.parameters.get(name) : environment[VARIABLES[name] ?? ''] || undefined,
    quote(name) {
      const value = isInUrl(name) ? url.parameters.get(name) : environment[VARIABLES[name]!];
      return isInUrl(name)
        ? `${name}=${show(value!)} in DATABASE_URL`
        : `${VARIABLES[name]}=${show(value ?? '')}`;
    },
    notes,
  };
}

/** A text of the URL, truncated, in one line. */
function show(text: string): string {
  const line = text.replace(/\p{Cc}/gu, '?');
  return line.length > 200 ? `${line.slice(0, 200)}…` : line;
}
