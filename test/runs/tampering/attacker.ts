/**
 * Somebody who has read docs/ledger.md and may write to the tables: appends entries and recomputes chains, without any key of the worker.
 * Written from that page alone: it shares no code with src.
 */
import { createHash, type KeyObject, sign } from 'node:crypto';
import type pg from 'pg';

interface Entry {
  batch: bigint;
  kind: string;
  format: number;
  run_id: string | null;
  committed_at: string;
  from_at: string | null;
  to_at: string | null;
  rows_inserted: number;
  rows_changed: number;
  inserted: Buffer;
  facts: string | null;
  previous_digest: Buffer | null;
  digest: Buffer;
}

interface Change {
  event_id: string;
  row_batch: string;
  old_digest: Buffer;
  new_digest: Buffer;
}

export interface Target {
  organization: string;
  log: string;
}

const sha256 = (...parts: (string | Uint8Array)[]): Buffer => {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(part);
  return hash.digest();
};
const hex = (data: string | Uint8Array) => sha256(data).toString('hex');
const leaf = (data: string | Uint8Array) => sha256(Buffer.from([0]), data);
const node = (left: Buffer, right: Buffer) => sha256(Buffer.from([1]), left, right);

/** RFC 6962, section 2.1. */
function rootOf(leaves: readonly Buffer[]): Buffer {
  if (leaves.length === 0) return sha256('');
  if (leaves.length === 1) return leaves[0]!;
  let split = 1;
  while (2 * split < leaves.length) split *= 2;
  return node(rootOf(leaves.slice(0, split)), rootOf(leaves.slice(split)));
}

function peaksOf(leaves: readonly Buffer[]): Buffer {
  const peaks: Buffer[] = [];
  let at = 0;
  for (let size = 2 ** 30; size >= 1; size /= 2) {
    if (leaves.length - at < size) continue;
    peaks.push(rootOf(leaves.slice(at, at + size)));
    at += size;
  }
  return Buffer.concat(peaks);
}

const UTC = (time: string) => `to_char(${time} at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')`;
const BYTES: Record<string, (column: string) => string> = {
  text: (column) => `convert_to(${column}, 'UTF8')`,
  json: (column) => `convert_to(${column}::text, 'UTF8')`,
  time: (column) => `timestamptz_send(${column})`,
  uuid: (column) => `uuid_send(${column})`,
  int8: (column) => `int8send(${column})`,
  int4: (column) => `int4send(${column})`,
};
const RECORD: [column: string, type: keyof typeof BYTES][] = [
  ['details_raw', 'text'],
  ['created_on', 'time'],
  ['event_id', 'uuid'],
  ['created_on_ticks', 'int8'],
  ...[
    'created_on_raw',
    'category',
    'action',
    'source',
    'user_name',
    'email',
    'message',
    'details_version',
  ].map((column): [string, string] => [column, 'text']),
  ['extra', 'json'],
  ['raw', 'text'],
  ['ordinal', 'int4'],
  ['superseded_by', 'uuid'],
  ['run_id', 'int8'],
  ['batch', 'int8'],
  ['first_seen_at', 'time'],
  ['updated_at', 'time'],
];
/** The hash of a row of `audit.events e`, as SQL. */
const ROW_HASH = `sha256('\\x00'::bytea || ${RECORD.map(([column, type]) => {
  const bytes = BYTES[type]!(`e.${column}`);
  return `coalesce(int4send(length(${bytes})) || ${bytes}, int4send(-1))`;
}).join(' || ')})`;

export async function hashOfEvent(client: pg.Client, target: Target, eventId: string): Promise<Buffer> {
  const { rows } = await client.query<{ hash: Buffer }>(
    `select ${ROW_HASH} as hash from audit.events e where organization = $1 and log = $2 and event_id = $3`,
    [target.organization, target.log, eventId],
  );
  return rows[0]!.hash;
}

export const keyOf = (eventId: string) => Buffer.from(eventId.replaceAll('-', ''), 'hex');

async function readEntries(client: pg.Client, { organization, log }: Target): Promise<Entry[]> {
  const { rows } = await client.query<Entry & { batch: string }>(
    `select batch, kind, format, run_id, ${UTC('committed_at')} as committed_at, ${UTC('from_at')} as from_at, ${UTC('to_at')} as to_at,
       rows_inserted, rows_changed, inserted, facts, previous_digest, digest
     from audit.ledger where organization = $1 and log = $2 order by batch`,
    [organization, log],
  );
  return rows.map((row) => ({ ...row, batch: BigInt(row.batch) }));
}

