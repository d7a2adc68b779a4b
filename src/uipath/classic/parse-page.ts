import { isAscii } from 'node:buffer';
import { ExportError } from '../../core/errors.ts';
import type { SourceRow } from '../../core/event.ts';
import { describeType, MAX_PARTS, parseRow, rejectRow } from './parse-row.ts';
import { type Item, readMembers, scanArray, scanValue, skipSpace } from './scan-json.ts';

/** A parsed response, or why its body is incomplete or not JSON; such a request is retried. */
export type ParsedPage =
  | { totalCount: number; rows: SourceRow[]; unreadable?: undefined }
  | { unreadable: string };

const OPEN_BRACKET = 0x5b;
const OPEN_BRACE = 0x7b;

/** A page has some thousand rows; a source that ignores `top` sends as many as the size limit allows. */
const MAX_ROWS = 1_000_000;

/** Longer bodies are not parsed to distinguish another response from a damaged one: parsing them could exhaust memory. */
const MAX_CLASSIFIED_LENGTH = 1024 * 1024;

const strictUtf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/**
 * Parses `{"totalCount": int64, "results": [...] | null}`, the response of the list endpoint.
 * Unknown members are ignored. A row that is not an event becomes a rejected row and does not affect other rows.
 * Throws `source-invalid` if the body is complete JSON but not such a response: `totalCount` or `results` missing, present
 * twice or of another type, or more than a million rows. A `totalCount` beyond 2^53 is returned as 2^53 - 1.
 * Time and memory are linear in the body's length, with some ten bytes of memory for each byte.
 */
export function parsePage(bytes: Uint8Array): ParsedPage {
  const body = hasByteOrderMark(bytes) ? bytes.subarray(3) : bytes;
  // One character for each byte: JSON syntax is ASCII, so only rows with other characters need decoding.
  const text = asLatin1(body);
  const members = new Map<string, Item | Item[]>();
  const twice: string[] = [];
  const end = readMembers(text, 0, (key, from) => {
    if (key !== 'totalCount' && key !== 'results') return scanValue(text, from)?.delimiter ?? -1;
    if (members.has(key)) twice.push(key);
    if (key === 'totalCount' || text.charCodeAt(from) !== OPEN_BRACKET) {
      const item = scanValue(text, from);
      if (item) members.set(key, item);
      return item?.delimiter ?? -1;
    }
    const array = scanArray(text, from, MAX_ROWS);
    if (array && array.items.length > MAX_ROWS) throw invalid(`more than ${MAX_ROWS} rows`);
    if (array) members.set(key, array.items);
    return array ? skipSpace(text, array.end) : -1;
  });
  if (end < 0 || skipSpace(text, end) !== text.length) return classifyUnreadable(text, bytes.length);
  if (twice.length > 0) throw invalid(`"${twice[0]}" twice`);
  const totalCount = parseMember(text, members.get('totalCount'));
  const results = members.get('results');
  if (!Array.isArray(results)) {
    const found = parseMember(text, results);
    if (found === UNREADABLE) return classifyUnreadable(text, bytes.length);
    if (found !== null) throw invalid(`a "results" that is ${describeType(found)}`);
  }
  if (totalCount === UNREADABLE) return classifyUnreadable(text, bytes.length);
  const items = Array.isArray(results) ? results : [];
  const rows = items.map((item) => readRow(body, text, item));
  return { totalCount: checkTotalCount(totalCount), rows };
}

/** Parses a row. An invalid byte affects only the row that contains it. */
function readRow(body: Uint8Array, latin1: string, item: Item): SourceRow {
  const bytes = body.subarray(item.start, item.end);
  const text = latin1.slice(item.start, item.end);
  if (isAscii(bytes)) return parseRow(text, item);
  const decoded = decodeUtf8(bytes);
  if (decoded !== undefined) return parseRow(decoded, item);
  const row = parseRow(text, item);
  return rejectRow(row.ticks, 'not valid UTF-8; its bytes are given as ISO-8859-1', text);
}

const UNREADABLE = Symbol('not JSON');

function parseMember(text: string, item: Item | Item[] | undefined): unknown {
  if (item === undefined) return undefined;
  if (Array.isArray(item)) return item;
  return item.parts > MAX_PARTS ? UNREADABLE : parseText(text.slice(item.start, item.end));
}

function parseText(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return UNREADABLE;
  }
}

function checkTotalCount(found: unknown): number {
  if (typeof found !== 'number') throw invalid(`a "totalCount" that is ${describeType(found)}`);
  if (!Number.isInteger(found) || found < 0) throw invalid(`a "totalCount" of ${found}`);
  return Math.min(found, Number.MAX_SAFE_INTEGER);
}

/** Complete JSON that is not an object is the response of another service and throws; anything else is worth a retry. */
function classifyUnreadable(text: string, length: number): ParsedPage {
  const isBegun = text.charCodeAt(skipSpace(text, 0)) === OPEN_BRACE;
  // A text that starts as an object was scanned already and found damaged.
  const found = isBegun || text.length > MAX_CLASSIFIED_LENGTH ? UNREADABLE : parseText(text);
  if (found !== UNREADABLE) throw invalid(describeType(found));
  const fault = isBegun ? 'is incomplete or damaged JSON' : 'is not JSON';
  return { unreadable: length === 0 ? 'the body is empty' : `the body of ${length} bytes ${fault}` };
}

function invalid(found: string): ExportError {
  return new ExportError(
    'source-invalid',
    `The source responded with ${found}; expected {"totalCount": a whole number, "results": an array or null}. ` +
      'Check that UIPATH_AUDIT_PATH names the list of audit logs and UIPATH_API_VERSION fits it.',
  );
}

function decodeUtf8(bytes: Uint8Array): string | undefined {
  try {
    return strictUtf8.decode(bytes);
  } catch {
    return undefined;
  }
}

function asLatin1(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1');
}

function hasByteOrderMark(bytes: Uint8Array): boolean {
  return bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf;
}
