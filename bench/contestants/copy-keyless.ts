/**
 * What a plain pipeline does that keeps no promise: pages are fetched and parsed as the worker does it, and their fields go through one
 * `COPY` in text format into a table without key, index and trigger. Nothing is hashed, compared, recorded or counted.
 */
import { PassThrough } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import pg from 'pg';
import { from as copyFrom } from 'pg-copy-streams';
import type { AuditEvent } from '../../src/core/event.ts';
import { readPages } from './pages.ts';

const ESCAPES: Record<string, string> = { '\\': '\\\\', '\t': '\\t', '\n': '\\n', '\r': '\\r' };
const FIELDS = [
  'createdOnRaw',
  'category',
  'action',
  'source',
  'userName',
  'email',
  'message',
  'detailsVersion',
  'auditLogDetails',
] as const;

const client = new pg.Client({ connectionString: process.env.DATABASE_URL! });
await client.connect();
await client.query(
  `create table public.keyless (created_on text, category text, action text, source text, user_name text, email text, message text,
     details_version text, details text)`,
);
const startedAt = performance.now();
const copy = client.query(copyFrom('copy public.keyless from stdin'));
const lines = new PassThrough();
const copied = pipeline(lines, copy);
await readPages(async (rows) => {
  const text = rows.map(({ event }) => (event ? lineOf(event) : '')).join('');
  if (!lines.write(text)) await new Promise((resolve) => lines.once('drain', resolve));
});
lines.end();
await copied;
const seconds = (performance.now() - startedAt) / 1000;
await client.end();
process.stdout.write(JSON.stringify({ rows: copy.rowCount, seconds }));

function lineOf(event: AuditEvent): string {
  return `${FIELDS.map((field) => cellOf(event[field])).join('\t')}\n`;
}

/** A value of COPY's text format. */
function cellOf(value: string | null): string {
  if (value === null) return '\\N';
  return /[\\\t\n\r]/.test(value) ? value.replace(/[\\\t\n\r]/g, (character) => ESCAPES[character]!) : value;
}