async function readChanges(client: pg.Client, { organization, log }: Target, batch: bigint) {
  const { rows } = await client.query<Change>(
    `select event_id, row_batch, old_digest, new_digest from audit.ledger_changes
     where organization = $1 and log = $2 and batch = $3 order by event_id`,
    [organization, log, String(batch)],
  );
  return rows;
}

function digestOf(entry: Entry, { organization, log }: Target, changes: readonly Change[]): Buffer {
  if (entry.format === 1) return digestOfFormat1(entry, { organization, log }, changes);
  const hashes: Buffer[] = [];
  for (let at = 16; at < entry.inserted.length; at += 48) hashes.push(entry.inserted.subarray(at, at + 32));
  const changesText = JSON.stringify(
    changes.map((change) => [
      ...[change.event_id, change.row_batch],
      ...[change.old_digest.toString('hex'), change.new_digest.toString('hex')],
    ]),
  );
  return leaf(
    JSON.stringify({
      ...{ format: 2, organization, log, entry: String(entry.batch), kind: entry.kind, run: entry.run_id },
      ...{ committed_at: entry.committed_at, from_at: entry.from_at, to_at: entry.to_at },
      ...{ rows: entry.rows_inserted + entry.rows_changed, rows_root: rootOf(hashes).toString('hex') },
      rows_list: hex(entry.inserted),
      changes: changes.length === 0 ? null : hex(changesText),
      facts: entry.facts === null ? null : hex(entry.facts),
      previous: entry.previous_digest?.toString('hex') ?? null,
    }),
  );
}

/** As the comment on the column audit.ledger.digest says. */
function digestOfFormat1(entry: Entry, { organization, log }: Target, changes: readonly Change[]): Buffer {
  const bytes = changes.flatMap((change) => [keyOf(change.event_id), change.old_digest, change.new_digest]);
  return sha256(
    JSON.stringify([
      ...[organization, ...(log === 'classic' ? [] : [log]), String(entry.batch), entry.run_id],
      ...[entry.committed_at, entry.from_at, entry.to_at, hex(entry.inserted)],
      ...[hex(Buffer.concat(bytes)), entry.previous_digest?.toString('hex') ?? null],
    ]),
  );
}

const leafOf = ({ format, digest }: Pick<Entry, 'format' | 'digest'>) =>
  format === 1 ? leaf(digest) : digest;

export interface Draft {
  kind: string;
  rows?: { key: Buffer; hash: Buffer }[];
  /** Format 1: 32 bytes for each row. */
  inserted?: Buffer;
  format?: number;
  /** Instead of the next number. */
  batch?: bigint;
  changes?: (Omit<Change, 'row_batch'> & { row_batch: string })[];
  facts?: string;
  from_at?: string;
  to_at?: string;
  run_id?: string;
  /** Signs the head after the entry. */
  signWith?: KeyObject;
}

/** Appends a valid entry, with digest and peaks. Returns its number. */
export async function appendEntry(client: pg.Client, target: Target, draft: Draft): Promise<bigint> {
  const entries = await readEntries(client, target);
  const last = entries.at(-1);
  const inserted =
    draft.inserted ?? Buffer.concat((draft.rows ?? []).flatMap(({ key, hash }) => [key, hash]));
  const count = inserted.length / (draft.format === 1 ? 32 : 48);
  // Reads the clock: an attacker writes what the worker would.
  const { rows } = await client.query<{ now: string }>(`select ${UTC('now()')} as now`);
  const entry: Entry = {
    batch: draft.batch ?? (last?.batch ?? 0n) + 1n,
    kind: draft.kind,
    format: draft.format ?? 2,
    run_id: draft.run_id ?? last?.run_id ?? null,
    committed_at: rows[0]!.now,
    from_at: draft.from_at ?? null,
    to_at: draft.to_at ?? null,
    rows_inserted: draft.kind === 'stored' ? count : 0,
    rows_changed: draft.kind === 'stored' ? 0 : count,
    inserted,
    facts: draft.facts ?? null,
    previous_digest: last?.digest ?? null,
    digest: Buffer.alloc(0),
  };
  const changes = (draft.changes ?? []).toSorted((a, b) => (a.event_id < b.event_id ? -1 : 1));
  entry.digest = digestOf(entry, target, changes);
  const leaves = [...entries, entry].map(leafOf);
  const checkpoint = draft.signWith ? signedHead(target, leaves, draft.signWith) : null;
  await insertEntry(client, target, entry, { peaks: peaksOf(leaves), checkpoint });
  for (const change of changes) await insertChange(client, target, entry.batch, change);
  return entry.batch;
}

