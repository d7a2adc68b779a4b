/**
 * Records of the tables beside `audit.events`: the texts that the ledger hashes. Each is a JSON array of the columns as texts, with times in
 * UTC with six fraction digits. The columns are fixed for all versions; a column that is not listed is not covered by the ledger.
 */
import { inUtc } from './utc.ts';

const recordOf =
  (columns: readonly string[], times: readonly string[] = []) =>
  (alias: string) => {
    const texts = columns.map((column) =>
      times.includes(column) ? inUtc(`${alias}.${column}`) : `${alias}.${column}::text`,
    );
    return `array_to_json(array[${texts.join(', ')}])::text`;
  };

const GONE_TIMES = ['created_on', 'suspected_at', 'gone_at', 'shown_again_at'];

/** A row of audit.gone_events. Its key in an entry is event_id. */
export const goneRecord = recordOf(
  [
    'event_id',
    'created_on',
    'created_on_ticks',
    'state',
    'suspected_at',
    'suspected_run_id',
    'gone_at',
    'gone_run_id',
    'shown_again_at',
    'shown_again_run_id',
  ],
  GONE_TIMES,
);

/** A row of audit.rejected_events, without last_seen_at, which each re-read moves. Its key in an entry is the first half of content_hash. */
export const rejectedRecord = recordOf(
  ['content_hash', 'source_text', 'source_bytes', 'reason', 'run_id', 'first_seen_at'],
  ['first_seen_at'],
);

/** A row of audit.runs that has ended. Its key in an entry is run_id as 16 bytes. */
export const runRecord = recordOf(
  [
    ...['run_id', 'kind', 'started_at', 'ended_at', 'outcome', 'error', 'warnings', 'worker'],
    ...['pages', 'requests', 'retries', 'rows_read', 'rows_inserted', 'rows_updated', 'rows_unchanged'],
    ...['rows_rejected', 'rows_late', 'from_ticks', 'to_ticks', 'from_at', 'to_at', 'frontier_ticks'],
    ...['resume', 'source_total', 'completeness', 'completeness_reason'],
    ...['rows_superseded', 'proven_at', 'missing_events'],
  ],
  ['started_at', 'ended_at', 'from_at', 'to_at', 'proven_at'],
);

/** Columns `key` (hex) and `record` of rows that a statement returns. */
export const RETURN_GONE = `encode(uuid_send(g.event_id), 'hex') as key, ${goneRecord('g')} as record`;
export const RETURN_REJECTED = `encode(substring(r.content_hash for 16), 'hex') as key, ${rejectedRecord('r')} as record`;
export const RETURN_RUN = `lpad(to_hex(r.run_id), 32, '0') as key, ${runRecord('r')} as record`;
