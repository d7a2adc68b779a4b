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
const TRIES = 2;

export interface SourceToCheck {
  config: SourceConfig;
  open: OpenSource;
  signal: AbortSignal;
}

/** Tries the source: token, list, order and language. Without `given`, they are noted as not tried. */
export async function checkSource(checklist: Checklist, given: SourceToCheck | undefined): Promise<void> {
  const source = given && openBriefly(given);
  const fetch = (skip: number, from = source!) => fetchFew(from, skip, given!.signal);
  let first: Page | undefined;
  await checklist.try('token', ['configuration'], () => tryToken(source!, given!));
  await checklist.try('list', ['token'], async () => {
    const askedAt = Date.now();
    first = await fetch(0);
    const took = describeDuration(Date.now() - askedAt);
    return ok(`${formatNumber(first.totalCount)} events at ${given!.config.auditUrl}, response in ${took}`);
  });
  await checklist.try('order', ['list'], () => tryOrder(first!, fetch));
  await checklist.try('language', ['list'], () => tryLanguage(first!, given!, fetch));
}

function openBriefly({ config, open }: SourceToCheck, language = config.language): UipathSource {
  return open({ ...config, language, retryLimit: Math.min(config.retryLimit, TRIES) });
}

function fetchFew(source: UipathSource, skip: number, signal: AbortSignal): Promise<Page> {
  return source.fetchPage({ skip, top: FEW_ROWS }, { signal, meter: { requests: 0, retries: 0 } });
}

async function tryToken(source: UipathSource, { config, signal }: SourceToCheck): Promise<Finding> {
  const { expiresAt, scope } = await source.fetchToken({ signal });
  const { credentials } = config;
  if (credentials.kind === 'token') return ok('UIPATH_ACCESS_TOKEN is used as it is; it cannot be renewed');
  const granted = scope ?? credentials.scope;
  const lasts = expiresAt ? `, good for ${describeDuration(expiresAt.getTime() - Date.now())}` : '';
  return ok(`${credentials.tokenUrl} gave one for ${granted}${lasts}`);
}

/** The first rows must ascend, and so must the way from them to the last ones. */
async function tryOrder(first: Page, fetch: (skip: number) => Promise<Page>): Promise<Finding> {
  const { totalCount } = first;
  // Beyond the first page, or a row would be compared with itself.
  const isLonger = totalCount > first.rows.length && first.rows.length > 0;
  const last = isLonger && (await fetch(Math.max(first.rows.length, totalCount - FEW_ROWS)));
  const ticks = [first, ...(last ? [last] : [])].flatMap(ticksOf);
  const [oldest] = ticks;
  const newest = ticks.at(-1);
  if (oldest === undefined || newest === undefined) {
    return warning('no event was seen, so nothing shows the order');
  }
  if (ticks.some((at, i) => i > 0 && at < ticks[i - 1]!)) {
    throw new ExportError(
      'source-invalid',
      'The source ignored sortOrder=asc: it gave an older event after a newer one. The export rests on that order; ' +
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

/** Whether messages come, and, where another language than English is requested, whether they differ from the English. */
async function tryLanguage(
  first: Page,
  given: SourceToCheck,
  fetch: (skip: number, from?: UipathSource) => Promise<Page>,
): Promise<Finding> {
  const { language } = given.config;
  const messages = messagesOf(first);
  if (messages.size === 0) return warning('the first events have no message, so nothing shows the language');
  if (language === 'en') return ok('messages come in en');
  const english = messagesOf(await fetch(0, openBriefly(given, 'en')));
  const isOther = [...messages].some(
    ([event, message]) => english.has(event) && english.get(event) !== message,
  );
  if (isOther) return ok(`messages come in ${language}`);
  return warning(`the messages are the English ones: the source may have none in ${language}`);
}

/** By event, since the list may have moved between two pages. */
function messagesOf({ rows }: Page): Map<string, string> {
  return new Map(
    rows.flatMap(({ event }) => {
      if (!event?.message) return [];
      const { createdOnRaw, category, action, auditLogDetails, message } = event;
      return [[JSON.stringify([createdOnRaw, category, action, auditLogDetails]), message]];
    }),
  );
}
