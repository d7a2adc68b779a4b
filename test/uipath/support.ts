import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { RequestMeter } from '../../src/core/source.ts';
import { createSimulator, type Simulator, type SimulatorOptions } from '../../src/simulator/simulator.ts';
import { createUipathSource, type UipathOptions } from '../../src/uipath/classic/source.ts';

interface LogLine {
  level: 'debug' | 'warn';
  message: string;
  fields: Record<string, unknown>;
}

/** A source under test: waits are recorded instead of performed, and all log lines are kept. */
interface Bench {
  lines: LogLine[];
  waits: number[];
  meter: { requests: number; retries: number };
  abort: AbortController;
  fetchPage(skip?: number, top?: number): ReturnType<ReturnType<typeof createUipathSource>['fetchPage']>;
  source: ReturnType<typeof createUipathSource>;
}

const open: (() => unknown)[] = [];

/** For `afterEach`: closes everything that a test has opened. */
export async function closeAll(): Promise<void> {
  for (const close of open.splice(0).reverse()) await close();
}

export async function openSimulator(options: SimulatorOptions = {}): Promise<Simulator> {
  const simulator = await createSimulator({ events: 5, ...options });
  open.push(() => simulator.close());
  return simulator;
}

export function openBench(
  { url, clientId, clientSecret }: Target,
  options: Partial<UipathOptions> = {},
): Bench {
  const lines: LogLine[] = [];
  const waits: number[] = [];
  const note = (level: LogLine['level']) => (fields: object, message: string) => {
    lines.push({ level, message, fields: fields as Record<string, unknown> });
  };
  const source = createUipathSource({
    auditUrl: `${url}/acme/audit_/api/auditlogs`,
    credentials: {
      kind: 'client',
      clientId: clientId ?? 'client',
      clientSecret: clientSecret ?? 'the-secret',
      scope: 'PM.Audit.Read',
      tokenUrl: `${url}/acme/identity_/connect/token`,
    },
    language: 'en',
    timeoutMs: 5000,
    retryLimit: 4,
    retryMaxDelayMs: 120_000,
    environment: {},
    random: () => 0.5,
    sleep: async (delayMs) => {
      waits.push(delayMs);
    },
    log: { debug: note('debug'), warn: note('warn') },
    ...options,
  });
  open.push(() => source.close());
  const meter: RequestMeter = { requests: 0, retries: 0, retriesBy: {} };
  const abort = new AbortController();
  const fetchPage = (skip = 0, top = 100) => source.fetchPage({ skip, top }, { signal: abort.signal, meter });
  return { lines, waits, meter, abort, source, fetchPage };
}

interface Target {
  url: string;
  clientId?: string;
  clientSecret?: string;
}

export type Respond = (request: IncomingMessage, response: ServerResponse, body: string) => void;

/** A server for responses that the simulator cannot produce. `token` responds to token requests, by default with a valid one. */
export async function openServer(
  list: Respond,
  token: Respond = goodToken,
): Promise<Target & { seen: string[] }> {
  const seen: string[] = [];
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk) => chunks.push(chunk));
    request.on('end', () => {
      seen.push(`${request.method} ${request.url}`);
      const respond = request.url?.includes('/connect/token') ? token : list;
      respond(request, response, Buffer.concat(chunks).toString());
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  open.push(() => {
    server.closeAllConnections();
    return new Promise((resolve) => server.close(resolve));
  });
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, seen };
}

export function sendJson(response: ServerResponse, status: number, value: unknown): void {
  response.writeHead(status, { 'Content-Type': 'application/json' }).end(JSON.stringify(value));
}

const goodToken: Respond = (_request, response) => {
  sendJson(response, 200, { access_token: 'a-good-token', expires_in: 3600 });
};

export const emptyPage: Respond = (_request, response) =>
  sendJson(response, 200, { totalCount: 0, results: [] });
