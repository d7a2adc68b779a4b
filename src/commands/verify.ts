import { Command, InvalidArgumentError } from 'commander';
import { type App, type CommandContext, type DatabaseApp, type OrganizationsApp, withApp } from '../app.ts';
import { assertKnown } from '../config/config.ts';
import { ExportError } from '../core/errors.ts';
import { parseNotedHead } from '../core/ledger/noted-head.ts';
import type { NotedHead } from '../core/ledger/tree-check.ts';
import { findSeveralLogs, isSameLog, nameLog } from '../core/log-key.ts';
import { formatTicks } from '../core/ticks.ts';
import { readStrayLogs } from '../postgres/read/ledger.ts';
import { readOrganizationNames } from '../postgres/read/status.ts';
import { readMigrations } from '../postgres/schema/migrate.ts';
import {
  countFaults,
  logVerification,
  type Verification,
  verifyOffline,
  verifyOnline,
} from '../runs/verify.ts';
import { withHelp } from '../terminal/help.ts';
import { createProgress } from '../terminal/progress.ts';
import { coloursFor } from '../terminal/screen.ts';
import { describeVerification } from '../terminal/verify-report.ts';
import { forEachOrganization } from './each-organization.ts';
import {
  type CommonOptions,
  logRange,
  type Range,
  type RangeOptions,
  resolveRange,
  TIME_FORMS,
  withEnvFile,
  withJson,
  withOrganization,
  withRange,
} from './options.ts';
import { describeStop } from './stop.ts';
import { type WaitOptions, whenFree, withWait } from './wait.ts';
import { withLogLevelForTerminal } from './with-log-level.ts';

interface VerifyOptions extends CommonOptions, RangeOptions, WaitOptions {
  repair?: boolean;
  offline?: boolean;
  expect?: NotedHead;
}

/** The options with the range that their times mean. */
type VerifyRequest = Omit<VerifyOptions, 'from' | 'to'> & Range;

const HELP = {
  notes: [
    'Reads the source again and finds events that are missing, changed or no longer at the source. Then checks the ledger and ' +
      'finds rows that were edited, deleted or inserted by hand, and recomputes the other tables. Exits with 3 for differences, ' +
      'and with 0 if there are none or --repair repaired all. Only --repair writes events. The result is stored in ' +
      'audit.verifications; where events are missing, audit.coverage no longer claims that its range is complete.',
    'An event that came to the source after the last run proved the history is not due yet: the next run stores it.',
    'Each call prints the head of the ledger. Store a copy where the administrators of the database cannot write: ' +
      'later it proves, with --expect, that the ledger was not rewritten. The log of each run contains it too.',
    `${TIME_FORMS} Only --repair has to wait for another worker.`,
  ],
  examples: [
    'node dist/main.js verify --from 2026-01-01 --to 2026-02-01',
    'node dist/main.js verify --offline --expect "$(cat noted-entry.txt)"',
  ],
};

export function verifyCommand(context: CommandContext): Command {
  const command = new Command('verify')
    .description('compare the stored rows with the source, the ledger, and what can be recomputed')
    .option('--repair', 'store what is missing and restore what was changed')
    .option('--offline', 'do not read the source: check only the ledger and the ids of the rows')
    .option('--expect <entry>', 'the ledger must still contain this entry, copied earlier', parseNoted);
  withHelp(command, HELP);
  return withWait(withJson(withOrganization(withEnvFile(withRange(command))))).action(
    async (options: VerifyOptions) => {
      if (options.offline && options.repair) {
        throw new ExportError('configuration', '--repair needs the source: leave out --offline.');
      }
      if (options.offline) await verifyStored(context, options);
      else await verifySources(context, options);
    },
  );
}

async function verifySources(context: CommandContext, options: VerifyOptions): Promise<void> {
  const { envFile, organization } = options;
  return withApp(
    withLogLevelForTerminal(context, envFile),
    { envFile, organization, needs: 'sources' },
    async (app) => {
      const request = { ...options, ...resolveRange(options, app.config.export) };
      logRange(request, app.log);
      await assertMigrated(app);
      assertExpected(app, options);
      const verifications: Verification[] = [];
      const isOneOfSeveral = app.organizations.length > 1;
      const strays = organization === undefined ? await verifyStrays(app, context, request) : [];
      try {
        await forEachOrganization(app.organizations, { atOnce: 1 }, async (each) => {
          const verification = await verifyOne(each, context, request, isOneOfSeveral);
          verifications.push(verification);
          logVerification(app.log, verification);
          throwDifferences([verification], options);
        });
        throwDifferences(strays, options);
      } finally {
        if (verifications.length > 0) print(context, options, [...verifications, ...strays]);
      }
    },
  );
}

function assertExpected(app: OrganizationsApp, { expect }: VerifyOptions): void {
  if (!expect || app.config.sources.some((source) => isSameLog(source, expect))) return;
  const names = app.config.sources.map(({ organization }) => organization);
  if (names.includes(expect.organization)) {
    const message = `--expect names an entry of the log ${expect.log} of ${expect.organization}, which is not exported.`;
    throw new ExportError('configuration', `${message} Check the name, or leave out --expect.`);
  }
  throw new ExportError(
    'configuration',
    `--expect names an entry of ${expect.organization}, and ${
      names.length === 1 ? `UIPATH_ORGANIZATION is ${names[0]}` : `the organizations are ${names.join(', ')}`
    }.`,
  );
}

