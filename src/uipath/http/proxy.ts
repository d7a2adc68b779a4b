import { ExportError } from '../../core/errors.ts';
import { isExcluded } from './no-proxy.ts';

export interface HttpProxy {
  /** The variable that names it. */
  variable: string;
  protocol: 'http:' | 'https:';
  /** Without brackets. */
  hostname: string;
  port: number;
  /** `host:port`, for messages: without user name and password. */
  name: string;
  /** The value of `Proxy-Authorization`; `undefined` without a user name. */
  authorization: string | undefined;
}

type Environment = Readonly<Record<string, string | undefined>>;

/** In this order, as curl reads them. */
const FOR_HTTPS = ['https_proxy', 'HTTPS_PROXY', 'all_proxy', 'ALL_PROXY'];
const EXCLUDING = ['no_proxy', 'NO_PROXY'];
const EXAMPLE = 'http://proxy.example.org:3128';

/**
 * The proxy for `url`: the first variable of `https_proxy`, `HTTPS_PROXY`, `all_proxy` and `ALL_PROXY` that is set, unless
 * `no_proxy` or `NO_PROXY` excludes the host. `http` URLs use no proxy. Throws `configuration` for a value that names no HTTP
 * proxy. The message does not quote it: it may contain a password.
 */
export function findProxy(url: string, environment: Environment): HttpProxy | undefined {
  const variable = firstSet(FOR_HTTPS, environment);
  if (variable === undefined || new URL(url).protocol !== 'https:') return undefined;
  return findExclusion(url, environment) === undefined
    ? parseProxy(variable, environment[variable]!)
    : undefined;
}

/** How requests to `url` are sent, for `check`; `undefined` if no variable names a proxy. Throws like `findProxy`. */
export function describeRoute(url: string, environment: Environment): string | undefined {
  if (firstSet(FOR_HTTPS, environment) === undefined) return undefined;
  const { protocol, host } = new URL(url);
  if (protocol !== 'https:') return `${host} without a proxy, because its URL is not https`;
  const proxy = findProxy(url, environment);
  if (proxy) return `${host} through the proxy ${showProxy(proxy)}`;
  return `${host} without a proxy, because of ${findExclusion(url, environment)}`;
}

/** `proxy.example.org:3128 (HTTPS_PROXY)` */
export function showProxy({ name, variable }: HttpProxy): string {
  return `${name} (${variable})`;
}

/** The passwords of the proxies in `environment`: as written, decoded, and as sent in `Proxy-Authorization`. */
export function proxySecrets(environment: Environment): string[] {
  return [...FOR_HTTPS, 'http_proxy', 'HTTP_PROXY'].flatMap((name) => {
    const { login } = splitValue(environment[name] ?? '');
    if (login === undefined || login.password === '') return [];
    const [user, password] = [login.user, login.password].map((text) => decodePart(text) ?? text);
    return [...new Set([login.password, password!, basic(user!, password!)])];
  });
}

function firstSet(names: readonly string[], environment: Environment): string | undefined {
  return names.find((name) => environment[name]?.trim());
}

/** The variable that excludes the host of `url`. */
function findExclusion(url: string, environment: Environment): string | undefined {
  const variable = firstSet(EXCLUDING, environment);
  return variable !== undefined && isExcluded(url, environment[variable]!) ? variable : undefined;
}

/**
 * Splits the value by the first `://` and the last `@`. A password that is not percent-encoded may therefore contain any
 * character, unlike in `URL`.
 */
function splitValue(value: string) {
  const [, scheme, rest = ''] = /^(?:([a-z][a-z\d+.-]*):\/\/)?(.*)$/is.exec(value.trim()) ?? [];
  const at = rest.lastIndexOf('@');
  const [, user = '', password = ''] = /^([^:]*):?(.*)$/s.exec(rest.slice(0, Math.max(0, at))) ?? [];
  const login = at < 1 ? undefined : { user, password };
  return { scheme: scheme?.toLowerCase() ?? 'http', login, address: rest.slice(at + 1).split(/[/?#]/)[0]! };
}

function parseProxy(variable: string, value: string): HttpProxy {
  const { scheme, login, address } = splitValue(value);
  if (scheme !== 'http' && scheme !== 'https') {
    const found = /^socks/.test(scheme) ? 'a SOCKS proxy, which is not supported' : 'no HTTP proxy';
    throw invalid(variable, `names ${found}. Set it to the URL of an HTTP proxy, such as ${EXAMPLE}.`);
  }
  const url = `${scheme}://${address}`;
  if (!URL.canParse(url) || /[\\\s]/.test(address) || new URL(url).port === '0') {
    throw invalid(variable, `is not a URL such as ${EXAMPLE}.`);
  }
  const { hostname, port, protocol } = new URL(url);
  const number = port === '' ? (scheme === 'https' ? 443 : 80) : Number(port);
  return {
    variable,
    protocol: protocol as HttpProxy['protocol'],
    hostname: hostname.replace(/^\[(.*)\]$/, '$1'),
    port: number,
    name: `${hostname}:${number}`,
    authorization: login && `Basic ${encodeLogin(variable, login)}`,
  };
}

function encodeLogin(variable: string, login: { user: string; password: string }): string {
  const [user, password] = [login.user, login.password].map((text) => {
    const decoded = decodePart(text);
    if (decoded !== undefined) return decoded;
    throw invalid(
      variable,
      'has a user name or password with a % that belongs to no percent-encoded UTF-8. Write %25 for %, and encode the other ' +
        'special characters as well: %40 for @, %3A for :, %5C for \\, %23 for #.',
    );
  });
  if (user!.includes(':')) {
    throw invalid(
      variable,
      'has a user name with a colon, which HTTP authentication cannot send. Use another user.',
    );
  }
  return basic(user!, password!);
}

/** Text without any `%XX` is taken as written. `undefined` if only a part of it is percent-encoded. */
function decodePart(text: string): string | undefined {
  if (!/%[\da-f]{2}/i.test(text)) return text;
  try {
    return decodeURIComponent(text);
  } catch {
    return undefined;
  }
}

function basic(user: string, password: string): string {
  return Buffer.from(`${user}:${password}`).toString('base64');
}

function invalid(variable: string, found: string): ExportError {
  return new ExportError('configuration', `${variable} ${found}`);
}