export async function insertChange(
  client: pg.Client,
  { organization, log }: Target,
  batch: bigint,
  { row_batch, event_id, old_digest, new_digest }: Change,
): Promise<void> {
  await client.query(
    `insert into audit.ledger_changes (organization, log, batch, row_batch, event_id, old_digest, new_digest)
     values ($1, $2, $3, $4, $5, $6, $7)`,
    [organization, log, String(batch), row_batch, event_id, old_digest, new_digest],
  );
}

async function insertEntry(
  client: pg.Client,
  { organization, log }: Target,
  entry: Entry,
  { peaks, checkpoint }: { peaks: Buffer; checkpoint: string | null },
): Promise<void> {
  await client.query(
    `insert into audit.ledger (organization, log, batch, format, kind, run_id, committed_at, from_at, to_at, rows_inserted, rows_changed,
       inserted, facts, previous_digest, digest, peaks, checkpoint)
     values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)`,
    [
      ...[organization, log, String(entry.batch), entry.format, entry.kind, entry.run_id, entry.committed_at],
      ...[entry.from_at, entry.to_at, entry.rows_inserted, entry.rows_changed, entry.inserted, entry.facts],
      ...[entry.previous_digest, entry.digest, entry.format === 1 ? null : peaks, checkpoint],
    ],
  );
}

/**
 * Rewrites the ledger: numbers the entries that are left, lists the events that are stored now, and recomputes all digests and peaks.
 * Checkpoints are removed, because none of them fits any more.
 */
export async function rewriteChain(client: pg.Client, target: Target): Promise<void> {
  const { organization, log } = target;
  const leaves: Buffer[] = [];
  let previous: Buffer | null = null;
  for (const [i, entry] of (await readEntries(client, target)).entries()) {
    const [former, batch] = [String(entry.batch), String(i + 1)];
    await client.query(
      'update audit.events set batch = $4 where organization = $1 and log = $2 and batch = $3 and batch <> $4',
      [organization, log, former, batch],
    );
    if (entry.kind === 'stored') {
      entry.inserted = await listStored(client, target, batch);
      entry.rows_inserted = entry.inserted.length / 48;
    }
    const changes = await readChanges(client, target, entry.batch);
    entry.batch = BigInt(batch);
    entry.previous_digest = previous;
    entry.digest = digestOf(entry, target, changes);
    leaves.push(leafOf(entry));
    previous = entry.digest;
    await client.query(
      `update audit.ledger set batch = $4, inserted = $5, rows_inserted = $6, previous_digest = $7, digest = $8, peaks = $9,
         checkpoint = null
       where organization = $1 and log = $2 and batch = $3`,
      [
        ...[organization, log, former, batch, entry.inserted, entry.rows_inserted],
        ...[entry.previous_digest, entry.digest, peaksOf(leaves)],
      ],
    );
  }
}

async function listStored(client: pg.Client, { organization, log }: Target, batch: string): Promise<Buffer> {
  const { rows } = await client.query<{ key: Buffer; hash: Buffer }>(
    `select uuid_send(event_id) as key, ${ROW_HASH} as hash from audit.events e
     where organization = $1 and log = $2 and batch = $3 order by created_on, event_id`,
    [organization, log, batch],
  );
  return Buffer.concat(rows.flatMap(({ key, hash }) => [key, hash]));
}

/** The head as a checkpoint (c2sp.org/tlog-checkpoint), signed by this key. */
export async function signHead(client: pg.Client, target: Target, key: KeyObject): Promise<string> {
  return signedHead(target, (await readEntries(client, target)).map(leafOf), key);
}

function signedHead({ organization, log }: Target, leaves: readonly Buffer[], key: KeyObject): string {
  const origin = `uipath-audit-export/${encodeURIComponent(organization)}/${encodeURIComponent(log)}`;
  const text = `${origin}\n${leaves.length}\n${rootOf(leaves).toString('base64')}\n`;
  const publicKey = Buffer.from(key.export({ format: 'jwk' }).x!, 'base64url');
  const keyId = sha256(`${origin}\n`, Buffer.from([1]), publicKey).subarray(0, 4);
  return `${text}\n— ${origin} ${Buffer.concat([keyId, sign(null, Buffer.from(text), key)]).toString('base64')}\n`;
}
