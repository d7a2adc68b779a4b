import { Command } from 'commander';
import { type App, type CommandContext, withApp } from '../app.ts';
import { urlOf } from '../postgres/connection/client.ts';
import { migrate } from '../postgres/schema/migrate.ts';
import { runExport } from '../runs/export.ts';
import { createSimulator, type Simulator } from '../simulator/simulator.ts';
import { withHelp } from '../terminal/help.ts';
import { coloursFor, hang } from '../terminal/screen.ts';
import { formatNumber } from '../text/format.ts';
import { backfill } from './backfill.ts';
import { printQuestions } from './demo-questions.ts';
import { parseCount } from './options.ts';
import { describeSummary } from './run.ts';
import { aborted } from './signal.ts';

interface DemoOptions {
  events: number;
  directory: string;
  keep?: boolean;
}

const EVENTS = 60_000;
const SPACING_MS = 30_000;
const NEW_EVENTS = 400;
const LATE_EVENTS = 25;
/** The backfilled events end this many spacings ago, so that the events added during the tour are not in the future. */
const ROOM_FOR_NEW_EVENTS = 900;
/** Small pages, so that the list changes several times during one incremental export. */
const INCREMENTAL_PAGE_SIZE = 100;

const HELP = {
  examples: ['node dist/main.js demo', 'node dist/main.js demo --keep'],
};

export function demoCommand(context: CommandContext): Command {
  return withHelp(
    new Command('demo')
      .description(
        'a tour that needs no configuration: simulated UiPath, real PostgreSQL, backfill, export, SQL',
      )
      .option('--events <count>', 'events at the simulated source', parseCount, EVENTS)
      .option('--directory <path>', 'where the demo keeps its database', './data/demo')
      .option('--keep', 'keep the database running until Ctrl-C, to query it')
      .action(async (options: DemoOptions) => {
        const startAt = new Date(Date.now() - (options.events + ROOM_FOR_NEW_EVENTS) * SPACING_MS);
        const simulator = await createSimulator({
          events: options.events,
          spacingMs: SPACING_MS,
          startAt,
          gzip: true,
        });
        try {
          await tour(context, simulator, options);
        } finally {
          await simulator.close();
        }
      }),
    HELP,
  );
}

async function tour(context: CommandContext, simulator: Simulator, options: DemoOptions): Promise<void> {
  const { out, signal } = context;
  const colours = coloursFor(context.environment);
  const heading = (step: number, text: string) => `\n${colours.bold(`${step}. ${text}`)}\n`;
  out(
    heading(
      1,
      `A simulated UiPath organization with ${formatNumber(simulator.length)} events, at ${simulator.url}`,
    ),
  );
  out(heading(2, 'Backfill: the whole audit log into a real PostgreSQL'));
  await withDemoApp(context, simulator, options, {}, async (app) => {
    // Each tour starts with an empty database. Only the demo uses this directory.
    await app.pool.query('drop schema if exists audit, bi cascade');
    await migrate(app.pool);
    out(describeSummary(await backfill(app, context, { restart: true, title: 'Backfill' })));
  });

  out(
    heading(
      3,
      `Incremental export: ${NEW_EVENTS} new and ${LATE_EVENTS} late events, while the list changes`,
    ),
  );
  out('After each request the source adds events, some of them late, and deletes its oldest ones.');
  // Late events first: they are older than the newest exported event.
  simulator.insertLate(LATE_EVENTS);
  simulator.append(NEW_EVENTS);
  simulator.set({
    moves: { append: 1, insertLate: 0.2, deleteHead: 2, deleteMiddle: 0 },
    shuffleTies: true,
  });
  const smallPages = { EXPORT_PAGE_SIZE: String(INCREMENTAL_PAGE_SIZE) };
  await withDemoApp(context, simulator, options, smallPages, async (app) => {
    out(describeSummary(await runExport(app, { kind: 'run', signal })));
    simulator.set({ moves: { append: 0, insertLate: 0, deleteHead: 0, deleteMiddle: 0 } });
    out(describeSummary(await runExport(app, { kind: 'run', signal })));
    await compareCounts(app, simulator, out);
    out(heading(4, 'Five questions to the audit log, in SQL'));
    await printQuestions(app.pool, out, colours);
    out(heading(5, 'Run your own queries'));
    await explainConnecting(app, context, options);
  });
}

/** Opens the demo's own database and the simulator. Ignores the environment and `.env`. */
function withDemoApp<T>(
  context: CommandContext,
  simulator: Simulator,
  options: DemoOptions,
  variables: Record<string, string>,
  work: (app: App) => Promise<T>,
): Promise<T> {
  const environment = {
    UIPATH_BASE_URL: simulator.url,
    UIPATH_ORGANIZATION: simulator.organization,
    UIPATH_CLIENT_ID: simulator.clientId,
    UIPATH_CLIENT_SECRET: simulator.clientSecret,
    EMBEDDED_POSTGRES_DIR: options.directory,
    LOG_LEVEL: process.stderr.isTTY ? 'warn' : 'info',
    ...variables,
  };
  return withApp({ ...context, environment }, { needs: 'source', isSelfContained: true }, work);
}

async function compareCounts(app: App, simulator: Simulator, out: (line: string) => void): Promise<void> {
  const { rows } = await app.pool.query<{ count: string }>('select count(*) from audit.events');
  const stored = Number(rows[0]!.count);
  const gone = simulator.removed.length;
  const together = simulator.length + gone;
  const verdict = stored === together ? 'none missing, none stored twice' : 'DIFFERENCES FOUND';
  const sentence =
    `The source shows ${formatNumber(simulator.length)} events and has deleted ${formatNumber(gone)}, ` +
    `${formatNumber(together)} in total. The database stores ${formatNumber(stored)}: ${verdict}.`;
  out(hang('', sentence).join('\n'));
}

async function explainConnecting(app: App, context: CommandContext, options: DemoOptions): Promise<void> {
  const { out, signal } = context;
  if (!options.keep) {
    out('The demo now stops its database. To query it with psql or a BI tool:\n\n  npm run demo -- --keep\n');
    return;
  }
  out(
    `The database runs until Ctrl-C:\n\n  psql '${urlOf(app.pool)}'\n\nTry: select * from bi.events limit 10;`,
  );
  await aborted(signal);
}