async function verifyOne(
  app: App,
  { signal }: CommandContext,
  options: VerifyRequest,
  isOneOfSeveral: boolean,
): Promise<Verification> {
  const { from, to, expect, repair } = options;
  const { organization } = app.config.source;
  const title = isOneOfSeveral ? `Verify source of ${organization}` : 'Verify source';
  const stored = repair ? 'Repairs so far are stored.' : NOTHING_CHANGED;
  return withProgress(app, title, stored, async (progress, nextProgress) => {
    const request = {
      ...{ from, to, signal, shouldRepair: repair === true },
      expected: expect && isSameLog(expect, app.config.source) ? expect : undefined,
      onProgress: ({ done, total }: { done: number; total: number }) => progress.update(done, total),
      onLedgerRows: (done: number, total: number) => nextProgress('Verify ledger').update(done, total),
    };
    return whenFree(app, options, signal, () => verifyOnline(app, request));
  });
}

/** Logs that no run has begun: their rows were inserted by hand. */
async function verifyStrays(
  app: OrganizationsApp,
  { signal }: CommandContext,
  { from, to }: VerifyRequest,
): Promise<Verification[]> {
  const verifications: Verification[] = [];
  const logs = await readStrayLogs(app.pool);
  for (const of of logs.filter((key) => !app.config.sources.some((source) => isSameLog(source, key))))
    verifications.push(...(await verifyOffline(app, { of, from, to, signal, onLedgerRows: () => {} })));
  return verifications;
}

async function verifyStored(context: CommandContext, options: VerifyOptions): Promise<void> {
  const { envFile, organization, expect } = options;
  const { signal } = context;
  return withApp(withLogLevelForTerminal(context, envFile), { envFile, needs: 'database' }, async (app) => {
    const { from, to } = resolveRange(options, app.config.export);
    await assertMigrated(app);
    if (organization !== undefined) assertKnown(organization, await readOrganizationNames(app.pool));
    const of = organization === undefined ? undefined : { organization };
    const verifications = await withProgress(app, 'Verify ledger', NOTHING_CHANGED, (progress) =>
      verifyOffline(app, {
        ...{ of, from, to, signal, expected: expect },
        onLedgerRows: (done, total) => progress.update(done, total),
      }),
    );
    for (const verification of verifications) logVerification(app.log, verification);
    print(context, options, verifications);
    throwDifferences(verifications, options);
  });
}

const NOTHING_CHANGED = 'Nothing was changed.';

type Progress = ReturnType<typeof createProgress>;

/** `stored`: what remains of a call that is stopped. `nextProgress` finishes the bar before it, once for each title. */
async function withProgress<T>(
  app: DatabaseApp,
  title: string,
  stored: string,
  work: (progress: Progress, nextProgress: (title: string) => Progress) => Promise<T>,
): Promise<T> {
  let current = { title, progress: createProgress(app.log, title) };
  const nextProgress = (next: string) => {
    if (current.title !== next) {
      current.progress.finish();
      current = { title: next, progress: createProgress(app.log, next) };
    }
    return current.progress;
  };
  try {
    const result = await work(current.progress, nextProgress);
    current.progress.finish();
    return result;
  } catch (error) {
    throw describeStop(error, current.progress.last, `${stored} The same command starts again.`);
  } finally {
    current.progress.stop();
  }
}

async function assertMigrated({ pool }: DatabaseApp): Promise<void> {
  const { pending } = await readMigrations(pool);
  if (pending.length === 0) return;
  throw new ExportError(
    'configuration',
    `Nothing to verify: the database lacks ${pending.join(', ')}. Run \`node dist/main.js migrate\`, or ` +
      'check that DATABASE_URL is the database that the worker writes to.',
  );
}

function print(context: CommandContext, options: VerifyOptions, verifications: Verification[]): void {
  if (options.json) {
    context.out(JSON.stringify({ organizations: verifications }, inJson));
  } else {
    const colours = coloursFor(context.environment);
    for (const line of describeVerification(verifications, colours)) context.out(line);
  }
}

function throwDifferences(verifications: Verification[], options: VerifyOptions): void {
  const left = verifications.filter((verification) => countFaults(verification) > 0);
  if (left.length === 0) return;
  const names = left.map((each) => nameLog(each, findSeveralLogs(verifications))).join(', ');
  throw new ExportError('differences', `${names}: differences found. ${remedyFor(left, options)}`);
}

function remedyFor(left: readonly Verification[], options: VerifyOptions): string {
  if (left.every(({ source }) => source?.stored === 0)) {
    return 'No event of this range is stored: `node dist/main.js backfill` exports it.';
  }
  const byHand =
    'What was inserted by hand, broken entries, rows of other tables, and edited or deleted events that UiPath no longer has ' +
    'need a decision by a person: docs/proof.md.';
  return options.repair
    ? byHand
    : `\`verify --repair\` stores what is missing and restores what was changed. ${byHand}`;
}

function inJson(name: string, value: unknown): unknown {
  if (typeof value !== 'bigint') return value;
  return name === 'createdOnTicks' ? formatTicks(value) : value.toString();
}

function parseNoted(text: string): NotedHead {
  try {
    return parseNotedHead(text);
  } catch (error) {
    throw new InvalidArgumentError(error instanceof Error ? error.message : String(error));
  }
}
