/** How `audit.events` stores an event: its texts, its content digest, and its column names. */
import { createHash } from 'node:crypto';
import type { RowForm, StoredEvent } from '../../core/compare.ts';
import { asStored } from './stored-events.ts';

const DIGEST_BYTES = 16;
/** OIDs of PostgreSQL types. */
const UUID_TYPE = 2950;
const TEXT_TYPE = 25;

export const ROW_FORM: RowForm = {
  asStored,
  contentDigest,
  columns: {
    eventId: 'event_id',
    identity: 'event_id or a column it is made of',
    content: 'created_on_raw, user_name, email, message, extra or raw',
    firstSeenAt: 'first_seen_at',
    updatedAt: 'updated_at',
    runId: 'run_id',
    supersededBy: 'superseded_by',
  },
};

/**
 * First 128 bits of SHA-256 over the id and the changeable fields of an event, in PostgreSQL's binary format. Equals the result of
 * the function `audit.content_digest`.
 */
function contentDigest({ eventId, event }: StoredEvent): string {
  const { createdOnRaw, userName, email, message, extra, raw } = event;
  const id = Buffer.from(eventId.replaceAll('-', ''), 'hex');
  const texts = [createdOnRaw, userName, email, message, extra, raw];
  const fields = [binaryField(UUID_TYPE, id), ...texts.map((text) => binaryField(TEXT_TYPE, text))];
  const bytes = Buffer.concat([int32(fields.length), ...fields.flat()]);
  return createHash('sha256')
    .update(bytes)
    .digest('hex')
    .slice(0, 2 * DIGEST_BYTES);
}

/** The type, the length in bytes (-1 for null), and the bytes. */
function binaryField(type: number, value: Buffer | string | null): Buffer[] {
  if (value === null) return [int32(type), int32(-1)];
  const bytes = Buffer.from(value);
  return [int32(type), int32(bytes.length), bytes];
}

function int32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32BE(value);
  return bytes;
}
