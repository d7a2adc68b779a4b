import type { IncomingMessage, ServerResponse } from 'node:http';
import { promisify } from 'node:util';
import { constants, createGzip, gzip } from 'node:zlib';
import { PORTAL_PAGE, renderErrorBody } from './error-bodies.ts';
import type { FaultRule } from './faults.ts';

const gzipAsync = promisify(gzip);
const JSON_TYPE = 'application/json; charset=utf-8';

export interface PreparedResponse {
  status: number;
  body: Buffer;
  contentType?: string;
  headers?: Record<string, string | string[]>;
}

/** An error response with one of UiPath's bodies. */
export function errorResponse(status: number, message: string): PreparedResponse {
  const { contentType, text } = renderErrorBody('message', status, message);
  return { status, contentType, body: Buffer.from(text) };
}

export function jsonResponse(status: number, value: unknown): PreparedResponse {
  return { status, body: Buffer.from(JSON.stringify(value)) };
}

/** The response to an unknown path. */
export const PORTAL_RESPONSE: PreparedResponse = {
  status: 200,
  contentType: 'text/html',
  body: Buffer.from(PORTAL_PAGE),
};

/** Sends the whole response, compressed if enabled and accepted by the client. */
export async function sendPrepared(
  request: IncomingMessage,
  response: ServerResponse,
  prepared: PreparedResponse,
  mayCompress: boolean,
): Promise<void> {
  const isCompressed = mayCompress && /\bgzip\b/.test(String(request.headers['accept-encoding'] ?? ''));
  const body = isCompressed ? await gzipAsync(prepared.body, { level: 1 }) : prepared.body;
  response.writeHead(prepared.status, {
    'Content-Type': prepared.contentType ?? JSON_TYPE,
    'Content-Length': body.length,
    ...(isCompressed ? { 'Content-Encoding': 'gzip' } : {}),
    ...prepared.headers,
  });
  response.end(body);
}

/** Returns the response that replaces the right one, or `undefined` if the rule changes how the right one is sent. */
export function faultResponse(rule: FaultRule): PreparedResponse | undefined {
  if (rule.fault === 'html') return PORTAL_RESPONSE;
  if (rule.fault === 'redirect') {
    return { status: 302, body: Buffer.alloc(0), headers: { Location: rule.location ?? '/portal_/' } };
  }
  const status = rule.fault === 'revoke' ? 401 : rule.fault;
  if (typeof status !== 'number') return undefined;
  const { contentType, text } = renderErrorBody(rule.body ?? 'message', status);
  const headers: Record<string, string> =
    status === 401 ? { 'WWW-Authenticate': 'Bearer error="invalid_token"' } : {};
  if (rule.retryAfter !== undefined) {
    const until = new Date(Date.now() + rule.retryAfter * 1000);
    headers['Retry-After'] = rule.asDate ? until.toUTCString() : String(rule.retryAfter);
  }
  return { status, contentType, body: Buffer.from(text), headers };
}

/** Sends the right response with the fault of the rule. */
export function sendFaulty(response: ServerResponse, prepared: PreparedResponse, rule: FaultRule): void {
  const half = prepared.body.subarray(0, Math.floor(prepared.body.length / 2));
  const headers = { 'Content-Type': prepared.contentType ?? JSON_TYPE };
  switch (rule.fault) {
    case 'half-length':
      response.writeHead(prepared.status, { ...headers, 'Content-Length': prepared.body.length });
      response.write(half, () => response.destroy());
      return;
    case 'half-chunked':
      response.writeHead(prepared.status, headers);
      response.write(half, () => response.destroy());
      return;
    case 'half-clean':
      response.writeHead(prepared.status, { ...headers, 'Content-Length': half.length });
      response.end(half);
      return;
    case 'drip':
      drip(response, prepared, rule.bytesPerSecond ?? 1);
      return;
    case 'huge':
    case 'bomb':
      sendHuge(response, prepared, rule);
      return;
    case 'silence':
      return;
    default:
      response.socket?.resetAndDestroy();
  }
}

function drip(
  response: ServerResponse,
  { status, body, contentType = JSON_TYPE }: PreparedResponse,
  bytesPerSecond: number,
): void {
  // The client may have disconnected during preparation; "close" was emitted then, and the timer would never stop.
  if (response.destroyed) return;
  response.writeHead(status, { 'Content-Type': contentType, 'Content-Length': body.length });
  const step = Math.max(1, Math.floor(bytesPerSecond / 20));
  let sent = 0;
  const timer = setInterval(
    () => {
      response.write(body.subarray(sent, sent + step));
      sent += step;
      if (sent >= body.length) response.end();
    },
    (1000 * step) / bytesPerSecond,
  );
  response.once('close', () => clearInterval(timer));
}

/** Sends `bytes` blanks, which JSON allows before a value, and then the right response. */
function sendHuge(response: ServerResponse, prepared: PreparedResponse, rule: FaultRule): void {
  const isBomb = rule.fault === 'bomb';
  response.writeHead(prepared.status, {
    'Content-Type': prepared.contentType ?? JSON_TYPE,
    ...(isBomb ? { 'Content-Encoding': 'gzip' } : {}),
  });
  const sink = isBomb ? createGzip({ level: constants.Z_BEST_SPEED }) : response;
  if (sink !== response) sink.pipe(response);
  const blanks = Buffer.alloc(1_048_576, ' ');
  let left = rule.bytes ?? 128 * 1_048_576;
  const write = (): void => {
    while (left > 0) {
      if (response.destroyed) return;
      const chunk = blanks.subarray(0, Math.min(left, blanks.length));
      left -= chunk.length;
      if (!sink.write(chunk)) {
        sink.once('drain', write);
        return;
      }
    }
    sink.end(prepared.body);
  };
  write();
}
