/** What signing the ledger costs a backfill: without a key and with one, in turn. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { formatPrivateKey, generatePrivateKey } from '../../src/core/transparency-log/keys.ts';
import { reportLoad } from '../limits.ts';
import { backfill, type Load } from '../loads.ts';
import { playRounds } from '../rounds.ts';
import type { Section } from '../section.ts';
import { ratioOf, spreadOf } from '../statistics.ts';

export const ledgerSection: Section = {
  name: 'ledger',
  async measure(scene) {
    const simulator = await scene.source();
    const keyFile = join(scene.directory, 'ledger.key');
    await writeFile(keyFile, formatPrivateKey(generatePrivateKey()), { mode: 0o600 });
    const play = (environment: Record<string, string>, isSigned: boolean) => () =>
      scene.withDatabase(async (database) => {
        const load = await backfill(scene, { simulator, database, environment });
        const [entry] = await database.query('select from audit.ledger where checkpoint is not null limit 1');
        if ((entry !== undefined) !== isSigned)
          throw new Error(`the ledger is ${isSigned ? 'not ' : ''}signed`);
        return load;
      });
    const played = await playRounds(
      [
        { name: 'without a key', play: play({}, false) },
        { name: 'signed', play: play({ EXPORT_LEDGER_KEY_FILE: keyFile }, true) },
      ],
      { rounds: scene.options.rounds, onPlayed: reportLoad(scene) },
    );
    const ratesOf = (name: string) => played[name]!.map(({ rows, seconds }) => rows / seconds);
    const { median, min, max } = ratioOf(ratesOf('signed'), ratesOf('without a key'));
    return {
      views: [],
      targets: [],
      notes: [
        ...Object.entries(played).map(([name, loads]) => describe(name, loads)),
        `rate with a key / without: ${median.toFixed(2)} (${min.toFixed(2)} to ${max.toFixed(2)})`,
      ],
      figures: { played },
    };
  },
};

function describe(name: string, loads: readonly Load[]): string {
  const { median, min, max } = spreadOf(loads.map(({ seconds }) => seconds));
  const range = `${min.toFixed(2)} to ${max.toFixed(2)}`;
  return `${loads[0]!.rows} events ${name.padEnd(13)}: median ${median.toFixed(2)} s (${range})`;
}
