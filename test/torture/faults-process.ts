/** What happens to the worker's process. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Program } from '../support/program.ts';
import type { Fault } from './play.ts';
import { Missed, type Round, type RunRow } from './round.ts';

const TEMPORARY = 75;
const STOPPED_AT_ONCE = 130;
const STOP_WITHIN_MS = 10_000;
/** SQLSTATE */
const LOCK_NOT_AVAILABLE = '55P03';

/** Kills the process and starts the next one at once, as a supervisor does. */
async function kill(round: Round, worker: Program): Promise<void> {
  const run = await round.openRun();
  const at = performance.now();
  worker.kill('SIGKILL');
  round.start();
  await worker.ended;
  const { outcome } = await runOf(round, run);
  if (outcome !== null && outcome !== 'abandoned') throw new Missed('the run ended before the kill');
  await round.endFault({ at, runId: run.run_id });
}

async function runOf(round: Round, { run_id: runId }: RunRow): Promise<RunRow> {
  return (await round.query<RunRow>('select * from audit.runs where run_id = $1', [runId]))[0]!;
}

const killed: Fault = {
  name: 'kill -9',
  does: 'kill -9 while pages are read; the next process is started at once',
  async play(round) {
    await kill(round, await round.startReading());
    await round.recover();
  },
};

const killedAgain: Fault = {
  name: 'kill -9, again and again',
  does: 'the same two to four times in a row, each time soon after the next process began to read',
  async play(round) {
    let worker = await round.startReading();
    for (let times = round.draw(2, 4); times > 0; times--) {
      await kill(round, worker);
      worker = round.programs.at(-1)!;
      await round.recover();
      await sleep(round.draw(0, 60));
      if ((await round.runs())[0]?.outcome !== null) break;
    }
  },
};

const terminated: Fault = {
  name: 'SIGTERM',
  does: 'SIGTERM while pages are read (one in five twice at once); it must end in order within 10 s',
  async play(round) {
    const worker = await round.startReading();
    const run = await round.openRun();
    const isTwice = round.chance(0.2);
    const askedAt = performance.now();
    worker.kill('SIGTERM');
    if (isTwice) {
      await worker.logged(/stopping/);
      worker.kill('SIGTERM');
    }
    const { code } = await worker.ended;
    round.demand(performance.now() - askedAt < STOP_WITHIN_MS, 'SIGTERM took longer than 10 s');
    const { outcome } = await runOf(round, run);
    if (outcome === 'succeeded') throw new Missed('the run ended before the signal');
    const expected = round.scenario.command === 'start' ? 0 : TEMPORARY;
    const isInOrder = code === expected && outcome === 'interrupted';
    const isAtOnce = isTwice && code === STOPPED_AT_ONCE;
    round.demand(isInOrder || isAtOnce, `after SIGTERM the exit was ${code} and the run ${outcome}`);
    await round.endFault({ runId: run.run_id });
    await round.recover();
  },
};

/** Once another has taken over, the run that was stopped must store nothing more. */
async function expectOvertaken(round: Round, first: Program, run: RunRow): Promise<void> {
  const before = await runOf(round, run);
  await sleep(round.draw(0, 300));
  first.kill('SIGCONT');
  const hasNoticed = () =>
    first.hasEnded() || /(run|backfill)( \d+)? failed|standing by/.test(first.stderr());
  await round.until(hasNoticed, { what: 'the worker that was stopped to notice that it was overtaken' });
  const isFenced = /may not write/.test(first.stderr());
  round.notes.push(isFenced ? 'refused by the fence' : 'refused by the lost connection');
  if (first.hasEnded()) {
    const { code } = await first.ended;
    round.demand(code === TEMPORARY, `the worker that was overtaken ended with ${code}`);
  }
  const after = await runOf(round, run);
  round.demand(after.outcome === 'abandoned', `the run that was overtaken is ${after.outcome}`);
  const isUnchanged = after.rows_read === before.rows_read && after.rows_inserted === before.rows_inserted;
  round.demand(isUnchanged, `run ${run.run_id} went on storing after it was overtaken`);
}

const stopped: Fault = {
  name: 'SIGSTOP, SIGCONT',
  does: 'SIGSTOP for longer than EXPORT_LEASE (1 s); a second worker takes over; then SIGCONT. Recovery counts from the stop',
  environment: () => ({ EXPORT_LEASE: '1s' }),
  async play(round) {
    const first = await round.startReading();
    const at = performance.now();
    first.kill('SIGSTOP');
    const run = await round.openRun();
    await round.endFault({ at, runId: run.run_id });
    await takeOver(round, first);
    await expectOvertaken(round, first, run);
  },
};

/** Starts second workers, since `run` ends where the lock is held, until one has committed. */
async function takeOver(round: Round, stopped: Program): Promise<void> {
  const starting = setInterval(() => {
    if (round.programs.every((program) => program === stopped || program.hasEnded())) round.start();
  }, 20);
  await round.recover().finally(() => clearInterval(starting));
}

const fenced: Fault = {
  name: 'overtaken, connection kept',
  does:
    'SIGSTOP; another run ends its row, written by hand, since a lost lock ends the connection too; SIGCONT: ' +
    'the fence alone must refuse the next commit',
  async play(round) {
    const first = await round.startReading();
    const run = await round.openRun();
    await overtakeByHand(round, first, run);
    await expectOvertaken(round, first, run);
    round.demand(/may not write/.test(first.stderr()), 'the worker was refused, and not by the fence');
    await round.endFault({ runId: run.run_id });
    await round.recover();
  },
};

/** Stops the worker between two transactions: inside one it holds the row until its lease ends. */
async function overtakeByHand(round: Round, worker: Program, run: RunRow): Promise<void> {
  for (;;) {
    worker.kill('SIGSTOP');
    if (await endRunByHand(round, run)) return;
    worker.kill('SIGCONT');
    await sleep(round.draw(1, 20));
    await round.openRun();
  }
}

/** What a worker that takes over writes, lock aside. False where the row is locked. */
async function endRunByHand(round: Round, { run_id: runId }: RunRow): Promise<boolean> {
  return round
    .query(
      `with fence as (select from audit.runs where run_id = $2 for update nowait), ended as (
        update audit.runs set outcome = 'abandoned', ended_at = now(), error = 'overtaken'
        where run_id = $2 and exists (select from fence)
      )
      insert into audit.runs (organization, log, kind, worker, ended_at, outcome, error)
      select $1, 'classic', 'run', 'by hand', now(), 'failed', 'written by hand' from fence`,
      [round.simulator.organization, runId],
    )
    .then(
      () => true,
      (error: { code?: string }) => {
        if (error.code === LOCK_NOT_AVAILABLE) return false;
        throw error;
      },
    );
}

export const PROCESS_FAULTS: Fault[] = [killed, killedAgain, terminated, stopped, fenced];
