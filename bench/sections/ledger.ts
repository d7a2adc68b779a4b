/** What share of a backfill's time the integrity ledger takes: the program, and the program without it, in turn. */
import { execFile } from 'node:child_process';
import { cp, mkdir, rename, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { ROOT } from '../../test/support/root.ts';
import { reportLoad } from '../limits.ts';
import { backfill, type Load } from '../loads.ts';
import { playRounds } from '../rounds.ts';
import { MAIN, type Scene } from '../scene.ts';
import type { Section } from '../section.ts';
import { spreadOf } from '../statistics.ts';

/**
 * Takes the place of the statement that appends to the ledger what was copied: its parameters, its columns, and none of
 * its work. Nobody counts what was inserted then.
 */
const APPEND_NOTHING = {
  name: 'append-copied',
  text: `
    select 0 as inserted, 0 as updated, null::bigint[] as late_ticks, null::text as batch, null::text as digest
    where ($1::text, $2::bigint, $3::bigint, $4::timestamptz, $5::timestamptz) is not null`,
};

export const ledgerSection: Section = {
  name: 'ledger',
  async measure(scene) {
    const simulator = await scene.source();
    const play = (main: string, isLedgerWritten: boolean) => () =>
      scene.withDatabase(async (database) => {
        const load = await backfill(scene, { simulator, database, main });
        const [entry] = await database.query('select from audit.ledger limit 1');
        if ((entry !== undefined) !== isLedgerWritten)
          throw new Error('the program without the ledger is not that any more: see APPEND_NOTHING');
        return load;
      });
    const played = await playRounds(
      [
        { name: 'without', play: play(await createVariant(scene), false) },
        { name: 'with', play: play(MAIN, true) },
      ],
      { rounds: scene.options.rounds, onPlayed: reportLoad(scene) },
    );
    const shares = played.with!.map(({ seconds }, i) => (seconds - played.without![i]!.seconds) / seconds);
    const share = (100 * spreadOf(shares).median).toFixed(1);
    return {
      views: [],
      targets: [],
      notes: [
        ...Object.entries(played).map(([name, loads]) => describe(name, loads)),
        `share of the ledger: ${share}% (median of ${shares.length} pairs)`,
      ],
      figures: { played, shares },
    };
  },
};

/** The program, but for that statement. */
async function createVariant({ directory }: Scene): Promise<string> {
  const root = join(directory, 'without-ledger');
  await mkdir(root);
  await cp(join(ROOT, 'src'), join(root, 'src'), { recursive: true });
  for (const name of ['node_modules', 'migrations', 'package.json'])
    await symlink(join(ROOT, name), join(root, name));
  const sql = join(root, 'src/postgres/sql.ts');
  await rename(sql, join(root, 'src/postgres/sql-with-ledger.ts'));
  // What a module exports itself stands before what it passes on.
  const replacement = `export const APPEND_COPIED = ${JSON.stringify(APPEND_NOTHING)};`;
  await writeFile(sql, `export * from './sql-with-ledger.ts';\n${replacement}\n`);
  await promisify(execFile)(process.execPath, [join(ROOT, 'bundle.js'), root]);
  return join(root, 'dist/main.js');
}

function describe(name: string, loads: readonly Load[]): string {
  const { median, min, max } = spreadOf(loads.map(({ seconds }) => seconds));
  const range = `${min.toFixed(2)} to ${max.toFixed(2)}`;
  return `${loads[0]!.rows} events ${name.padEnd(7)} the ledger: median ${median.toFixed(2)} s (${range})`;
}
