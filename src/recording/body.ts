import type { RecordedExchange } from './format.ts';
import type { Pseudonyms } from './pseudonyms.ts';

type RecordedBody = Pick<RecordedExchange['response'], 'bytes' | 'kind' | 'bom' | 'body'>;

/** What a field of a response may keep: values of a closed vocabulary, and times and counts of the list itself. */
const KEPT_FIELDS: Record<string, RegExp> = {
  totalCount: /^\d+$/,
  createdOn: /^[\dTZ:.,+ /()-]{4,40}$/,
  category: /^[\p{L} ._-]{1,60}$/u,
  action: /^[\p{L} ._-]{1,60}$/u,
  source: /^[\p{L} ._-]{1,60}$/u,
  detailsVersion: /^[\d.]{1,12}$/,
  expires_in: /^\d{1,12}$/,
  token_type: /^[a-z]{1,20}$/i,
  scope: /^[a-z]{1,20}(\.[a-z]{1,20}){0,4}( [a-z]{1,20}(\.[a-z]{1,20}){0,4})*$/i,
  error: /^[a-z]{1,20}(_[a-z]{1,20}){0,4}$/,
  errorCode: /^\d{1,8}$/,
  status: /^\d{3}$/,
};
/** Fields with the name of a person, a machine or an account: their words are not kept anywhere else. */
const NAME_FIELDS =
  /^(user|display|first|last|family|given|full|nick|machine|host|tenant|organi[sz]ation|account|owner|author)_?name$|^(surname|e?mail|login|owner|author|password|secret|token)$/i;
/** Levels of objects, of arrays, and of JSON within strings of JSON. */
const MAX_DEPTH = 100;

/** Replaces the values of a response's body. Names of fields, types, lists and the nesting stay. */
export function recordBody(body: Buffer, isToken: boolean, pseudonyms: Pseudonyms): RecordedBody {
  const bytes = body.length;
  const text = body.toString();
  const bom = text.startsWith('\uFEFF') ? { bom: true as const } : {};
  const content = text.replace(/^\uFEFF/, '');
  if (content.trim() === '') return { bytes, kind: 'empty', ...bom };
  const parsed = parseJson(content);
  if (parsed !== undefined) {
    return { bytes, kind: 'json', ...bom, body: recordResponse(parsed, isToken, pseudonyms) };
  }
  return {
    bytes,
    kind: /^\s*</.test(content) ? 'html' : 'text',
    ...bom,
    body: pseudonyms.replace(content),
  };
}

function recordResponse(value: unknown, isToken: boolean, pseudonyms: Pseudonyms): unknown {
  if (!isObject(value)) return recordValue(value, pseudonyms, 0);
  return recordFields(value, pseudonyms, (name, found) => {
    if (name === 'access_token' && typeof found === 'string') return 'removed';
    if (name !== 'results' || !Array.isArray(found) || isToken)
      return recordField(name, found, pseudonyms, 0);
    return found.map((row) => (isObject(row) ? recordRow(row, pseudonyms) : recordValue(row, pseudonyms, 0)));
  });
}

function recordRow(row: Record<string, unknown>, pseudonyms: Pseudonyms): unknown {
  return recordFields(row, pseudonyms, (name, found) => recordField(name, found, pseudonyms, 0));
}

/** A field of the response or of a row of it, not of the details within. */
function recordField(name: string, value: unknown, pseudonyms: Pseudonyms, depth: number): unknown {
  const pattern = Object.hasOwn(KEPT_FIELDS, name) ? KEPT_FIELDS[name] : undefined;
  const isPlain = typeof value === 'string' || typeof value === 'number';
  if (pattern && isPlain && pattern.test(String(value)) && !pseudonyms.isProtected(String(value)))
    return value;
  protectName(name, value, pseudonyms);
  return recordValue(value, pseudonyms, depth);
}

function recordValue(value: unknown, pseudonyms: Pseudonyms, depth: number): unknown {
  if (typeof value === 'number') return Number(pseudonyms.number(String(value)));
  if (typeof value === 'string') return recordText(value, pseudonyms, depth);
  if (typeof value !== 'object' || value === null) return value;
  if (depth >= MAX_DEPTH) return 'nested too deeply';
  if (Array.isArray(value)) return value.map((item) => recordValue(item, pseudonyms, depth + 1));
  return recordFields(value as Record<string, unknown>, pseudonyms, (name, found) => {
    protectName(name, found, pseudonyms);
    return recordValue(found, pseudonyms, depth + 1);
  });
}

/** Names that differ only in capitals may get the same replacement: the later one gets a number, so that no field is lost. */
function recordFields(
  value: Record<string, unknown>,
  pseudonyms: Pseudonyms,
  record: (name: string, found: unknown) => unknown,
): Record<string, unknown> {
  const names = new Set<string>();
  const fields = Object.entries(value).map(([name, found]) => {
    const key = pseudonyms.key(name);
    const shown = names.has(key) ? `${key}-${names.size}` : key;
    names.add(shown);
    return [shown, record(name, found)];
  });
  return Object.fromEntries(fields);
}

/** JSON within a string, as in the details of an event, is recorded as JSON. */
function recordText(text: string, pseudonyms: Pseudonyms, depth: number): string {
  const nested = /^\s*[[{]/.test(text) && depth < MAX_DEPTH ? parseJson(text) : undefined;
  if (nested === undefined) return pseudonyms.replace(text);
  return JSON.stringify(recordValue(nested, pseudonyms, depth + 1));
}

function protectName(name: string, value: unknown, pseudonyms: Pseudonyms): void {
  if (typeof value !== 'string' || !NAME_FIELDS.test(name)) return;
  pseudonyms.protect(value);
  for (const word of value.split(/[^\p{L}\p{N}]+/u).slice(0, 20)) pseudonyms.protect(word);
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
