import type { IncomingMessage, ServerResponse } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';
import type { FaultPlan, FaultRule } from './faults.ts';
import type { History } from './history.ts';
import { parseListQuery, renderListing } from './listing.ts';
import type { LagPlan } from './memory.ts';
import type { Misbehaviour } from './misbehaviour.ts';
import type { Random } from './random.ts';
import type { Replay } from './replay.ts';
import type { RequestLog, SeenRequest } from './requests.ts';
import {
  errorResponse,
  faultResponse,
  jsonResponse,
  PORTAL_RESPONSE,
  type PreparedResponse,
  sendFaulty,
  sendPrepared,
} from './respond.ts';
import { createRouter } from './routes.ts';
import type { TokenBook } from './tokens.ts';

interface HandlerParts {
  history: History;
  log: RequestLog;
  tokens: TokenBook;
  random: Random;
  settings: { organization: string; partitionGlobalId: string; lateWithinMs: number };
  /** Recorded responses, which come before the simulated ones. */
  replay: Replay | undefined;
  /** The current values: both change while the server runs. */
  behaviour: () => Misbehaviour;
  faults: () => FaultPlan;
  lags: () => LagPlan;
}

/** Creates a handler that responds to one request and never rejects. */
export function createHandler(
  parts: HandlerParts,
): (request: IncomingMessage, response: ServerResponse) => Promise<void> {
  const { log, tokens, random, settings } = parts;
  const routeOf = createRouter(settings.organization, settings.partitionGlobalId);
  const nextCap = createCap(parts.behaviour);
  return async (request, response) => {
    const [path = '/', search = ''] = (request.url ?? '/').split(/\?(.*)/s);
    const kind = parts.replay?.kindOf(path) ?? routeOf(path);
    const seen: SeenRequest = {
      kind,
      at: new Date(),
      method: request.method ?? '',
      path,
      query: new URLSearchParams(search),
      headers: request.headers,
      status: 0,
      rows: 0,
    };
    log.add(seen);
    try {
      const form = await readBody(request);
      const rule = kind === 'portal' ? undefined : parts.faults().next(kind);
      await wait(parts.behaviour().latencyMs, random);
      if (rule) seen.fault = rule.fault;
      if (rule) log.counts.faults++;
      if (rule?.fault === 'revoke') tokens.revokeAll();
      const replacement = rule && faultResponse(rule);
      const prepared = replacement ?? (await prepareResponse(parts, seen, form, nextCap, rule));
      setDate(response, parts.behaviour());
      const isFaulty = rule && !replacement && rule.fault !== 'empty' && rule.fault !== 'null-results';
      seen.status = rule?.fault === 'reset' || rule?.fault === 'silence' ? 0 : prepared.status;
      log.counts.rows += seen.rows;
      if (isFaulty) sendFaulty(response, prepared, rule);
      else await sendPrepared(request, response, prepared, kind === 'list' && parts.behaviour().gzip);
    } catch {
      // The client closed the connection during its request.
      response.destroy();
    }
  };
}

async function prepareResponse(
  parts: HandlerParts,
  seen: SeenRequest,
  form: URLSearchParams,
  nextCap: () => number,
  rule: FaultRule | undefined,
): Promise<PreparedResponse> {
  const replayed = parts.replay?.next(seen.kind, seen.query);
  if (replayed) return replayed;
  if (seen.kind === 'portal') return PORTAL_RESPONSE;
  return seen.kind === 'token' ? prepareToken(parts, seen, form) : prepareList(parts, seen, nextCap, rule);
}

function prepareToken(
  { tokens, behaviour }: HandlerParts,
  { method, headers }: SeenRequest,
  form: URLSearchParams,
): PreparedResponse {
  if (method !== 'POST') return errorResponse(405, 'The token endpoint accepts only POST');
  if (!headers['content-type']?.startsWith('application/x-www-form-urlencoded')) {
    return jsonResponse(400, { error: 'invalid_request' });
  }
  const { tokenLifeSeconds, expiresIn = tokenLifeSeconds, expiresInAsText } = behaviour();
  const issued = tokens.issue(form, tokenLifeSeconds);
  if ('error' in issued) return jsonResponse(400, issued);
  return jsonResponse(200, {
    access_token: issued.token,
    expires_in: expiresInAsText ? String(expiresIn) : expiresIn,
    token_type: 'Bearer',
    scope: issued.scope,
  });
}

function prepareList(
  parts: HandlerParts,
  seen: SeenRequest,
  nextCap: () => number,
  rule: FaultRule | undefined,
): PreparedResponse {
  const { history, tokens, random, settings } = parts;
  const behaviour = parts.behaviour();
  const query = parseListQuery(seen.query);
  if (typeof query !== 'string') Object.assign(seen, { skip: query.skip, top: query.top });
  if (seen.method !== 'GET') return errorResponse(405, 'The audit log accepts only GET');
  const status = tokens.check(seen.headers.authorization);
  if (status === 401) {
    return {
      ...errorResponse(401, 'The access token is missing, unknown or expired'),
      headers: { 'WWW-Authenticate': 'Bearer' },
    };
  }
  if (status === 403) return errorResponse(403, 'The access token lacks the scope PM.Audit or PM.Audit.Read');
  if (!seen.headers['content-type']?.startsWith('application/json')) {
    return errorResponse(400, 'The header Content-Type: application/json is missing');
  }
  if (typeof query === 'string') return errorResponse(400, query);
  const results = rule?.fault === 'null-results' ? 'null' : rule?.fault === 'empty' ? 'empty' : undefined;
  const earlier = parts.lags().next(history.memory);
  const list = earlier ?? history.list;
  if (earlier) seen.isLagging = true;
  const { body, rows } = renderListing(list, query, {
    limit: Math.min(query.top ?? behaviour.defaultTop, nextCap()),
    totalCount: behaviour.totalCount(list.length),
    behaviour,
    random,
    ...(results ? { results } : {}),
  });
  seen.rows = rows;
  history.move(behaviour.moves, settings.lateWithinMs);
  return { status: 200, body };
}

function createCap(behaviour: () => Misbehaviour): () => number {
  let request = 0;
  return () => {
    const { cap } = behaviour();
    return typeof cap === 'number' ? cap : (cap[request++ % cap.length] ?? Number.POSITIVE_INFINITY);
  };
}

function setDate(response: ServerResponse, { clockOffsetMs, dateHeader }: Misbehaviour): void {
  response.sendDate = false;
  if (dateHeader) response.setHeader('Date', new Date(Date.now() + clockOffsetMs).toUTCString());
}

async function readBody(request: IncomingMessage): Promise<URLSearchParams> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return new URLSearchParams(Buffer.concat(chunks).toString());
}

async function wait(latencyMs: number | [number, number], random: Random): Promise<void> {
  const milliseconds =
    typeof latencyMs === 'number' ? latencyMs : latencyMs[0] + random() * (latencyMs[1] - latencyMs[0]);
  // No timer for zero: the request is then handled within one turn of the event loop.
  if (milliseconds > 0) await delay(milliseconds);
}
