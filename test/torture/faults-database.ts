/** What happens to PostgreSQL. */
import { open, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import type { Fault } from './play.ts';
import { Missed, type Round } from './round.ts';

const WORKERS = `
  from pg_stat_activity
  where datname = current_database() and starts_with(application_name, 'uipath-audit-export') and pid <> pg_backend_pid()`;

const stoppedAtOnce: Fault = {
  name: 'database stopped at once',
  does: 'pg_ctl stop -m immediate, and started again a moment later',
  async play(round) {
    await round.startReading();
    const run = await round.openRun();
    await round.cluster.stopAtOnce();
    await sleep(round.draw(50, 1_200));
    await round.cluster.ensureStarted();
    await missedIfSucceeded(round, run.run_id);
    await round.endFault();
    await round.recover();
  },
};

async function missedIfSucceeded(round: Round, runId: string): Promise<void> {
  const run = (await round.runs()).find(({ run_id: id }) => id === runId);
  if (run?.outcome === 'succeeded') throw new Missed('the run ended before the fault');
}

const connectionsEnded: Fault = {
  name: 'connections terminated',
  does: 'pg_terminate_backend for every connection of the worker, one to four times',
  async play(round) {
    await round.startReading();
    const run = await round.openRun();
    for (let times = round.draw(1, 4); times > 0; times--) {
      await round.query(`select pg_terminate_backend(pid) ${WORKERS}`);
      if (times > 1) await sleep(round.draw(10, 300));
    }
    await round.endFault();
    await missedIfSucceeded(round, run.run_id);
    await round.recover();
  },
};

const diskFull: Fault = {
  name: 'database disk full',
  does: "the small file system that holds PostgreSQL's files is filled to the last byte, and emptied again a moment after it was noticed",
  needsDisk: true,
  async play(round) {
    const { directory } = await round.workshop.disk();
    const ballast = join(directory, 'ballast');
    await round.startReading();
    const run = await round.openRun();
    try {
      await fill(ballast);
      const isNoticed = async () => round.programs.some((program) => TROUBLE.test(program.stderr()));
      await round.until(isNoticed, { orEnd: true });
      await sleep(round.draw(50, 1_000));
    } finally {
      await rm(ballast, { force: true });
    }
    round.notes.push(noteOf(round));
    await round.cluster.ensureStarted();
    await round.endFault({ runId: run.run_id });
    await round.recover();
  },
};

const TROUBLE = /No space left|PostgreSQL failed while/;

function noteOf(round: Round): string {
  const isRefused = round.programs.some((program) => /\(53100\)/.test(program.stderr()));
  return isRefused ? 'a statement was refused (53100)' : 'the server went down';
}

async function fill(path: string): Promise<void> {
  const file = await open(path, 'w');
  try {
    for (const size of [1_048_576, 4_096]) {
      const chunk = Buffer.alloc(size);
      for (let isFull = false; !isFull; ) {
        isFull = await file.write(chunk).then(
          ({ bytesWritten }) => bytesWritten < size,
          (error: NodeJS.ErrnoException) => {
            if (error.code === 'ENOSPC') return true;
            throw error;
          },
        );
      }
    }
  } finally {
    await file.close();
  }
}

/** Holds `audit.events` locked while `work` is done, once a worker waits for it. */
async function whileLocked(round: Round, work: () => Promise<void>): Promise<void> {
  const holder = new pg.Client({ connectionString: round.environment.DATABASE_URL });
  holder.on('error', () => {});
  await holder.connect();
  try {
    // The lock_timeout of the database is for the worker.
    await holder.query('set lock_timeout = 0; begin; lock table audit.events in access exclusive mode');
    await round.openRun();
    const isWaiting = async () =>
      (await round.query(`select ${WORKERS} and wait_event_type = 'Lock'`)).length > 0;
    await round.until(isWaiting, { orEnd: true });
    await work();
  } finally {
    await holder.end();
  }
}

const statementTimesOut: Fault = {
  name: 'statement: lock time-out',
  does: 'audit.events is locked by another session for longer than the lock_timeout of the database (200 ms): SQLSTATE 55P03',
  async play(round) {
    const database = new URL(round.environment.DATABASE_URL!).pathname.slice(1);
    await round.query(`alter database ${database} set lock_timeout = '200ms'`);
    await round.startReading();
    await whileLocked(round, async () => {
      await round.until(() => round.programs.some((program) => /55P03/.test(program.stderr())));
      await sleep(round.draw(0, 800));
    });
    await round.query(`alter database ${database} reset lock_timeout`);
    await round.endFault();
    await round.recover();
  },
};

const statementCancelled: Fault = {
  name: 'statement: cancelled',
  does: 'a statement that waits for a lock is cancelled: SQLSTATE 57014, which is also that of statement_timeout',
  async play(round) {
    await round.startReading();
    await whileLocked(round, async () => {
      await sleep(round.draw(50, 600));
      await round.query(`select pg_cancel_backend(pid) ${WORKERS}`);
      await round.until(() => round.programs.some((program) => /57014/.test(program.stderr())));
    });
    await round.endFault();
    await round.recover();
  },
};

const statementSlow: Fault = {
  name: 'statement: slow',
  does: 'a statement waits two to three times as long as EXPORT_LEASE (1 s) for a lock, and then goes on: the run must live',
  environment: () => ({ EXPORT_LEASE: '1s' }),
  async play(round) {
    await round.startReading();
    const run = await round.openRun();
    await whileLocked(round, () => sleep(round.draw(2_000, 3_000)));
    await round.endFault();
    await round.recover();
    const after = (await round.runs()).find(({ run_id: id }) => id === run.run_id);
    const isAlive = after?.outcome === null || after?.outcome === 'succeeded';
    round.demand(isAlive, `a slow statement ended the run: ${after?.outcome} ${after?.error}`);
  },
};

export const DATABASE_FAULTS: Fault[] = [
  stoppedAtOnce,
  connectionsEnded,
  diskFull,
  statementTimesOut,
  statementCancelled,
  statementSlow,
];
