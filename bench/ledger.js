/**
 * What share of a backfill's time the integrity ledger takes: backfills with and without it, in turn, in one run.
 *   npm run build && node bench/ledger.js [--rounds 9] [--events 100000]
 * Uses a PostgreSQL of its own, or that of DATABASE_URL. Without the ledger means the same program with the same statement,
 * less what appends to the ledger.
 */
import { cpSync, mkdtempSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { environmentFor, runJson, startSimulator, TREE } from './simulated.js';
import { withoutLedger } from './without-ledger.js';

const { values: options } = parseArgs({
  options: { rounds: { type: 'string', default: '9' }, events: { type: 'string', default: '100000' } },
});
const directory = mkdtempSync(join(tmpdir(), 'audit-ledger-'));
const simulator = await startSimulator(options.events);
try {
  const { url } = simulator;
  const variants = { without: createVariant(), with: TREE };
  const seconds = { without: [], with: [] };
  // Round 0 warms up.
  for (let round = 0; round <= Number(options.rounds); round++) {
    const order = round % 2 ? ['with', 'without'] : ['without', 'with'];
    for (const name of order) {
      const took = backfill(variants[name], url, `${name}-${round}`);
      if (round > 0) seconds[name].push(took);
      console.error(`round ${round}  ${name.padEnd(7)}  ${took.toFixed(2)} s${round ? '' : '  (warm-up)'}`);
    }
  }
  for (const [name, all] of Object.entries(seconds)) {
    const range = `${Math.min(...all).toFixed(2)} to ${Math.max(...all).toFixed(2)}`;
    console.log(
      `${options.events} events ${name.padEnd(7)} the ledger: median ${median(all).toFixed(2)} s (${range})`,
    );
  }
  const shares = seconds.with.map((took, i) => (took - seconds.without[i]) / took);
  console.log(
    `share of the ledger: ${(100 * median(shares)).toFixed(1)}% (median of ${shares.length} pairs)`,
  );
} finally {
  simulator.stop();
  rmSync(directory, { recursive: true, force: true });
}

/** The program, but for the statement that stores a page. */
function createVariant() {
  const root = join(directory, 'without');
  cpSync(join(TREE, 'dist'), join(root, 'dist'), { recursive: true });
  for (const name of ['node_modules', 'migrations', 'package.json'])
    symlinkSync(join(TREE, name), join(root, name));
  const sql = join(root, 'dist/postgres/sql.js');
  renameSync(sql, join(root, 'dist/postgres/sql-with-ledger.js'));
  const statement = JSON.stringify({ name: 'upsert-events', text: withoutLedger });
  // What a module exports itself stands before what it passes on.
  writeFileSync(sql, `export * from './sql-with-ledger.js';\nexport const UPSERT_EVENTS = ${statement};\n`);
  return root;
}

function backfill(root, url, organization) {
  const environment = {
    ...environmentFor(url, organization),
    EMBEDDED_POSTGRES_DIR: join(directory, 'postgres'),
  };
  return runJson(root, ['backfill'], { cwd: directory, environment }).durationMs / 1000;
}

function median(numbers) {
  const sorted = [...numbers].sort((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}
