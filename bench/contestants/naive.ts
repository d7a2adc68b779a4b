/**
 * What a decent developer writes in an afternoon, to compare with: page after page, one upsert a row, as the API's and
 * pg's first examples have it. It trusts offsets, keeps no watermark, no ledger and no ticks, and starts over when it is
 * cut short. Argument: how many rows to load.
 */
import { createHash } from 'node:crypto';
import axios from 'axios';
import pg from 'pg';

interface Row {
  createdOn: string;
  category: string | null;
  action: string | null;
  auditLogDetails: string | null;
  userName: string | null;
  email: string | null;
  message: string | null;
  detailsVersion: string | null;
  source: string | null;
}

const UPSERT = `
  insert into audit.events (
    organization, created_on, event_id, created_on_ticks, created_on_raw, category, action, source, user_name, email,
    message, details_version, details, details_raw, ordinal, run_id, batch
  )
  values (
    $1, $2::text::timestamptz, $3, $4, $2::text, $5, $6, $7, $8, $9, $10, $11, $12::text::jsonb, $12::text, 0, 0, 0
  )
  on conflict (organization, log, created_on, event_id) do update set
    user_name = excluded.user_name, email = excluded.email, message = excluded.message, updated_at = now()`;

const { UIPATH_BASE_URL, UIPATH_ORGANIZATION, UIPATH_CLIENT_ID, UIPATH_CLIENT_SECRET, DATABASE_URL } =
  process.env;
const base = `${UIPATH_BASE_URL}/${UIPATH_ORGANIZATION}`;
const limit = Number(process.argv[2]);
const client = new pg.Client({ connectionString: DATABASE_URL! });
await client.connect();
const startedAt = performance.now();
const token = await axios.post(
  `${base}/identity_/connect/token`,
  new URLSearchParams({
    grant_type: 'client_credentials',
    client_id: UIPATH_CLIENT_ID!,
    client_secret: UIPATH_CLIENT_SECRET!,
    scope: 'PM.Audit.Read',
  }),
);
const headers = { Authorization: `Bearer ${token.data.access_token}`, 'Content-Type': 'application/json' };
let skip = 0;
while (skip < limit) {
  const params = {
    language: 'en',
    top: Math.min(1000, limit - skip),
    skip,
    sortBy: 'createdOn',
    sortOrder: 'asc',
  };
  const { data } = await axios.get<{ results: Row[] }>(`${base}/audit_/api/auditlogs`, {
    params,
    headers,
    data: '',
  });
  if (data.results.length === 0) break;
  for (const [i, row] of data.results.entries()) await client.query(UPSERT, valuesOf(row, skip + i));
  skip += data.results.length;
}
const seconds = (performance.now() - startedAt) / 1000;
await client.end();
process.stdout.write(JSON.stringify({ rows: skip, seconds }));

/** Its place keeps events apart that are alike; it is as good as the offsets are. */
function valuesOf(row: Row, place: number): unknown[] {
  const { createdOn, category, action, source, userName, email, message, detailsVersion, auditLogDetails } =
    row;
  const id = createHash('md5')
    .update(`${place} ${JSON.stringify(row)}`)
    .digest('hex');
  const ticks = Date.parse(createdOn) * 10_000;
  const person = [category, action, source, userName, email, message, detailsVersion];
  return [UIPATH_ORGANIZATION, createdOn, id, ticks, ...person, auditLogDetails];
}
