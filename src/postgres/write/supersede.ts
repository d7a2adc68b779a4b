/** Marks rows as superseded by others, within a transaction of a run. */
import type { Superseded } from '../../core/judge.ts';
import type { EntryDraft } from '../../core/ledger/entry.ts';
import type { LogKey } from '../../core/log-key.ts';
import { formatMicroseconds } from '../../core/ticks.ts';
import type { Client } from '../connection/pool.ts';
import type { GoneEvents } from './gone-events.ts';
import { draftRecords } from './ledger.ts';
import { SUPERSEDE } from './span-statements.ts';
import { assertWritten, changeDraft, endsOf, readRecordsOf } from './store-events.ts';

/**
 * Marks rows as superseded, or as current again: the one place that changes the column. A superseded row is not gone. Returns the
 * entries of the ledger.
 */
export async function supersede(
  client: Client,
  changes: readonly Superseded[],
  { organization, log, gone }: LogKey & { gone: GoneEvents },
): Promise<EntryDraft[]> {
  if (changes.length === 0) return [];
  const keys: [string[], string[]] = [
    changes.map(({ row }) => formatMicroseconds(row.ticks)),
    changes.map(({ row }) => row.eventId),
  ];
  const records = await readRecordsOf(client, { organization, log }, keys);
  const { rowCount } = await client.query(SUPERSEDE, [
    ...[organization, log, ...keys],
    changes.map(({ by }) => by ?? null),
    ...endsOf(keys[0]!),
  ]);
  assertWritten(rowCount ?? 0, changes.length, 'superseding');
  const pairs = changes.map(({ row, by }) => {
    const before = records.get(row.eventId)!;
    return { before, after: { ...before, superseded_by: by ?? null } };
  });
  const shown = await gone.showAgain(changes.flatMap(({ row, by }) => (by === undefined ? [] : [row])));
  return [changeDraft('superseded', pairs), ...draftRecords('gone', shown)];
}
