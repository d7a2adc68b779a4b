import type { OpenSource } from '../app.ts';
import type { SourceConfig } from '../config/config.ts';
import { ExportError } from '../core/errors.ts';
import type { Page } from '../core/offset-list/page.ts';
import { dateOfTicks } from '../core/ticks.ts';
import { describeDuration, describeInstant, describeWhen, formatNumber } from '../text/format.ts';
import type { UipathSource } from '../uipath/classic/source.ts';
import { type Checklist, type Finding, ok, warning } from './checklist.ts';

const FEW_ROWS = 5;
/** A person waits for the result: a second attempt distinguishes a short fault from an outage. */
const MAX_ATTEMPTS = 2;

export interface SourceToCheck {
  config: SourceConfig;
  open: OpenSource;
  signal: AbortSignal;
}

/** Tests token, list, sort order and language. Without `given` it skips these checks. */
export async function checkSource(checklist: Checklist, given: SourceToCheck | undefined): Promise<void> {
  const source = given && openWithFewRetries(given);
  const fetch = (skip: number, from = source!) => fetchFew(from, skip, given!.signal);
  let first: Page | undefined;
  await checklist.run('token', ['configuration'], () => checkToken(source!, given!));
  await checklist.run('list', ['token'], async () => {
    const requestedAt = Date.now();
    first = await fetch(0);
    const took = describeDuration(Date.now() - requestedAt);
    return ok(`${formatNumber(first.totalCount)} events at ${given!.config.auditUrl}, response in ${took}`);
  });
  await checklist.run('order', ['list'], () => checkOrder(first!, fetch));
  await checklist.run('language', ['list'], () => checkLanguage(first!, given!, fetch));
}

function openWithFewRetries({ config, open }: SourceToCheck, language = config.language): UipathSource {
  return open({ ...config, language, retryLimit: Math.min(config.retryLimit, MAX_ATTEMPTS) });
}

function fetchFew(source: UipathSource, skip: number, signal: AbortSignal): Promise<Page> {
  return source.fetchPage({ skip, top: FEW_ROWS }, { signal, meter: { requests: 0, retries: 0 } });
}

async function checkToken(source: UipathSource, { config, signal }: SourceToCheck): Promise<Finding> {
  const { expiresAt, scope } = await source.fetchToken({ signal });
  const { credentials } = config;
  if (credentials.kind === 'token') return ok('UIPATH_ACCESS_TOKEN is set; the worker cannot renew it');
  const granted = scope ?? credentials.scope;
  const lasts = expiresAt ? `, valid for ${describeDuration(expiresAt.getTime() - Date.now())}` : '';
  return ok(`${credentials.tokenUrl} issued a token for ${granted}${lasts}`);
}

/** The first rows must be in ascending order, and the last rows must follow them. */
async function checkOrder(first: Page, fetch: (skip: number) => Promise<Page>): Promise<Finding> {
  const { totalCount } = first;
  // Only rows after the first page: otherwise a row is compared with itself.
  const isLonger = totalCount > first.rows.length && first.rows.length > 0;
  const last = isLonger && (await fetch(Math.max(first.rows.length, totalCount - FEW_ROWS)));
  const ticks = [first, ...(last ? [last] : [])].flatMap(ticksOf);
  const [oldest] = ticks;
  const newest = ticks.at(-1);
  if (oldest === undefined || newest === undefined) {
    return warning('no event was returned: the sort order cannot be tested');
  }
  if (ticks.some((at, i) => i > 0 && at < ticks[i - 1]!)) {
    throw new ExportError(
      'source-invalid',
      'The source ignored sortOrder=asc: it returned an older event after a newer one. The export depends on this order; ' +
        'check UIPATH_AUDIT_PATH and UIPATH_API_VERSION.',
    );
  }
  const [from, to] = [dateOfTicks(oldest), dateOfTicks(newest)];
  const when = describeWhen(to, new Date());
  return ok(`oldest first: from ${describeInstant(from)} to ${describeInstant(to)} (${when})`);
}

function ticksOf({ rows }: Page): bigint[] {
  return rows.flatMap(({ ticks }) => ticks ?? []);
}

/** Tests that events have messages and, for a language other than English, that these differ from the English ones. */
async function checkLanguage(
  first: Page,
  given: SourceToCheck,
  fetch: (skip: number, from?: UipathSource) => Promise<Page>,
): Promise<Finding> {
  const { language } = given.config;
  const messages = messagesOf(first);
  if (messages.size === 0) return warning('the first events have no message: the language cannot be tested');
  if (language === 'en') return ok('messages are in en');
  const english = messagesOf(await fetch(0, openWithFewRetries(given, 'en')));
  const isOther = [...messages].some(
    ([event, message]) => english.has(event) && english.get(event) !== message,
  );
  if (isOther) return ok(`messages are in ${language}`);
  return warning(`the messages are in English: the source may have none in ${language}`);
}

/** Keyed by event, because offsets may change between two requests. */
function messagesOf({ rows }: Page): Map<string, string> {
  return new Map(
    rows.flatMap(({ event }) => {
      if (!event?.message) return [];
      const { createdOnRaw, category, action, auditLogDetails, message } = event;
      return [[JSON.stringify([createdOnRaw, category, action, auditLogDetails]), message]];
    }),
  );
}
