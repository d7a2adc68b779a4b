/** More processes than one, and clocks that are wrong. */
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { Program } from '../support/program.ts';
import { ROOT } from '../support/root.ts';
import type { Fault } from './play.ts';
import { Missed } from './round.ts';

const TEMPORARY = 75;
const HOUR_MS = 3_600_000;

const LOCKED_OUT = /standing by|Another worker exports/;

const twoWorkers: Fault = {
  name: 'two workers at once',
  does: 'two of them at the same moment; one must stand by or end with 75. In every other round the one that reads is killed',
  hadEarlierRun: 0.2,
  async play(round) {
    const both = [round.start(), round.start()];
    const isLockedOut = (program: Program) => LOCKED_OUT.test(program.stderr());
    await round.until(() => both.some(isLockedOut), { orEnd: true });
    const loser = both.find(isLockedOut)!;
    const command = round.scenario.command;
    if (command !== 'start') {
      const { code } = await loser.ended;
      round.demand(code === TEMPORARY, `the second ${command} ended with ${code}`);
    }
    const run = await round.openRun();
    const winner = both.find(({ pid }) => run.worker.endsWith(`process ${pid}`));
    round.demand(winner !== undefined, `run ${run.run_id} is of ${run.worker}, which is neither worker`);
    if (round.chance(0.5) && winner) {
      winner.kill('SIGKILL');
      await round.endFault({ runId: run.run_id });
    } else await round.endFault();
    await round.recover();
  },
};

const migrations: Fault = {
  name: 'ten migrations at once',
  does: 'ten processes of `migrate` or `run` at once on an empty database; then a run',
  isWithoutTables: true,
  commands: ['run'],
  hadEarlierRun: 0,
  moves: 0,
  async play(round) {
    const command = round.pick(['migrate', 'run']);
    const ten = Array.from({ length: 10 }, () => round.start(command));
    for (const { code, stderr } of await Promise.all(ten.map(({ ended }) => ended))) {
      const isRight = code === 0 || (command === 'run' && code === TEMPORARY && LOCKED_OUT.test(stderr));
      round.demand(isRight, `${command} ended with ${code}: ${stderr.trim().split('\n').at(-1)}`);
    }
    const applied = await round.query<{ name: string }>('select name from audit.migrations order by id');
    const files = (await readdir(join(ROOT, 'migrations'))).filter((name) => name.endsWith('.sql')).sort();
    const names = applied.map(({ name }) => `${name}.sql`);
    round.demand(names.join() === files.join(), `the migrations applied are ${names.join()}`);
    await round.endFault();
    await round.recover();
  },
};

/** NODE_OPTIONS of a worker whose clock is an hour behind; with `waits` only from SIGUSR2 on. */
function clockBehind({ waits }: { waits: boolean }): Record<string, string> {
  const preload = pathToFileURL(join(ROOT, 'test', 'torture', 'shifted-clock.mjs')).href;
  return {
    NODE_OPTIONS: `--import=${preload}`,
    TORTURE_CLOCK_SHIFT_MS: String(-HOUR_MS),
    ...(waits ? { TORTURE_CLOCK_WAITS: '1' } : {}),
  };
}

const clockSetBack: Fault = {
  name: 'clock set back an hour',
  does: "the worker's clock goes back an hour while pages are read; the list ends about now",
  endsNow: true,
  async play(round) {
    const environment = clockBehind({ waits: true });
    const worker = await round.startReading(environment);
    await round.openRun();
    worker.kill('SIGUSR2');
    const hasEnded = () => worker.hasEnded() || /(run|backfill) \d+ (succeeded|failed)/.test(worker.stderr());
    await round.until(hasEnded, { what: 'the run to end' });
    round.demand(!/"\w+Ms":-/.test(worker.stderr()), 'the log names a time that is less than nothing');
  },
};

const clockBehindNext: Fault = {
  name: 'next clock an hour behind',
  does: 'a run with the right clock, then one whose clock is an hour behind, in every other round killed; the list ends about now',
  endsNow: true,
  hadEarlierRun: 1,
  async play(round) {
    const environment = clockBehind({ waits: false });
    const worker = await round.startReading(environment);
    const run = await round.openRun();
    if (round.chance(0.5)) return;
    worker.kill('SIGKILL');
    await worker.ended;
    if ((await round.runs())[0]?.outcome !== null) throw new Missed('the run ended before the kill');
    await round.endFault({ runId: run.run_id });
    await round.recover(environment);
  },
};

export const COMPANY_FAULTS: Fault[] = [twoWorkers, migrations, clockSetBack, clockBehindNext];
