/** Fills a database with years of events by the worker's own store, without a source: `COPY`, ledger, coverage and roll-ups. */
import type { AuditEvent } from '../src/core/event.ts';
import { newCounters } from '../src/core/store.ts';
import { createPool } from '../src/postgres/connection/pool.ts';
import { openSession } from '../src/postgres/write/store.ts';
import { batchOf } from '../test/support/batch.ts';
import { daysOfEvents } from './organization.ts';

/** As many as the worker commits at once when pages wait. */
const ROWS_PER_COMMIT = 4000;

const ORGANIZATION = 'acme';

/** Stores the first `limit` of about `count` events; gives how many it stored, and how long their commits took. */
export async function loadOrganization(
  url: string,
  count: number,
  limit = count,
): Promise<{ rows: number; seconds: number }> {
  const pool = createPool(url, () => {});
  const session = await openSession(pool, { organization: ORGANIZATION, log: 'classic', kind: 'backfill' });
  const counters = newCounters();
  let rows = 0;
  let seconds = 0;
  let from: bigint | undefined;
  try {
    for (const events of batchesOf(count)) {
      if (rows >= limit) break;
      from ??= events[0]!.createdOnTicks;
      const to = events.at(-1)!.createdOnTicks + 1n;
      const skip = rows + events.length;
      const covered = { from, to, isFromHead: rows === 0 };
      const batch = batchOf(events, {
        resume: { skip },
        sourceTotal: skip,
        isEnd: false,
        covered,
        counters: { ...counters },
      });
      const startedAt = performance.now();
      const { inserted } = await session.commit(batch);
      seconds += (performance.now() - startedAt) / 1000;
      rows += inserted;
      counters.pages++;
      counters.inserted += inserted;
      counters.rowsRead += inserted;
    }
    await session.finish({ outcome: 'succeeded', error: null, warnings: [], counters });
  } finally {
    await session.release();
    await pool.end();
  }
  return { rows, seconds };
}

function* batchesOf(count: number): Generator<AuditEvent[]> {
  let waiting: AuditEvent[] = [];
  for (const events of daysOfEvents(count)) {
    waiting.push(...events);
    for (; waiting.length >= ROWS_PER_COMMIT; waiting = waiting.slice(ROWS_PER_COMMIT))
      yield waiting.slice(0, ROWS_PER_COMMIT);
  }
  if (waiting.length > 0) yield waiting;
}
