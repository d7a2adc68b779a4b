import { setTimeout as wait } from 'node:timers/promises';
import { ExportError } from '../core/errors.ts';
import type { LogKey } from '../core/log-key.ts';
import type { Activity } from '../postgres/read/activity.ts';
import type { StatusReport } from '../postgres/read/status.ts';
import { type Access, CHALLENGE } from './access.ts';
import { describeError, type Health } from './health.ts';
import type { Metrics } from './metrics.ts';
import { chooseLog, renderPage } from './page/page.ts';
import { SCRIPT_SOURCE } from './page/script.ts';
import { STYLE_SOURCE } from './page/style.ts';
import { assessReadiness } from './readiness.ts';

export interface RouteResponse {
  status: number;
  type: string;
  body: string;
  headers?: Record<string, string>;
}

interface RouteOptions {
  health: Health;
  metrics: Metrics;
  readStatus: () => Promise<StatusReport>;
  readActivity: (key: LogKey) => Promise<Activity>;
  /** The newest head of a ledger; default: none is shown. */
  readHead?: ((key: LogKey) => Promise<string | undefined>) | undefined;
  nextRunAt: () => Date | undefined;
  droppedLogLines?: () => number;
  statusAgeMs?: number;
  /** The time that the page shows; default: the clock of this process. */
  now?: () => Date;
  /** Who may read the page and the metrics; default: everybody. */
  access?: Access | undefined;
  /** Of docs/operations.md. */
  runbookUrl?: string | undefined;
}

/** What a route needs to know of a request. */
interface RouteRequest {
  method: string;
  url: string;
  authorization?: string | undefined;
}

/** They show no event and no count, and probes have no token. */
const OPEN_PATHS = ['/healthz', '/readyz'];

/** A status, or why it could not be read. */
type Reading = { report: StatusReport; error?: undefined } | { report?: undefined; error: unknown };

/** A probe has timed out by then. */
const DATABASE_WAIT_MS = 5_000;
const STATUS_AGE_MS = 5_000;

/** Returns the function that responds to a request. It throws only on a fault of this program. */
export function createRoutes(options: RouteOptions): (request: RouteRequest) => Promise<RouteResponse> {
  const { health, metrics, now = () => new Date(), access = () => true } = options;
  const read = createReader(options);
  const answerPage = createPageRoute(options, read);

  const routes = new Map<string, (query: URLSearchParams) => Promise<RouteResponse>>([
    ['/healthz', async () => json(200, { status: 'alive', ...health.read() })],
    [
      '/readyz',
      async () => {
        await read();
        const { isReady, reasons, failing } = assessReadiness(health.read(), now());
        return json(isReady ? 200 : 503, { ready: isReady, reasons, ...(failing.length > 0 && { failing }) });
      },
    ],
    [
      '/metrics',
      async () => {
        const { report } = await read();
        if (report) metrics.observeStatus(report);
        else metrics.observeDatabaseAway();
        const { contentType, text } = await metrics.render();
        return { status: 200, type: contentType, body: text };
      },
    ],
    ['/', answerPage],
  ]);

  return async ({ method, url, authorization }) => {
    if (method !== 'GET' && method !== 'HEAD') {
      return {
        ...text(405, 'Only GET and HEAD are allowed.'),
        headers: { Allow: 'GET, HEAD', Connection: 'close' },
      };
    }
    const [path, query] = url.split('?', 2);
    const handler = routes.get(path!);
    if (!handler) return text(404, `Not found. The paths are ${[...routes.keys()].join(', ')}.`);
    if (!OPEN_PATHS.includes(path!) && !access(authorization)) {
      const message =
        'Send the token of STATUS_TOKEN_FILE as a bearer token, or as the password with any user name.';
      return { ...text(401, message), headers: { 'WWW-Authenticate': CHALLENGE } };
    }
    return handler(new URLSearchParams(query));
  };
}

const PAGE_POLICY =
  `default-src 'none'; style-src ${STYLE_SOURCE}; script-src ${SCRIPT_SOURCE}; connect-src 'self'; img-src data:; ` +
  `base-uri 'none'; form-action 'none'; frame-ancestors 'none'`;

function createPageRoute(options: RouteOptions, read: () => Promise<Reading>) {
  const readActivity = createLogReader(options.readActivity, options);
  const readHead = createLogReader(options.readHead ?? (async () => undefined), options);
  const { now = () => new Date() } = options;
  return async (query: URLSearchParams): Promise<RouteResponse> => {
    const { report, error } = await read();
    const organization = query.get('organization');
    const wanted = organization === null ? undefined : { organization, log: query.get('log') ?? undefined };
    const shown = chooseLog(report, wanted);
    const [activity, head] = shown ? await Promise.all([readActivity(shown), readHead(shown)]) : [];
    const body = renderPage({
      health: options.health.read(),
      report,
      problem: report ? undefined : describeError(error),
      wanted,
      activity,
      head,
      nextRunAt: options.nextRunAt(),
      droppedLogLines: options.droppedLogLines?.() ?? 0,
      runbookUrl: options.runbookUrl,
      now: now(),
    });
    const isUnknown = report !== undefined && wanted !== undefined && !shown;
    const headers = { 'Content-Security-Policy': PAGE_POLICY };
    return { status: isUnknown ? 404 : 200, type: 'text/html; charset=utf-8', body, headers };
  };
}

/** Reads something of a log once for all requests within `statusAgeMs`; `undefined` after a failure or a timeout. */
function createLogReader<T>(
  readOf: (key: LogKey) => Promise<T>,
  { statusAgeMs = STATUS_AGE_MS }: RouteOptions,
) {
  const readings = new Map<string, Promise<T | undefined>>();
  return ({ organization, log }: LogKey): Promise<T | undefined> => {
    const name = JSON.stringify([organization, log]);
    const reading =
      readings.get(name) ??
      readOf({ organization, log })
        .catch(() => undefined)
        .finally(() => setTimeout(() => readings.delete(name), statusAgeMs).unref());
    readings.set(name, reading);
    return Promise.race([reading, wait(DATABASE_WAIT_MS, undefined, { ref: false })]);
  };
}

/**
 * Reads the status once for all requests within `statusAgeMs`, so that many clients do not load the database, and updates the
 * health with the result.
 */
function createReader({
  readStatus,
  health,
  statusAgeMs = STATUS_AGE_MS,
}: RouteOptions): () => Promise<Reading> {
  let reading: Promise<Reading> | undefined;
  const read = async (): Promise<Reading> => {
    try {
      const report = await readStatus();
      const { pending } = report.migrations;
      if (pending.length === 0) health.databaseReady();
      else health.databaseAway(new ExportError('database', `migrations are pending: ${pending.join(', ')}`));
      return { report };
    } catch (error) {
      health.databaseAway(error);
      return { error };
    }
  };
  return async () => {
    reading ??= read().finally(() => {
      setTimeout(() => {
        reading = undefined;
      }, statusAgeMs).unref();
    });
    const timer = new AbortController();
    const late = wait(DATABASE_WAIT_MS, undefined, { signal: timer.signal }).then(() => {
      const error = new ExportError('database-away', `no response within ${DATABASE_WAIT_MS / 1000} s`);
      health.databaseAway(error);
      return { error };
    });
    late.catch(() => {});
    return Promise.race([reading, late]).finally(() => timer.abort());
  };
}

function json(status: number, value: unknown): RouteResponse {
  return { status, type: 'application/json', body: `${JSON.stringify(value)}\n` };
}

function text(status: number, message: string): RouteResponse {
  return { status, type: 'text/plain; charset=utf-8', body: `${message}\n` };
}
