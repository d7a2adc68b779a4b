import http from 'node:http';
import https from 'node:https';
import { HttpsProxyAgent } from 'https-proxy-agent';
import { ExportError } from '../../core/errors.ts';

/** Sockets that are kept open between requests, for axios. */
export interface Agents {
  httpAgent: http.Agent;
  httpsAgent: http.Agent;
  close(): void;
}

/** Said, so that NODE_TLS_REJECT_UNAUTHORIZED=0, meant for another program, does not give the token to anybody in between. */
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

/** Passwords of the proxies that `environment` names, as they are written and as they are sent. */
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
  // Those are for the way to the proxy; these count for what is within the tunnel.
  Object.assign(agent.options, VERIFIED);
  return agent;
}

/**
 * The proxy for an `https` URL, as curl finds it: `https_proxy` or `HTTPS_PROXY`, but for hosts that `no_proxy` or `NO_PROXY`
 * lists (`*`, a host, a domain with or without its leading dot, each with or without a port). `http` URLs use none.
 * Throws `configuration` when it is no URL; the message does not quote it, because it may hold a password.
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
