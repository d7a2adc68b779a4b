import http from 'node:http';
import https from 'node:https';
import { HttpsProxyAgent } from 'https-proxy-agent';
import { ExportError } from '../../core/errors.ts';

/** Keep-alive agents for axios. */
export interface Agents {
  httpAgent: http.Agent;
  httpsAgent: http.Agent;
  close(): void;
}

/** Explicit, so that NODE_TLS_REJECT_UNAUTHORIZED=0, set for another program, does not expose the token to an interceptor. */
const VERIFIED = { keepAlive: true, rejectUnauthorized: true };

type Environment = Readonly<Record<string, string | undefined>>;

/** Agents for requests to `url`, through the proxy of `HTTPS_PROXY` unless `NO_PROXY` names the host. */
export function createAgents(url: string, environment: Environment): Agents {
  const proxy = findProxy(url, environment);
  const httpAgent = new http.Agent({ keepAlive: true });
  const httpsAgent = proxy ? createProxyAgent(proxy) : new https.Agent(VERIFIED);
  return {
    httpAgent,
    httpsAgent,
    close() {
      httpAgent.destroy();
      httpsAgent.destroy();
    },
  };
}

/** The passwords of the proxies in `environment`: as written, decoded, and as sent in `Proxy-Authorization`. */
export function proxySecrets(environment: Environment): string[] {
  const names = ['https_proxy', 'HTTPS_PROXY', 'http_proxy', 'HTTP_PROXY', 'all_proxy', 'ALL_PROXY'];
  return names.flatMap((name) => {
    const [, user = '', password = ''] =
      /^(?:[^/]*:\/\/)?([^/:]*):([^/]*)@/.exec(environment[name] ?? '') ?? [];
    if (password === '') return [];
    const sent = decode(password);
    const basic = Buffer.from(`${decode(user)}:${sent}`).toString('base64');
    return [...new Set([password, sent, basic])];
  });
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function createProxyAgent(proxy: string): HttpsProxyAgent<string> {
  const agent = new HttpsProxyAgent(proxy, VERIFIED);
  // The constructor's options apply to the connection to the proxy; these apply to TLS within the tunnel.
  Object.assign(agent.options, VERIFIED);
  return agent;
}

/**
 * Finds the proxy for an `https` URL like curl: `https_proxy` or `HTTPS_PROXY`, except for hosts in `no_proxy` or `NO_PROXY`
 * (`*`, a host, a domain with or without its leading dot, each with or without a port). `http` URLs use no proxy.
 * Throws `configuration` if the proxy is not a URL. The message does not quote it: it may contain a password.
 */
export function findProxy(url: string, environment: Environment): string | undefined {
  const { protocol, hostname, port } = new URL(url);
  const proxy = environment.https_proxy || environment.HTTPS_PROXY;
  if (protocol !== 'https:' || !proxy) return undefined;
  const excluded = (environment.no_proxy || environment.NO_PROXY || '').toLowerCase().split(/[\s,]+/);
  const isExcluded = excluded.some((entry) => {
    const [, name = '', entryPort] = /^\*?\.?(.*?)(?::(\d+))?$/.exec(entry) ?? [];
    if (entryPort !== undefined && entryPort !== (port || '443')) return false;
    return entry === '*' || (name !== '' && (hostname === name || hostname.endsWith(`.${name}`)));
  });
  if (isExcluded) return undefined;
  const proxyUrl = proxy.includes('://') ? proxy : `http://${proxy}`;
  if (URL.canParse(proxyUrl)) return proxyUrl;
  throw new ExportError('configuration', 'HTTPS_PROXY is not a URL such as http://proxy.example.org:3128.');
}
