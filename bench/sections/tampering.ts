/** Whether verify finds exactly what was done to the table: 50 rows are deleted, 50 edited and 5 forged. */
import type { Database } from '../database.ts';
import { backfill } from '../loads.ts';
import { environmentOf, type Parties } from '../measure.ts';
import { MAIN, type Scene } from '../scene.ts';
import type { Section } from '../section.ts';

const FOUND_DIFFERENCES = 3;
const EDITS = [
  `user_name = 'Nobody'`,
  `message = null`,
  `action = 'Logout'`,
  `details_raw = coalesce(details_raw, '') || ' '`,
  `details = '{"userName": "somebody else"}'`,
];
const COPIED = `organization, batch, run_id, created_on, created_on_ticks, created_on_raw, category, action, source, user_name,
  email, message, details_version, details_raw, details, ordinal, first_seen_at, updated_at`;

interface Verification {
  organizations: {
    source: { events: number; repaired: number; counts: Record<string, number> };
    ledger: { counts: Record<string, number> };
  }[];
}

export const tamperingSection: Section = {
  name: 'tampering',
  async measure(scene) {
    const simulator = await scene.source();
    return scene.withDatabase(async (database) => {
      const parties = { simulator, database };
      await backfill(scene, parties);
      const notes = [describe('before', await verify(scene, parties))];
      await tamper(database);
      notes.push(describe('50 deleted, 50 edited, 5 forged', await verify(scene, parties)));
      notes.push(describe('the same, after --repair', await verify(scene, parties, '--repair')));
      return { views: [], targets: [], notes, figures: notes };
    });
  },
};

async function verify(scene: Scene, parties: Parties, ...args: string[]): Promise<Verification> {
  const started = await scene.start(MAIN, ['verify', ...args, '--json'], environmentOf(parties));
  const { code, stdout, stderr } = await started.ended;
  if (code !== 0 && code !== FOUND_DIFFERENCES) throw new Error(`verify ended with ${code}:\n${stderr}`);
  return JSON.parse(stdout);
}

/** Rows are picked by a hash of their id, so that they lie anywhere and each run picks the same. */
async function tamper({ query }: Database): Promise<void> {
  await query(`create temp table picked as select event_id, created_on,
    row_number() over (order by md5(event_id::text)) as place from audit.events`);
  const those = (from: number, to: number) =>
    `picked p where p.event_id = e.event_id and p.created_on = e.created_on and p.place between ${from} and ${to}`;
  await query(`delete from audit.events e using ${those(1, 50)}`);
  for (const [i, edit] of EDITS.entries())
    await query(`update audit.events e set ${edit} from ${those(51 + i * 10, 60 + i * 10)}`);
  await query(`insert into audit.events (event_id, ${COPIED})
    select gen_random_uuid(), ${COPIED} from audit.events order by created_on limit 5`);
}

function describe(title: string, { organizations }: Verification): string {
  const { source, ledger } = organizations[0]!;
  const { missing, changed, gone } = source.counts;
  const { edited, deleted, inserted, broken, repaired } = ledger.counts;
  return `${title}
  against the source: ${source.events} events, ${missing} missing, ${changed} changed, ${gone} gone, ${source.repaired} repaired
  against the ledger: ${edited} edited, ${deleted} deleted, ${inserted} inserted, ${broken} broken, ${repaired} repaired since`;
}
