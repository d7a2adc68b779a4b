/** Limit 1: `COPY` out of memory, in one statement. Arguments: the file, its format, its columns. */
import { readFileSync } from 'node:fs';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import pg from 'pg';
import { from as copyFrom } from 'pg-copy-streams';

const PIECE_BYTES = 64 * 1024;

const [file, format, columns] = process.argv.slice(2) as [string, string, string];
const bytes = readFileSync(file);
const client = new pg.Client({ connectionString: process.env.DATABASE_URL! });
await client.connect();
const startedAt = performance.now();
const copy = client.query(copyFrom(`copy audit.events (${columns}) from stdin (format ${format})`));
await pipeline(Readable.from(pieces()), copy);
const seconds = (performance.now() - startedAt) / 1000;
await client.end();
process.stdout.write(JSON.stringify({ rows: copy.rowCount, seconds }));

function* pieces(): Generator<Buffer> {
  for (let at = 0; at < bytes.length; at += PIECE_BYTES) yield bytes.subarray(at, at + PIECE_BYTES);
}
