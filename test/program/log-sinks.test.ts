/** What standard error is connected to never changes what a command stores or exits with. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import pg from 'pg';
import { createSimulator, type Simulator } from '../../src/simulator/simulator.ts';
import { createTestDatabase } from '../support/database.ts';
import { environmentFor } from '../support/program.ts';
import {
  canMount,
  hasTerminals,
  openClosed,
  openFullDevice,
  openFullDisk,
  openGood,
  openPipe,
  openTerminal,
  type Sink,
  until,
} from '../support/sinks.ts';

const EVENTS = 300;
/** For all steps on a machine that is busy with other things. */
const MAX_MS = 180_000;
const STORED_BY = [
  { kind: 'run', outcome: 'succeeded', rows_inserted: '300' },
  { kind: 'verify', outcome: 'succeeded', rows_inserted: '7' },
  { kind: 'backfill', outcome: 'succeeded', rows_inserted: '20' },
  { kind: 'run', outcome: 'succeeded', rows_inserted: '20' },
];

/**
 * The writer of standard error meets two kinds of sink: a write fails, with one error or another, or it never ends. At LOG_LEVEL=info
 * the program writes fewer of the lines that it writes at debug, and `demo` has the writer of every command: one sink of each kind
 * is enough for these, the first two.
 */
const SINKS: [name: string, open: () => Sink, isPossible: boolean][] = [
  ['/dev/full', openFullDevice, true],
  ['a full pipe whose reader never reads', () => openPipe('never reads'), true],
  ['a closed descriptor', openClosed, true],
  ['a pipe whose reader is gone', () => openPipe('gone'), true],
  ['a terminal that is closed', openTerminal, hasTerminals()],
  ['a file on a full disk', openFullDisk, canMount()],
];

interface Step {
  args: string[];
  code: number;
  before?: (at: { simulator: Simulator; pool: pg.Pool }) => unknown;
  /** When it is told to stop. */
  isEndedBy?: 'stored' | 'up';
}

const append: Step['before'] = ({ simulator }) => simulator.append(20);
const lose: Step['before'] = ({ pool }) =>
  pool.query(
    'delete from audit.events where event_id in (select event_id from audit.events order by 1 limit 7)',
  );

/** What writes log lines, in this order on one database. */
const LOGGING: Step[] = [
  { args: ['check'], code: 0 },
  { args: ['migrate', '--json'], code: 0 },
  { args: ['run'], code: 0 },
  { args: ['verify'], code: 3, before: lose },
  { args: ['verify', '--repair'], code: 0 },
  { args: ['backfill', '--restart'], code: 0, before: append },
  { args: ['status', '--json'], code: 0 },
  { args: ['start'], code: 0, before: append, isEndedBy: 'stored' },
];

/** What writes at most a message, whatever the level, and quickly. */
const WITHOUT_LOG: Step[] = [
  { args: ['--help'], code: 0 },
  { args: ['--version'], code: 0 },
  { args: ['nonsense'], code: 2 },
  { args: ['verify', '--offline', '--repair'], code: 2 },
  { args: ['simulate', '--port', '0', '--json'], code: 0, isEndedBy: 'up' },
];

/** Starts a PostgreSQL. */
const DEMO: Step[] = [{ args: ['demo', '--events', '300', '--directory', 'demo'], code: 0 }];

interface Result {
  codes: Record<string, number | NodeJS.Signals>;
  events?: unknown;
  runs?: unknown;
}

/** Every step on `sink`, one after another, on a database and a source of their own. */
async function runAll(sink: Sink, steps: readonly Step[], level: string): Promise<Result> {
  const directory = mkdtempSync(join(tmpdir(), 'audit-sinks-'));
  const database = await createTestDatabase();
  const pool = new pg.Pool({ connectionString: database.url });
  pool.on('error', () => {});
  const simulator = await createSimulator({ organization: 'sinks', events: EVENTS });
  const environment = {
    ...environmentFor(simulator, database.url),
    ...{ EXPORT_PAGE_SIZE: '20', EXPORT_SCHEDULE: '* * * * * *', LOG_LEVEL: level },
  };
  try {
    const codes: Result['codes'] = {};
    for (const { args, before, isEndedBy } of steps) {
      await before?.({ simulator, pool });
      const program = sink.launch({ args, environment, directory });
      try {
        if (isEndedBy === 'stored') {
          await until(
            async () => (await countStored(pool)) === simulator.length && !(await isRunning(pool)),
            'start has stored everything, and its run has ended',
          );
        }
        if (isEndedBy === 'up') await until(() => program.stdout().includes('\n'), `${args[0]} is up`);
        if (isEndedBy) process.kill(await program.pid(), 'SIGTERM');
        codes[`${Object.keys(codes).length} ${args.join(' ')}`] = (await program.ended).code;
      } finally {
        program.kill();
      }
    }
    return { codes, ...(steps === LOGGING && (await readStored(pool))) };
  } finally {
    await simulator.close();
    await pool.end();
    await database.drop();
    rmSync(directory, { recursive: true, force: true });
  }
}

async function isRunning(pool: pg.Pool): Promise<boolean> {
  const { rowCount } = await pool.query('select from audit.runs where outcome is null');
  return rowCount !== 0;
}

async function countStored(pool: pg.Pool): Promise<number> {
  const { rows } = await pool.query('select count(*)::int as count from audit.events');
  return rows[0].count;
}

async function readStored(pool: pg.Pool): Promise<Omit<Result, 'codes'>> {
  const events = await pool.query(
    `select count(*)::int as count, md5(string_agg(event_id::text || message, ' ' order by event_id)) as hash from audit.events`,
  );
  const runs = await pool.query(
    `select kind, outcome, rows_inserted from audit.runs where rows_inserted > 0 or outcome = 'failed' order by run_id`,
  );
  return { events: events.rows[0], runs: runs.rows };
}

function startOnce<T>(work: () => Promise<T>): () => Promise<T> {
  let started: Promise<T> | undefined;
  return () => (started ??= work());
}

describe.each([
  ['commands with a log, at LOG_LEVEL=debug', 'debug', LOGGING, SINKS],
  ['commands with a log, at LOG_LEVEL=info', 'info', LOGGING, SINKS.slice(0, 2)],
  ['commands without a log', 'info', WITHOUT_LOG, SINKS],
  ['the demo', 'info', DEMO, SINKS.slice(0, 2)],
])('%s', (_, level, steps, sinks) => {
  const good = startOnce(() => runAll(openGood(), steps, level));

  test.concurrent(
    'store everything where standard error works',
    async () => {
      const { codes, ...stored } = await good();
      expect(Object.values(codes)).toEqual(steps.map(({ code }) => code));
      if (steps === LOGGING)
        expect(stored).toMatchObject({ events: { count: EVENTS + 40 }, runs: STORED_BY });
    },
    MAX_MS,
  );

  for (const [name, open, isPossible] of sinks) {
    (isPossible ? test.concurrent : test.skip)(
      `store and exit the same on ${name}`,
      async () => {
        const sink = open();
        try {
          expect(await runAll(sink, steps, level)).toEqual(await good());
        } finally {
          sink.close();
        }
      },
      MAX_MS,
    );
  }
});
