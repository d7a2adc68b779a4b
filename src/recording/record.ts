import type { Exchange } from '../core/exchange.ts';
import { recordBody } from './body.ts';
import { RECORDING_FORMAT, type RecordedExchange, type Recording } from './format.ts';
import { recordHeaders } from './headers.ts';
import { Pseudonyms } from './pseudonyms.ts';

/** What `createRecording` records, and what it knows to be confidential. */
interface Recorded {
  exchanges: readonly Exchange[];
  organization: string;
  /** The configured URLs; `tokenUrl` is `null` with a fixed token. */
  auditUrl: string;
  tokenUrl: string | null;
  /** Secrets and ids of the configuration. */
  confidential: readonly string[];
  checks: { name: string; outcome: string }[];
  program: string;
  recordedAt: Date;
}

const NOTE =
  'Names, addresses, ids, hosts, details and secrets are replaced, each value by the same replacement everywhere. Kept: names of fields, ' +
  'types, times and counts of the list, category, action and source of events. Read it before you send it.';

/** Parameters that the program sends, except those that name someone. */
const KEPT_PARAMETERS = new Set(['language', 'top', 'skip', 'sortBy', 'sortOrder', 'api-version']);
const KEPT_FORM_FIELDS = ['grant_type', 'scope'];

/** Replaces everything in the exchanges that could identify someone. See `Pseudonyms` for the rules. */
export function createRecording(recorded: Recorded): Recording {
  const sensitive = new Set<string>();
  const originals = new Set<string>();
  const pass = () => recordAll(recorded, new Pseudonyms(sensitive, originals));
  // The first pass finds what to protect: a name may be shown before the field that tells that it is one.
  pass();
  return pass();
}

function recordAll(recorded: Recorded, pseudonyms: Pseudonyms): Recording {
  const { exchanges, auditUrl, tokenUrl, checks, program, recordedAt } = recorded;
  for (const value of recorded.confidential) pseudonyms.protect(value);
  return {
    format: RECORDING_FORMAT,
    program,
    recordedAt: recordedAt.toISOString(),
    note: NOTE,
    organization: pseudonyms.name('organization', recorded.organization),
    auditPath: recordPath(auditUrl, pseudonyms),
    tokenPath: tokenUrl === null ? null : recordPath(tokenUrl, pseudonyms),
    checks,
    exchanges: exchanges.map((exchange) => recordExchange(exchange, pseudonyms)),
  };
}

function recordExchange(exchange: Exchange, pseudonyms: Pseudonyms): RecordedExchange {
  const { method, url, requestHeaders, form, status, headers, body } = exchange;
  const isToken = method === 'POST';
  return {
    request: {
      kind: isToken ? 'token' : 'list',
      method,
      url: recordUrl(url, pseudonyms),
      headers: recordHeaders(requestHeaders, pseudonyms) as Record<string, string>,
      ...(form === undefined ? {} : { form: recordForm(form, pseudonyms) }),
    },
    response: {
      status,
      headers: recordHeaders(headers, pseudonyms),
      ...recordBody(body, isToken, pseudonyms),
    },
  };
}

function recordUrl(url: string, pseudonyms: Pseudonyms): string {
  const { protocol, searchParams } = new URL(url);
  const query = [...searchParams].map(([name, value]) => {
    const isKept =
      KEPT_PARAMETERS.has(name) && /^[\w.-]{1,20}$/.test(value) && !pseudonyms.isProtected(value);
    const shownName = KEPT_PARAMETERS.has(name) ? name : pseudonyms.key(name);
    return `${encodeURIComponent(shownName)}=${encodeURIComponent(isKept ? value : pseudonyms.replace(value))}`;
  });
  const path = `${protocol}//${pseudonyms.hostAndPort(url)}${recordPath(url, pseudonyms)}`;
  return query.length > 0 ? `${path}?${query.join('&')}` : path;
}

function recordPath(url: string, pseudonyms: Pseudonyms): string {
  const segments = new URL(url).pathname.split('/');
  return segments.map((segment) => pseudonyms.segment(segment)).join('/');
}

function recordForm(form: string, pseudonyms: Pseudonyms): Record<string, string> {
  const kept = [...new URLSearchParams(form)].filter(([name]) => KEPT_FORM_FIELDS.includes(name));
  return Object.fromEntries(
    kept.map(([name, value]) => {
      const isKept = /^[\w. ]{1,200}$/.test(value) && !pseudonyms.isProtected(value);
      return [name, isKept ? value : pseudonyms.replace(value)];
    }),
  );
}
