import { setTimeout as wait } from 'node:timers/promises';
import { ExportError } from '../core/errors.ts';
import type { StatusReport } from '../postgres/status.ts';
import { describeError, failingReasons, type Health, unreadyReasons } from './health.ts';
import type { Metrics } from './metrics.ts';
import { renderPage } from './page.ts';
import { STYLE_SOURCE } from './page-style.ts';

export interface Answer {
  status: number;
  type: string;
  body: string;
  headers?: Record<string, string>;
}

export interface RouteOptions {
  health: Health;
  metrics: Metrics;
  readStatus: () => Promise<StatusReport>;
  nextRunAt: () => Date | undefined;
  statusAgeMs?: number;
}

/** A status, or why there is none. */
type Reading = { report: StatusReport; error?: undefined } | { report?: undefined; error: unknown };

/** A probe that waits longer has given up by then. */
const DATABASE_WAIT_MS = 5_000;

/** The answer to a method and a path. Throws only on a fault of this program. */
export function createRoutes(options: RouteOptions): (method: string, url: string) => Promise<Answer> {
  const { health, metrics } = options;
  const read = createReader(options);

  const routes = new Map<string, () => Promise<Answer>>([
    ['/healthz', async () => json(200, { status: 'alive', ...health.read() })],
    [
      '/readyz',
      async () => {
        await read();
        const state = health.read();
        const reasons = unreadyReasons(state);
        const isReady = reasons.length === 0;
        const failing = isReady ? failingReasons(state) : [];
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
    [
      '/',
      async () => {
        const { report, error } = await read();
        const page = renderPage({
          health: health.read(),
          report,
          problem: report ? undefined : describeError(error),
          nextRunAt: options.nextRunAt(),
          now: new Date(),
        });
        const policy = `default-src 'none'; style-src ${STYLE_SOURCE}; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'`;
        const headers = { 'Content-Security-Policy': policy };
        return { status: 200, type: 'text/html; charset=utf-8', body: page, headers };
      },
    ],
  ]);

  return async (method, url) => {
    if (method !== 'GET' && method !== 'HEAD') {
      return { ...text(405, 'Only GET and HEAD.'), headers: { Allow: 'GET, HEAD', Connection: 'close' } };
    }
    const answer = routes.get(url.split('?')[0]!);
    return answer ? answer() : text(404, `Not found. There are ${[...routes.keys()].join(', ')}.`);
  };
}

/**
 * Reads the status once for all who ask at the same time or shortly after, so that no number of them can burden the
 * database, and tells the health what came of it.
 */
function createReader({ readStatus, health, statusAgeMs = 5_000 }: RouteOptions): () => Promise<Reading> {
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
      const error = new ExportError('database-away', `no answer within ${DATABASE_WAIT_MS / 1000} s`);
      health.databaseAway(error);
      return { error };
    });
    late.catch(() => {});
    return Promise.race([reading, late]).finally(() => timer.abort());
  };
}

function json(status: number, value: unknown): Answer {
  return { status, type: 'application/json', body: `${JSON.stringify(value)}\n` };
}

function text(status: number, words: string): Answer {
  return { status, type: 'text/plain; charset=utf-8', body: `${words}\n` };
}
