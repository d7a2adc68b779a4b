import type { Config } from '../config.ts';
import { ExportError } from '../core/errors.ts';
import type { Page } from '../core/event.ts';
import { dateOfTicks } from '../core/ticks.ts';
import type { Logger } from '../log.ts';
import { describeDuration, describeInstant, describeWhen, formatNumber } from '../status/words.ts';
import { createUipathSource, type UipathSource } from '../uipath/client.ts';
import { type Checklist, type Finding, ok, warning } from './checklist.ts';

const FEW_ROWS = 5;
/** A person waits for the answer: a second try tells a hiccup from an outage. */
const TRIES = 2;

export interface SourceToCheck {
  config: Config['source'];
  environment: Readonly<Record<string, string | undefined>>;
  log: Logger;
  signal: AbortSignal;
}

/** Tries the source: token, list, order and language. Without `given`, they are noted as not tried. */
export async function checkSource(checklist: Checklist, given: SourceToCheck | undefined): Promise<void> {
  const source = given && openSource(given);
  const fetch = (skip: number, from = source!) => fetchFew(from, skip, given!.signal);
  let first: Page | undefined;
  try {
    await checklist.try('token', ['configuration'], () => tryToken(source!, given!));
    await checklist.try('list', ['token'], async () => {
      const askedAt = Date.now();
      first = await fetch(0);
      const took = describeDuration(Date.now() - askedAt);
      return ok(`${formatNumber(first.totalCount)} events at ${given!.config.auditUrl}, answered in ${took}`);
    });
    await checklist.try('order', ['list'], () => tryOrder(first!, fetch));
    await checklist.try('language', ['list'], () => tryLanguage(first!, given!, fetch));
  } finally {
    source?.close();
  }
}

function openSource({ config, environment, log }: SourceToCheck, language = config.language): UipathSource {
  const { organization: _organization, baseUrl: _baseUrl, ...settings } = config;
  const retryLimit = Math.min(config.retryLimit, TRIES);
  return createUipathSource({ ...settings, language, retryLimit, log, environment });
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
  if (first.totalCount === 0 && first.rows.length === 0)
    return warning('the list is empty, so nothing shows its order');
  const last = first.totalCount > FEW_ROWS ? await fetch(first.totalCount - FEW_ROWS) : first;
  const ticks = [...ticksOf(first), ...ticksOf(last)];
  const oldest = ticks[0];
  const newest = ticks.at(-1);
  if (oldest === undefined || newest === undefined) {
    return warning('no row has a createdOn that can be read, so nothing shows the order');
  }
  if (ticks.some((at, i) => i > 0 && at < ticks[i - 1]!)) {
    throw new ExportError(
      'source-invalid',
      'The source ignored sortOrder=asc: a row is older than the one before it. The export rests on that order; check ' +
        'UIPATH_AUDIT_PATH and UIPATH_API_VERSION, or ask UiPath.',
    );
  }
  const [from, to] = [dateOfTicks(oldest), dateOfTicks(newest)];
  const ascends = oldest === newest ? 'one time only' : 'ascends';
  return ok(
    `${ascends}: oldest event ${describeInstant(from)}, newest ${describeInstant(to)} (${describeWhen(to, new Date())})`,
  );
}

function ticksOf({ rows }: Page): bigint[] {
  return rows.flatMap(({ ticks }) => ticks ?? []);
}

/** Shows whether messages come, and, where another language than English is asked for, whether they differ from it. */
async function tryLanguage(
  first: Page,
  given: SourceToCheck,
  fetch: (skip: number, from?: UipathSource) => Promise<Page>,
): Promise<Finding> {
  const { language } = given.config;
  const messages = messagesOf(first);
  if (messages.length === 0) return warning('the first rows have no message, so nothing shows the language');
  if (language === 'en') return ok('messages come in en');
  const english = openSource(given, 'en');
  try {
    const inEnglish = messagesOf(await fetch(0, english));
    if (messages.some((message, i) => message !== inEnglish[i])) return ok(`messages come in ${language}`);
  } finally {
    english.close();
  }
  return warning(
    `messages in ${language} are the English ones: the source may not know that UIPATH_LANGUAGE`,
  );
}

function messagesOf({ rows }: Page): string[] {
  return rows.flatMap(({ event }) => event?.message || []);
}
