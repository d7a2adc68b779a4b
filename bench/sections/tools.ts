/** What BI tools send first, of years of events. */
import { FIRST_QUERIES } from '../../test/support/first-queries.ts';
import type { Database } from '../database.ts';
import { formatNumber } from '../present.ts';
import type { Section } from '../section.ts';
import { READER, timedCells, timeQueries, years } from '../years.ts';

const WANTED_MS = 100;
/** A day in the middle of the years. */
const DAY = '2025-06-03';

export const toolsSection: Section = {
  name: 'tools',
  async measure(scene) {
    const { database } = await years(scene);
    const refreshedAt = await addLateEvents(database);
    const queries = FIRST_QUERIES.map((query) => ({
      ...query,
      sql: query.sql.replaceAll('$DAY', DAY).replaceAll('$REFRESHED', refreshedAt),
    }));
    const { timed, plansFile } = await timeQueries(scene, database, {
      queries,
      plansName: 'tools-plans.txt',
    });
    const medians = timed.map(({ milliseconds }) => milliseconds.median);
    const slow = timed.filter(({ milliseconds }) => milliseconds.median >= WANTED_MS);
    return {
      views: [
        {
          title: `What BI tools send first, asked by ${READER}`,
          head: ['', 'ms', 'CPU ms', 'rows'],
          rows: timed.map(timedCells),
        },
      ],
      targets: [
        {
          what: 'what BI tools send first',
          wanted: `under ${WANTED_MS} ms`,
          found: `${formatNumber(Math.max(...medians), 1)} ms at most; ${slow.length} of ${timed.length} slower`,
          isMet: slow.length === 0,
        },
      ],
      notes: [`The plans are in ${plansFile}.`],
      figures: { timed },
    };
  },
};

/** 100 events that were stored after the last refresh, dated in old days. Returns the time of that refresh. */
async function addLateEvents({ query }: Database): Promise<string> {
  const [row] = await query<{ at: string }>(
    `select (clock_timestamp() at time zone 'UTC')::text || 'Z' as at`,
  );
  await query(
    `insert into audit.events (organization, log, created_on, event_id, created_on_ticks, created_on_raw, category, action, source, user_name,
       ordinal, run_id, batch)
     select organization, log, created_on, gen_random_uuid(), created_on_ticks, created_on_raw, category, action, source, user_name,
       ordinal, run_id, batch
     from audit.events where organization = 'acme' and created_on >= '${DAY}' order by created_on limit 100`,
  );
  return row!.at;
}
