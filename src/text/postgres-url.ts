/**
 * Splits the URL of a PostgreSQL as libpq does, several hosts included. Node's `URL` accepts neither several hosts nor a user without
 * a host.
 */

/** Parts of a URL, percent-decoded. An absent part is an empty text. */
export interface PostgresUrl {
  user: string;
  password: string;
  /** At least one. An IPv6 address has no brackets. */
  hosts: readonly { host: string; port: string }[];
  database: string;
  /** The last value of each parameter. */
  parameters: ReadonlyMap<string, string>;
}

const SCHEME = /^postgres(?:ql)?:\/\//i;
// Like Node's URL: the last @ before the path ends the password, so that a password with an unencoded @ works.
const PARTS = /^(?:([^/?#]*)@)?([^/?#@]*)(?:\/([^?#]*))?(?:\?([^#]*))?$/;
const HOST = /^(\[[^\]]*\]|[^:[\]]*)(?::(\d*))?$/;

/** Returns `undefined` if `text` is no such URL: another scheme, an invalid percent-encoding, host or port. */
export function parsePostgresUrl(text: string): PostgresUrl | undefined {
  const parts = SCHEME.test(text) ? PARTS.exec(text.replace(SCHEME, '')) : null;
  if (!parts) return undefined;
  const [, login = '', hostList = '', path = '', query = ''] = parts;
  // An unencoded slash or ? in the password ends the host early, which leaves the @ in the path or in the query.
  if (path.includes('@')) return undefined;
  const hosts = hostList.split(',').map((entry) => HOST.exec(entry));
  const parameters = new Map(new URLSearchParams(query));
  // A name with other characters is probably a part of a password with an unencoded ?.
  if ([...parameters.keys()].some((name) => !/^\w+$/.test(name))) return undefined;
  const colon = login.indexOf(':');
  const [user, password] = colon < 0 ? [login, ''] : [login.slice(0, colon), login.slice(colon + 1)];
  try {
    return {
      user: decodeURIComponent(user),
      password: decodeURIComponent(password),
      hosts: hosts.map((found) => {
        const [, host, port = ''] = found as RegExpExecArray;
        if (Number(port) > 65_535) throw new RangeError('port');
        return { host: decodeURIComponent(host!.replace(/^\[|\]$/g, '')), port };
      }),
      database: decodeURIComponent(path),
      parameters,
    };
  } catch {
    return undefined;
  }
}

/** Every password in the URL, as written and decoded. Works for an invalid URL too, as far as it can be read. */
export function secretsOfPostgresUrl(text: string): string[] {
  const url = parsePostgresUrl(text);
  if (!url) return [];
  const written = /^[^/?#]*?:([^/?#]*)@/.exec(text.replace(SCHEME, ''))?.[1] ?? '';
  return [
    written,
    url.password,
    url.parameters.get('password') ?? '',
    url.parameters.get('sslpassword') ?? '',
  ].filter((secret) => secret !== '');
}

/** What to write instead of `text`, if it is another form of naming a PostgreSQL; without any part of `text`. */
export function explainPostgresUrl(text: string): string | undefined {
  if (/^jdbc:/i.test(text))
    return 'A JDBC URL has another form: write postgres://user:password@host:5432/database, with user and password in the URL.';
  if (/^postgres(ql)?\+\w+:\/\//i.test(text))
    return 'Remove the name of the driver: write postgres:// instead of the part before ://.';
  if (/^socket:/i.test(text) || text.startsWith('/'))
    return 'For a Unix socket write postgres://user:password@/database?host=/directory, with the directory of the socket.';
  if (/^\s*(host|hostaddr|port|dbname|user|password|service|sslmode)\s*=/i.test(text))
    return 'It is a list of keywords: write postgres://user:password@host:5432/database?sslmode=verify-full instead.';
  return undefined;
}
