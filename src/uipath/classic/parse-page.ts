import { isAscii } from 'node:buffer';
import { ExportError } from '../../core/errors.ts';
import type { SourceRow } from '../../core/event.ts';
import { describeType, MOST_PARTS, parseRow, rejectRow } from './parse-row.ts';
import { type Item, readMembers, scanArray, scanValue, skipSpace } from './scan-json.ts';

/** A readable answer, or why its body cannot be taken as whole: it breaks off, or is not JSON. Worth another try. */
export type ParsedPage =
  | { totalCount: number; rows: SourceRow[]; unreadable?: undefined }
  | { unreadable: string };

const OPEN_BRACKET = 0x5b;
const OPEN_BRACE = 0x7b;

/** A page is asked for with some thousand rows; a source that ignores `top` sends as many as the size limit lets it. */
const MOST_ROWS = 1_000_000;

/** What is no answer of the list is told apart from a damaged one up to here; reading it whole could take all memory. */
const LONGEST_JUDGED = 1024 * 1024;

const strictUtf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/**
 * Reads `{"totalCount": int64, "results": [...] | null}`, the answer of the list endpoint.
 * Unknown members are ignored. A row that is no event is a rejected row, and touches no other.
 * Throws `source-invalid` when the body is whole JSON but not such an answer: `totalCount` or `results` missing, given
 * twice (which one is true?) or of another type, or of more than a million rows. A `totalCount` beyond 2^53 is given as
 * 2^53 - 1. Time and memory are bounded by the body's length, by some ten bytes a byte.
 */
export function parsePage(bytes: Uint8Array): ParsedPage {
  const body = hasByteOrderMark(bytes) ? bytes.subarray(3) : bytes;
  // One character a byte: what JSON is made of is ASCII, and only rows that hold more need decoding.
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
    const array = scanArray(text, from, MOST_ROWS);
    if (array && array.items.length > MOST_ROWS) throw invalid(`more than ${MOST_ROWS} rows`);
    if (array) members.set(key, array.items);
    return array ? skipSpace(text, array.end) : -1;
  });
  if (end < 0 || skipSpace(text, end) !== text.length) return judgeUnreadable(text, bytes.length);
  if (twice.length > 0) throw invalid(`"${twice[0]}" twice`);
  const totalCount = parseMember(text, members.get('totalCount'));
  const results = members.get('results');
  if (!Array.isArray(results)) {
    const found = parseMember(text, results);
    if (found === UNREADABLE) return judgeUnreadable(text, bytes.length);
    if (found !== null) throw invalid(`a "results" that is ${describeType(found)}`);
  }
  if (totalCount === UNREADABLE) return judgeUnreadable(text, bytes.length);
  const items = Array.isArray(results) ? results : [];
  const rows = items.map((item) => readRow(body, text, item));
  return { totalCount: checkTotalCount(totalCount), rows };
}

/** A bad byte costs the row that it is in, and no other. */
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
  return item.parts > MOST_PARTS ? UNREADABLE : parseText(text.slice(item.start, item.end));
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

/** JSON that is whole but no object is another program's answer; anything else may come whole the next time. */
function judgeUnreadable(text: string, length: number): ParsedPage {
  const isBegun = text.charCodeAt(skipSpace(text, 0)) === OPEN_BRACE;
  // What begins as an object was walked through already and found damaged.
  const found = isBegun || text.length > LONGEST_JUDGED ? UNREADABLE : parseText(text);
  if (found !== UNREADABLE) throw invalid(describeType(found));
  const fault = isBegun ? 'is JSON that breaks off or is damaged' : 'is not JSON';
  return { unreadable: length === 0 ? 'the body is empty' : `the body of ${length} bytes ${fault}` };
}

function invalid(found: string): ExportError {
  return new ExportError(
    'source-invalid',
    `The source answered with ${found}; expected {"totalCount": a whole number, "results": an array or null}. ` +
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
