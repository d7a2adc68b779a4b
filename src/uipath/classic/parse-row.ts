/// <reference lib="es2024.string" />
import type { AuditEvent, SourceRow } from '../../core/event.ts';
import { parseTicks } from '../../core/ticks.ts';
import { readMembers, scanValue } from './scan-json.ts';

const NULLABLE_FIELDS = [
  'category',
  'action',
  'source',
  'userName',
  'email',
  'message',
  'detailsVersion',
  'auditLogDetails',
] as const;

const KNOWN_FIELDS: readonly string[] = ['createdOn', ...NULLABLE_FIELDS];

/** JSON.stringify and PostgreSQL's jsonb overflow the stack on deeper objects. */
const MAX_DEPTH = 1000;

/** JSON.parse allocates some hundred bytes for each; a row with more is stored unparsed: megabytes of `[` would exhaust memory. */
export const MAX_PARTS = 1_000_000;

/** PostgreSQL cannot store a jsonb with very many members; such a row is stored in `raw` as well. */
const MAX_EXTRA_FIELDS = 1000;

type JsonObject = Record<string, unknown>;

/**
 * Parses one row from its exact JSON text and the counts of `Item`. Never throws: a row that is not an event is a rejected row.
 */
export function parseRow(
  text: string,
  { members, depth, parts }: { members: number; depth: number; parts: number },
): SourceRow {
  if (parts > MAX_PARTS) return rejectRow(undefined, `not read: more than ${MAX_PARTS} values`, text);
  let row: unknown;
  try {
    row = JSON.parse(text);
  } catch {
    return rejectRow(undefined, 'not valid JSON', text);
  }
  if (!isObject(row)) return rejectRow(undefined, `not a JSON object but ${describeType(row)}`, text);
  const { createdOn } = row;
  if (typeof createdOn !== 'string')
    return rejectRow(undefined, `createdOn is ${describeType(createdOn)}`, text);
  const ticks = parseTicks(createdOn);
  if (ticks === undefined) {
    return rejectRow(undefined, 'createdOn is not a date-time with an offset from UTC', text);
  }
  if (depth > MAX_DEPTH) return rejectRow(ticks, `nested deeper than ${MAX_DEPTH} levels`, text);
  const values = listNullableValues(row);
  const wrong = values.findIndex((value) => !isNullable(value));
  if (wrong >= 0) {
    const found = describeType(values[wrong]);
    return rejectRow(ticks, `${NULLABLE_FIELDS[wrong]} is ${found}, neither a string nor null`, text);
  }
  return { ticks, event: buildEvent(row, values as Nullable[], { ticks, text, members }) };
}

/** The values in the order of NULLABLE_FIELDS. Written out: access by a computed name takes a third of the parsing time. */
function listNullableValues(row: JsonObject): unknown[] {
  const { category, action, source, userName, email, message, detailsVersion, auditLogDetails } = row;
  return [category, action, source, userName, email, message, detailsVersion, auditLogDetails];
}

/** A row stored verbatim. `ticks` is its position in time, if `createdOn` was readable. */
export function rejectRow(ticks: bigint | undefined, reason: string, text: string): SourceRow {
  return { ticks, rejected: { reason, text } };
}

type Nullable = string | null | undefined;

function isNullable(value: unknown): value is Nullable {
  return typeof value === 'string' || value === null || value === undefined;
}

/** Builds the event. `values` are in the order of `listNullableValues`. */
function buildEvent(
  row: JsonObject,
  values: readonly Nullable[],
  { ticks, text, members }: { ticks: bigint; text: string; members: number },
): AuditEvent {
  const knownKeys = values.reduce((known, value) => (value === undefined ? known : known + 1), 1);
  // As many members as known keys means no unknown and no duplicate key.
  const unknownKeys =
    members === knownKeys ? [] : Object.keys(row).filter((key) => !KNOWN_FIELDS.includes(key));
  const isExact =
    members === knownKeys + unknownKeys.length &&
    (!text.includes('\\u') || values.every((value) => typeof value !== 'string' || isStorable(value))) &&
    (unknownKeys.length === 0 ||
      (unknownKeys.length <= MAX_EXTRA_FIELDS && hasStorableExtra(row, unknownKeys, text)));
  const [category, action, source, userName, email, message, detailsVersion, auditLogDetails] = values;
  return {
    createdOnTicks: ticks,
    createdOnRaw: row.createdOn as string,
    category: category ?? null,
    action: action ?? null,
    source: source ?? null,
    userName: userName ?? null,
    email: email ?? null,
    message: message ?? null,
    detailsVersion: detailsVersion ?? null,
    auditLogDetails: auditLogDetails ?? null,
    extra: unknownKeys.length === 0 ? null : composeObject(row, unknownKeys),
    raw: isExact ? null : text,
  };
}

/** The JSON text of an object with these members. Built as text: assigning to `__proto__` would not add a member. */
function composeObject(row: JsonObject, keys: string[]): string {
  return `{${keys.map((key) => `${JSON.stringify(key)}:${JSON.stringify(row[key])}`).join(',')}}`;
}

/** Whether `jsonb` returns the unknown fields unchanged. Conservative: no nested values, only plainly written integers. */
function hasStorableExtra(row: JsonObject, keys: string[], text: string): boolean {
  let isExact = true;
  const hasNumber = keys.some((key) => typeof row[key] === 'number');
  if (hasNumber) {
    readMembers(text, 0, (key, from) => {
      const item = scanValue(text, from)!;
      // After JSON.parse, 1.00000000000000000001 and -0 are safe integers, too.
      if (typeof row[key] === 'number' && String(row[key]) !== text.slice(item.start, item.end))
        isExact = false;
      return item.delimiter;
    });
  }
  return isExact && keys.every((key) => isStorable(key) && isPlainValue(row[key]));
}

function isPlainValue(value: unknown): boolean {
  if (typeof value === 'string') return isStorable(value);
  return value === null || typeof value === 'boolean' || Number.isSafeInteger(value);
}

/** PostgreSQL's text and jsonb can store neither NUL nor a lone surrogate. In UTF-8 JSON both occur only as escapes. */
function isStorable(text: string): boolean {
  return !text.includes('\0') && text.isWellFormed();
}

function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** The JSON type of a value, as a phrase for a message. */
export function describeType(value: unknown): string {
  if (value === undefined) return 'missing';
  if (value === null) return 'null';
  if (Array.isArray(value)) return 'an array';
  return typeof value === 'object' ? 'an object' : `a ${typeof value}`;
}
