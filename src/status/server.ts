import { createServer, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { StatusConfig } from '../config/config.ts';
import { ExportError } from '../core/errors.ts';
import type { LogKey } from '../core/log-key.ts';
import type { Logger } from '../log.ts';
import type { Activity } from '../postgres/read/activity.ts';
import type { StatusReport } from '../postgres/read/status.ts';
import { createAccess } from './access.ts';
import type { Health } from './health.ts';
import type { Metrics } from './metrics.ts';
import { createRoutes, type RouteResponse } from './routes.ts';

export interface StatusServerOptions {
  host: string;
  /** 0 chooses a free one. */
  port: number;
  health: Health;
  metrics: Metrics;
  readStatus: () => Promise<StatusReport>;
  /** For one organization of that status; only the page needs it. */
  readActivity: (key: LogKey) => Promise<Activity>;
  /** The newest head of its ledger, for the page. */
  readHead?: ((key: LogKey) => Promise<string | undefined>) | undefined;
  log: Logger;
  nextRunAt: () => Date | undefined;
  /** Number of log lines that could not be written; the page shows it. */
  droppedLogLines?: () => number;
  /** For a client to send its request, and to read each piece of the response; default 10 s. */
  clientTimeoutMs?: number;
  /** How long a status is reused for further requests; default 5 s. */
  statusAgeMs?: number;
  /** The time that the page shows; default: the clock of this process. */
  now?: () => Date;
  /** Required for the page and the metrics. */
  token?: StatusConfig['token'];
  /** Called with each new token of the file, so that the log can redact it. */
  onToken?: ((token: string) => void) | undefined;
  /** Of docs/operations.md, for the links of the page. */
  runbookUrl?: string | undefined;
}

export interface StatusServer {
  /** `http://HOST:PORT`, without a `/` at the end. */
  url: string;
  /** Completes the requests in flight, for at most a second. May be called twice. */
  close(): Promise<void>;
}

const MAX_HEADER_BYTES = 8_192;
const MAX_CONNECTIONS = 100;
/** Node processes every pipelined request and keeps the responses in memory until the client reads them. */
const MAX_REQUESTS_PER_CONNECTION = 50;
const CLOSE_GRACE_MS = 1_000;

/**
 * Serves `/`, `/healthz`, `/readyz` and `/metrics` for GET and HEAD. With a token, `/` and `/metrics` require it. Of events it shows times and counts, and
 * of gone events category and action. Throws `configuration` when it cannot listen on host and port.
 */
export async function createStatusServer(options: StatusServerOptions): Promise<StatusServer> {
  const { host, port, clientTimeoutMs = 10_000 } = options;
  const server = createServer(
    {
      headersTimeout: clientTimeoutMs,
      requestTimeout: clientTimeoutMs,
      keepAliveTimeout: clientTimeoutMs,
      connectionsCheckingInterval: Math.min(1_000, clientTimeoutMs),
      maxHeaderSize: MAX_HEADER_BYTES,
    },
    createListener(options),
  );
  server.maxConnections = MAX_CONNECTIONS;
  server.maxRequestsPerSocket = MAX_REQUESTS_PER_CONNECTION;
  // Closes the connection of a client that does not read its response. The timeouts above are for clients that send slowly.
  server.setTimeout(clientTimeoutMs * 2);
  await listen(server, host, port);
  server.on('error', (err) => options.log.warn({ err }, 'error of the status server'));
  const address = server.address() as AddressInfo;
  return { url: `http://${host.includes(':') ? `[${host}]` : host}:${address.port}`, close: closer(server) };
}

function createListener(options: StatusServerOptions): RequestListener {
  const access = createAccess(options.token, options);
  const routes = createRoutes({ ...options, access });
  return async (request, response) => {
    let routed: RouteResponse;
    try {
      const { method = '', url = '', headers } = request;
      routed = await routes({ method, url, authorization: headers.authorization });
    } catch (err) {
      options.log.error({ err, url: request.url }, 'the status server could not respond');
      routed = { status: 500, type: 'text/plain; charset=utf-8', body: 'Internal error; see the log.\n' };
    }
    const body = Buffer.from(routed.body);
    response.writeHead(routed.status, {
      ...SECURITY_HEADERS,
      'Content-Type': routed.type,
      'Content-Length': body.length,
      ...routed.headers,
    });
    // Node omits the body for HEAD.
    response.end(body);
  };
}

const SECURITY_HEADERS = {
  'Content-Security-Policy':
    "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  'X-Content-Type-Options': 'nosniff',
  'X-Frame-Options': 'DENY',
  'Referrer-Policy': 'no-referrer',
  'Cross-Origin-Resource-Policy': 'same-origin',
  'Cache-Control': 'no-store',
};

function listen(server: Server, host: string, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const fail = (cause: NodeJS.ErrnoException) => {
      const remedy =
        cause.code === 'EADDRINUSE' || cause.code === 'EACCES'
          ? 'Choose another STATUS_PORT (0: any free one; off: no server), or stop the process that uses this one.'
          : 'Check STATUS_HOST and STATUS_PORT.';
      const message = `Cannot serve the status page on ${host}:${port} (${cause.message}). ${remedy}`;
      reject(new ExportError('configuration', message, { cause }));
    };
    server.once('error', fail);
    server.listen(port, host, () => {
      server.off('error', fail);
      resolve();
    });
  });
}

function closer(server: Server): () => Promise<void> {
  let closed: Promise<void> | undefined;
  return () => {
    closed ??= new Promise((resolve) => {
      const timer = setTimeout(() => server.closeAllConnections(), CLOSE_GRACE_MS);
      server.close(() => {
        clearTimeout(timer);
        resolve();
      });
    });
    return closed;
  };
}
