/** `verify` of what a backfill stored, against reading the same pages and doing nothing with them. */
import { fetching } from '../limits.ts';
import { backfill } from '../loads.ts';
import { type Measured, measureWorker } from '../measure.ts';
import { formatNumber, formatSpread, type View } from '../present.ts';
import { type Contestant, playRounds } from '../rounds.ts';
import { roundsOf } from '../scene.ts';
import type { Section } from '../section.ts';
import { ratioOf, spreadOf } from '../statistics.ts';

const ONLINE = 'verify';
const OFFLINE = 'verify --offline';

interface Verification {
  organizations: {
    source: { events: number; counts: Record<string, number> } | null;
    ledger: { counts: Record<string, number> };
  }[];
}

export const verifySection: Section = {
  name: 'verify',
  async measure(scene) {
    const simulator = await scene.source();
    const rows = (await simulator.look()).length;
    const fetch = fetching(scene);
    const played = await scene.withDatabase(async (database) => {
      await backfill(scene, { simulator, database });
      await database.query('vacuum analyze audit.events');
      await database.checkpoint();
      const verify = async (...args: string[]) => {
        const measured = await measureWorker(scene, ['verify', ...args], { simulator, database });
        assertClean(measured.output as Verification, rows);
        return measured;
      };
      const contestants: Contestant<Measured>[] = [
        { name: ONLINE, play: () => verify() },
        { name: OFFLINE, play: () => verify('--offline') },
        fetch,
      ];
      return playRounds(contestants, {
        ...roundsOf(scene),
        onPlayed: (name, round, { processSeconds }) =>
          scene.report(`round ${round}  ${name}: ${processSeconds.toFixed(2)} s`),
      });
    });
    return {
      views: [viewOf(played, fetch.name, rows)],
      targets: [],
      notes: [
        'By the time of whole processes here, start included. Without --offline it compares with the source and walks the ledger.',
      ],
      figures: played,
    };
  },
};

/** The exit code was 0; this also says that it looked at every row. */
function assertClean({ organizations }: Verification, rows: number): void {
  const [found] = organizations;
  const faults = { ...found?.source?.counts, ...found?.ledger.counts };
  const isClean = Object.values(faults).every((count) => count === 0);
  if (!found || !isClean) throw new Error(`verify found faults: ${JSON.stringify(faults)}`);
  if (found.source && found.source.events !== rows)
    throw new Error(`verify saw ${found.source.events} of ${rows} events`);
}

function viewOf(played: Record<string, Measured[]>, limit: string, rows: number): View {
  const ratesOf = (name: string) => played[name]!.map(({ processSeconds }) => rows / processSeconds);
  return {
    title: `Verify of ${formatNumber(rows)} events`,
    head: ['', 'rows/s', 'of limit 2', 'CPU s', 'database CPU s', 'peak MB'],
    rows: Object.entries(played).map(([name, all]) => {
      const database = all.flatMap(({ databaseCpuSeconds }) => databaseCpuSeconds ?? []);
      return [
        name,
        formatSpread(spreadOf(ratesOf(name))),
        name === limit ? undefined : formatSpread(ratioOf(ratesOf(name), ratesOf(limit)), 2),
        formatSpread(spreadOf(all.map(({ client }) => client.cpuSeconds)), 1),
        database.length === 0 ? undefined : formatSpread(spreadOf(database), 1),
        formatSpread(spreadOf(all.map(({ client }) => client.peakBytes / 1e6))),
      ];
    }),
  };
}
