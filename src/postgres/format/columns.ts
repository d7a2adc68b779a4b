/** Converts events to the columns of `audit.events`. */
import type { AuditEvent } from '../../core/event.ts';
import type { IdentifiedEvent } from '../../core/identity.ts';
import { formatMicroseconds } from '../../core/ticks.ts';

/** PostgreSQL's JSON parser recurses: at some thousand levels its stack limit fails the whole statement. */
const MAX_JSON_DEPTH = 1000;
/** In characters. The parser cannot allocate memory for 17 million array elements, which may be only 34 million characters. */
const MAX_JSON_LENGTH = 16 * 1024 * 1024;
const QUOTE = 0x22;
const BACKSLASH = 0x5c;
/** U+0000 and lone surrogates: PostgreSQL text cannot store them. */
const UNSTORABLE = /\0|[\uD800-\uDBFF](?![\uDC00-\uDFFF])|(?<![\uD800-\uDBFF])[\uDC00-\uDFFF]/g;

/** One array per parameter of the upsert, in its order. */
export function columnsOf(events: readonly IdentifiedEvent[]): unknown[][] {
  const columns: unknown[][] = Array.from({ length: 17 }, () => []);
  for (const { event, eventId, ordinal } of events) {
    const isExact = event.raw === null;
    const text = (value: string | null) => (isExact || value === null ? value : storableText(value));
    const row = [
      formatMicroseconds(event.createdOnTicks),
      eventId,
      event.createdOnTicks.toString(),
      event.createdOnRaw,
      text(event.category),
      text(event.action),
      text(event.source),
      text(event.userName),
      text(event.email),
      text(event.message),
      text(event.detailsVersion),
      text(event.auditLogDetails),
      isParsable(event),
      event.raw !== null && (event.extra?.length ?? 0) > MAX_JSON_LENGTH ? null : text(event.extra),
      event.extra !== null && isExact,
      event.raw,
      ordinal,
    ];
    row.forEach((value, i) => {
      columns[i]!.push(value);
    });
  }
  return columns;
}

/** `text` with U+FFFD for each character that PostgreSQL cannot store. */
export function storableText(text: string): string {
  return text.replace(UNSTORABLE, '\uFFFD');
}

/** Whether the details are safe for PostgreSQL to parse as JSON, by depth and length. PostgreSQL decides whether they are JSON. */
export function isParsable({
  auditLogDetails: details,
  raw,
}: Pick<AuditEvent, 'auditLogDetails' | 'raw'>): boolean {
  if (details === null || (raw !== null && storableText(details) !== details)) return false;
  if (details.length <= MAX_JSON_DEPTH) return true;
  return details.length <= MAX_JSON_LENGTH && nestingDepth(details) <= MAX_JSON_DEPTH;
}

/** Nesting depth of JSON text, at least up to its first syntax error, where PostgreSQL stops. Ignores brackets in strings. */
function nestingDepth(text: string): number {
  let depth = 0;
  let deepest = 0;
  let isInString = false;
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code === QUOTE) isInString = !isInString;
    else if (isInString) i += code === BACKSLASH ? 1 : 0;
    else if (code === 0x5b || code === 0x7b) deepest = Math.max(deepest, ++depth);
    else if (code === 0x5d || code === 0x7d) depth--;
  }
  return deepest;
}
