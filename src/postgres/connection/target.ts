/** What DATABASE_URL and libpq's environment variables lead to: hosts in order, how to open a connection to each, and its settings. */
import { userInfo } from 'node:os';
import type pg from 'pg';
import { ExportError } from '../../core/errors.ts';
import { type Environment, PASSED_TO_PG, type Parameters, readParameters } from './parameters.ts';
import { type Login, type PasswordFile, readPasswordFile } from './passfile.ts';
import { planTls, type TlsAttempt, type TlsPlan } from './tls.ts';

/** Which server of several is wanted, as in libpq, without prefer-standby. */
const SESSION_ATTRIBUTES = ['any', 'read-write', 'read-only', 'primary', 'standby'] as const;
export type SessionAttributes = (typeof SESSION_ATTRIBUTES)[number];

/** One way to reach one host. */
export interface Attempt extends TlsAttempt {
  /** Position of the host. Attempts of one host follow each other. */
  hostIndex: number;
  host: string;
  port: number;
  /** What differs between attempts, for a pg client. */
  options: pg.ClientConfig;
}

export interface Target {
  /** At least one, in the order to try them. */
  attempts: readonly Attempt[];
  /** For every pg client; without host, port, password and TLS. */
  options: pg.ClientConfig;
  sessionAttributes: SessionAttributes;
  needsChannelBinding: boolean;
  connectTimeoutMs: number | undefined;
  tls: TlsPlan;
  /** What has no effect or should be changed, one sentence each. */
  notes: readonly string[];
}

const DEFAULT_PORT = '5432';

/** Reads the URL, the variables and the files that they name. Throws `configuration`. */
export function resolveTarget(databaseUrl: string, environment: Environment): Target {
  const parameters = readParameters(databaseUrl, environment);
  const { url, get, notes } = parameters;
  const hosts = readHosts(parameters);
  const isSocket = hosts.every(({ host }) => host.startsWith('/'));
  const tls = planTls(parameters, environment, { isSocket });
  const user = url.user || get('user') || environment.USER || loginName();
  const database = url.parameters.get('database') || url.database || get('dbname') || user;
  const channelBinding = readChoice(parameters, 'channel_binding', ['disable', 'prefer', 'require']);
  const password = url.password || get('password');
  const file = password ? undefined : readPasswordFile(get('passfile'), environment);
  const attempts = hosts.flatMap(({ host, port }, hostIndex) =>
    attemptsOf(host, tls).map((attempt) => ({
      ...attempt,
      hostIndex,
      host,
      port,
      options: {
        host,
        port,
        ssl: attempt.ssl,
        ...(attempt.ssl !== false && directly(parameters)),
        password: password || passwordFrom(file!, { host, port, database, user }),
      },
    })),
  );
  const passed = PASSED_TO_PG.flatMap((name) => (get(name) === undefined ? [] : [[name, get(name)]]));
  const timeoutSeconds = Number(get('connect_timeout') ?? 0);
  return {
    attempts,
    options: {
      user,
      database,
      // Used where the server offers it.
      enableChannelBinding: channelBinding === 'require',
      ...Object.fromEntries(passed),
    },
    sessionAttributes: readChoice(parameters, 'target_session_attrs', SESSION_ATTRIBUTES) ?? 'any',
    needsChannelBinding: channelBinding === 'require',
    connectTimeoutMs: timeoutSeconds > 0 ? timeoutSeconds * 1_000 : undefined,
    tls,
    notes: [...notes, ...tls.notes, ...(file?.note === undefined ? [] : [file.note])],
  };
}

/** The hosts with their ports. As in libpq, one port may belong to all hosts, and a parameter replaces what the URL has before its path. */
function readHosts({ url, get }: Parameters): { host: string; port: number }[] {
  const listOf = (name: string, inUrl: string) =>
    (url.parameters.get(name) || inUrl || get(name) || '').split(',');
  const named = url.hosts.map(({ host }) => host);
  const hosts = listOf('host', named.some(Boolean) ? named.join(',') : '');
  const ofHosts = url.hosts.map(({ port }) => port);
  const ports = listOf('port', ofHosts.some(Boolean) ? ofHosts.join(',') : '');
  if (ports.length > 1 && ports.length !== hosts.length)
    throw new ExportError(
      'configuration',
      `DATABASE_URL has ${hosts.length} hosts and ${ports.length} ports. Write one port, or one for each host.`,
    );
  return hosts.map((host, i) => {
    const port = (ports.length > 1 ? ports[i] : ports[0]) || DEFAULT_PORT;
    if (!/^\d{1,5}$/.test(port) || Number(port) < 1 || Number(port) > 65_535)
      throw new ExportError('configuration', 'A port of DATABASE_URL is not a number from 1 to 65535.');
    if (/[\s[\]@]/.test(host))
      throw new ExportError(
        'configuration',
        'A host of DATABASE_URL is not a host name, an address or the directory of a socket.',
      );
    return { host: host || 'localhost', port: Number(port) };
  });
}

/** A Unix socket never uses TLS, also where other hosts do. */
function attemptsOf(host: string, { attempts }: TlsPlan): readonly TlsAttempt[] {
  return host.startsWith('/') ? [{ ssl: false, verification: 'nothing', mayBePlain: false }] : attempts;
}

/** A container may run as a user id without a name. */
function loginName(): string {
  try {
    return userInfo().username;
  } catch {
    return 'postgres';
  }
}

function directly({ get }: Parameters): { sslnegotiation?: 'direct' } {
  return get('sslnegotiation') === 'direct' ? { sslnegotiation: 'direct' } : {};
}

/** Called when the server requires a password. pg would search the password file itself, with a warning. */
function passwordFrom(file: PasswordFile, login: Login): () => string {
  return () => {
    const password = file.find(login);
    if (password !== undefined) return password;
    throw new ExportError(
      'configuration',
      `The server requires a password, and none is set: write it into DATABASE_URL, PGPASSWORD or the password file.${file.note ? ` ${file.note}` : ''}`,
    );
  };
}

function readChoice<T extends string>(
  { get, quote }: Parameters,
  name: string,
  choices: readonly T[],
): T | undefined {
  const found = get(name);
  if (found === undefined || choices.includes(found as T)) return found as T | undefined;
  throw new ExportError('configuration', `${quote(name)} is not known. It may be ${choices.join(', ')}.`);
}
