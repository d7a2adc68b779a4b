import type { RecordedExchange, Recording } from '../recording/format.ts';
import { jsonResponse, type PreparedResponse } from './respond.ts';

/** The bearer token of a replay: a recording holds none. */
const REPLAYED_TOKEN = 'replayed-token';
/** Headers that belong to the connection or to the encoding of the recorded body. */
const NOT_REPLAYED = new Set([
  'connection',
  'content-encoding',
  'content-length',
  'content-type',
  'date',
  'keep-alive',
  'transfer-encoding',
]);
/** Parameters that tell the requests of one list apart. */
const COMPARED = ['language', 'top', 'skip', 'sortBy', 'sortOrder'];

/** The recorded responses, and the events in them as a list. */
export interface Replay {
  organization: string;
  /** A token that the list accepts. */
  accessToken: string;
  /** The JSON texts of all recorded events: the list for requests that were not recorded. */
  rows: readonly string[];
  auditPath: string;
  tokenPath: string | null;
  kindOf(path: string): 'token' | 'list' | undefined;
  /**
   * The response to a recorded request: with the same kind and parameters, in the recorded order, the last one again and again. A
   * list that never responded with events responds to every request as it did. `undefined`: respond from `rows`.
   */
  next(kind: string, query: URLSearchParams): PreparedResponse | undefined;
}

export function createReplay({ organization, auditPath, tokenPath, exchanges }: Recording): Replay {
  const queues = new Map<string, PreparedResponse[]>();
  const add = (key: string, response: PreparedResponse) => {
    queues.set(key, [...(queues.get(key) ?? []), response]);
  };
  const rows = collectRows(exchanges);
  for (const { request, response } of exchanges) {
    const prepared = prepare(response);
    if (request.kind === 'token') add('token', prepared);
    else add(listKey(new URL(request.url).searchParams), prepared);
    if (request.kind === 'list' && rows === undefined) add('list', prepared);
  }
  return {
    organization,
    accessToken: REPLAYED_TOKEN,
    rows: rows ?? [],
    auditPath,
    tokenPath,
    kindOf: (path) => (path === auditPath ? 'list' : path === tokenPath ? 'token' : undefined),
    next(kind, query) {
      const queue = queues.get(kind === 'list' ? listKey(query) : kind) ?? queues.get(kind);
      return queue !== undefined && queue.length > 1 ? queue.shift() : queue?.[0];
    },
  };
}

function listKey(query: URLSearchParams): string {
  return JSON.stringify(COMPARED.map((name) => query.get(name)));
}

/** Each event once. `undefined` if no response was a list. */
function collectRows(exchanges: readonly RecordedExchange[]): string[] | undefined {
  const lists = exchanges.flatMap(({ request, response }) => {
    if (request.kind !== 'list' || response.status >= 300) return [];
    const results = (response.body as { results?: unknown } | null | undefined)?.results;
    return Array.isArray(results) ? [{ language: languageOf(request.url), results }] : [];
  });
  const [first] = lists;
  if (first === undefined) return undefined;
  const rows = lists.filter(({ language }) => language === first.language).flatMap(({ results }) => results);
  return [...new Set(rows.map((row) => JSON.stringify(row)))];
}

function languageOf(url: string): string | null {
  return new URL(url).searchParams.get('language');
}

function prepare({ status, headers, kind, bom, body }: RecordedExchange['response']): PreparedResponse {
  const type = headers['content-type'];
  const replayed = Object.entries(headers).filter(([name]) => !NOT_REPLAYED.has(name.toLowerCase()));
  return {
    status,
    body: Buffer.concat([Buffer.from(bom ? '\uFEFF' : ''), bodyOf(kind, body)]),
    ...(typeof type === 'string' ? { contentType: type } : {}),
    headers: Object.fromEntries(replayed),
  };
}

function bodyOf(kind: string, body: unknown): Buffer {
  if (kind === 'empty') return Buffer.alloc(0);
  if (kind === 'html') return Buffer.from(`<!DOCTYPE html>\n<title>${String(body)}</title>\n`);
  if (kind === 'text') return Buffer.from(String(body));
  const isToken = typeof body === 'object' && body !== null && 'access_token' in body;
  return jsonResponse(200, isToken ? { ...body, access_token: REPLAYED_TOKEN } : body).body;
}
