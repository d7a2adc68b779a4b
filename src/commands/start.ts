import { setTimeout as sleep } from 'node:timers/promises';
import { Command } from 'commander';
import { type CommandContext, type DatabaseApp, type OrganizationsApp, withApp } from '../app.ts';
import { ExportError } from '../core/errors.ts';
import { readActivity } from '../postgres/read/activity.ts';
import { readCheckpoint } from '../postgres/read/checkpoint.ts';
import { readStatus } from '../postgres/read/status.ts';
import { migrateTables } from '../postgres/schema/migrate.ts';
import { createHealth, type Health } from '../status/health.ts';
import { createMetrics } from '../status/metrics.ts';
import { createStatusServer } from '../status/server.ts';
import { standardError } from '../stdio.ts';
import { withHelp } from '../terminal/help.ts';
import { createSchedule, type Schedule, type ScheduleEntry } from '../worker/schedule.ts';
import { createVerifier, type Verifier } from '../worker/verifier.ts';
import { createWorkers, type Worker } from '../worker/worker.ts';
import { type CommonOptions, withEnvFile, withOrganization } from './options.ts';
import { moveWhileRunning } from './prepare.ts';
import { aborted } from './signal.ts';

const FIRST_WAIT_MS = 1_000;
const MAX_WAIT_MS = 60_000;

const HELP = {
  notes: [
    'Runs until SIGTERM or SIGINT, which commit or roll back the current page. Waits for a source or database that is unavailable.',
    'Closing the terminal does not stop it. Log lines that cannot be written are dropped and counted.',
  ],
  examples: [
    'node dist/main.js start',
    "EXPORT_SCHEDULE='*/15 * * * *' STATUS_HOST=0.0.0.0 node dist/main.js start",
  ],
};

export function startCommand(context: CommandContext): Command {
  const command = new Command('start').description(
    'migrate, export once, then on a schedule; serve health, metrics and a status page',
  );
  withHelp(command, HELP);
  return withOrganization(withEnvFile(command)).action(async (options: CommonOptions) => {
    const { envFile, organization } = options;
    await withApp(context, { envFile, organization, needs: 'sources' }, (app) => start(app, context.signal));
  });
}

async function start(app: OrganizationsApp, signal: AbortSignal): Promise<void> {
  const { config, log } = app;
  const names = config.sources.map(({ organization }) => organization);
  const health = createHealth(names);
  signal.addEventListener('abort', () => health.stopping());
  const droppedLogLines = () => standardError().dropped;
  const metrics = createMetrics({ pool: app.pool, droppedLogLines, runbookUrl: config.status?.runbookUrl });
  let schedule: Schedule | undefined;
  const server = config.status
    ? await createStatusServer({
        ...config.status,
        health,
        metrics,
        log,
        readStatus: () => readStatus(app.pool, names),
        readActivity: (key) => readActivity(app.pool, key),
        readHead: (key) => readCheckpoint(app.pool, key),
        nextRunAt: () => schedule?.nextRunAt(),
        droppedLogLines,
        onToken: (token) => app.redactor.add(token),
      })
    : undefined;
  if (server) log.info(`status page, /healthz, /readyz and /metrics at ${server.url}`);
  try {
    await prepareDatabase(app, health, signal);
    const worker = createWorkers(app.organizations, { health, metrics }, signal);
    const verifier = createVerifier(app, signal);
    schedule = createSchedule(entriesOf(app, worker, verifier), { timezone: config.export.timezone, log });
    log.info(
      {
        schedule: config.export.schedule,
        timezone: config.export.timezone,
        ...(names.length > 1 && { organizations: names.length }),
      },
      'scheduled; exporting once now',
    );
    worker.trigger('run');
    const moving = moveWhileRunning(app, signal);
    await aborted(signal);
    await schedule.stop();
    await Promise.all([worker.settled(), verifier.settled(), moving]);
    log.info('stopped');
  } finally {
    await server?.close();
  }
}

function entriesOf({ config }: DatabaseApp, worker: Worker, verifier: Verifier): ScheduleEntry[] {
  const { schedule, recheck, verifySchedule } = config.export;
  const entries: ScheduleEntry[] = [{ expression: schedule, run: () => worker.trigger('run') }];
  if (recheck) entries.push({ expression: recheck.schedule, run: () => worker.trigger('recheck') });
  if (verifySchedule) entries.push({ expression: verifySchedule, run: verifier.trigger, isExport: false });
  return entries;
}

/** Migrates. Waits for a database that is down; throws errors that waiting cannot fix. */
async function prepareDatabase(app: DatabaseApp, health: Health, signal: AbortSignal): Promise<void> {
  for (let waitMs = FIRST_WAIT_MS; !signal.aborted; waitMs = Math.min(MAX_WAIT_MS, waitMs * 2)) {
    try {
      const applied = await migrateTables(app.pool, { signal });
      if (applied.length > 0) app.log.info({ applied }, 'tables created or updated');
      health.databaseReady();
      return;
    } catch (error) {
      if (!(error instanceof ExportError) || error.code !== 'database-away') throw error;
      health.databaseAway(error);
      app.log.warn({ waitMs }, `waiting for the database: ${error.message}`);
      await sleep(waitMs, undefined, { signal }).catch(() => {});
    }
  }
}
