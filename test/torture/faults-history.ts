/** What happens to rows that were read long ago: they come late, are deleted, or all of them change. */
import { setTimeout as sleep } from 'node:timers/promises';
import { FORMS } from '../support/forms.ts';
import type { Fault } from './play.ts';
import { Missed, type Round } from './round.ts';

/** With this, 2,000 rows span a week: longer than the window of the recheck. */
const LONG_SPACING_MS = 300_000;
const RECHECK_WINDOW_MS = 48 * 3_600_000;
/** A burst has up to 35 rows with one createdOn: what is deleted is behind the oldest group. */
const BEHIND_HEAD = 80;

/** Waits until the run that is under way, or was the last one, has ended. */
async function endRun(round: Round): Promise<void> {
  const runId = (await round.runs())[0]!.run_id;
  const hasEnded = async () =>
    (await round.runs()).some((run) => run.run_id === runId && run.outcome !== null);
  await round.until(hasEnded, { what: 'the run to end' });
}

function insertOld(round: Round, count: number): void {
  const toMs = 0.9 * round.simulator.length * LONG_SPACING_MS;
  round.simulator.insertLate(count, { fromMs: RECHECK_WINDOW_MS, toMs });
}

const lateBeyondRecheck: Fault = {
  name: 'row late by days',
  does: 'a row comes late by more than 48 hours while pages are read, and another one when no run is under way',
  spacingMs: LONG_SPACING_MS,
  hadEarlierRun: 0,
  moves: 0,
  quietRuns: 2,
  async play(round) {
    await round.startReading();
    insertOld(round, 1);
    await round.openRun();
    await endRun(round);
    insertOld(round, 1);
  },
};

/** Deletes single rows, after the list was read once; in some rounds while a run is under way as well. */
function deleting(name: string, does: string, remove: (round: Round) => void): Fault {
  return {
    name,
    does,
    hadEarlierRun: 0,
    moves: 0,
    quietRuns: 3,
    async play(round) {
      await round.startReading();
      if (round.chance(0.3)) remove(round);
      await round.openRun();
      await endRun(round);
      for (let times = round.draw(1, 2); times > 0; times--) remove(round);
    },
  };
}

const deletedInside = deleting(
  'single rows deleted inside',
  'one to three single rows disappear behind the head, in every third round the newest one',
  (round) => {
    const { simulator } = round;
    const newest = simulator.length - 1;
    simulator.deleteAt(round.chance(0.3) ? newest : round.draw(BEHIND_HEAD, newest), 1);
  },
);

const twinsDeleted = deleting('twins half deleted', 'one of two equal rows disappears', (round) => {
  round.simulator.deleteTwin();
});

/** All rows of the list are other ones from now on. */
function replace(round: Round, endings: string[], change: () => void): void {
  change();
  round.replacedAt = Date.now();
  round.endings = endings;
}

const listReset: Fault = {
  name: 'list reset',
  does: 'the list is emptied while pages are read or between two runs, and another history begins, at an earlier or a later time, or none',
  hadEarlierRun: 1,
  moves: 0,
  async play(round) {
    const { simulator } = round;
    await round.startReading();
    await round.openRun();
    if (round.chance(0.6)) await endRun(round);
    const seed = round.draw(1, 1e6);
    const firstAt = JSON.parse(simulator.rows[0]!.text).createdOn;
    const how = round.pick(['earlier', 'later', 'empty']);
    // A list that begins behind all that is stored could also be one of which retention has deleted everything: a gap.
    if (how === 'later') {
      replace(round, ['source changed', 'gap'], () => simulator.reset({ seed, events: round.draw(50, 600) }));
    } else {
      const startAt = new Date(Date.parse(firstAt) + 1_000);
      const events = how === 'empty' ? 0 : round.draw(500, 900);
      replace(round, ['source changed'], () => simulator.reset({ seed, events, startAt }));
    }
    await sleep(round.draw(0, 300));
  },
};

const sourceRestored: Fault = {
  name: 'source restored',
  does: 'the list goes back to a state of 300 to 600 rows ago, and another history follows, or nothing',
  hadEarlierRun: 0.5,
  moves: 0,
  async play(round) {
    const { simulator } = round;
    const snapshot = simulator.snapshot();
    simulator.append(round.draw(300, 600));
    await round.startReading();
    await round.openRun();
    await endRun(round);
    const next = { seed: round.draw(1, 1e6), events: round.chance(0.3) ? 0 : round.draw(1, 400) };
    replace(round, ['source changed'], () => simulator.restore(snapshot, next));
    await sleep(round.draw(0, 300));
  },
};

const writtenDifferently: Fault = {
  name: 'details written differently',
  does: 'the details of all rows, or of some, are written in another form, one to four times, while pages are read and between two runs',
  hadEarlierRun: 0.6,
  moves: 0.3,
  async play(round) {
    const { simulator } = round;
    const rewrite = () => {
      const isWhole = round.chance(0.5);
      const from = isWhole ? 0 : round.draw(0, simulator.length - 1);
      const count = isWhole ? simulator.length : round.draw(1, 400);
      simulator.rewrite(from, count, FORMS[round.pick(Object.keys(FORMS) as (keyof typeof FORMS)[])]);
    };
    await round.startReading();
    rewrite();
    await round.openRun();
    if (round.chance(0.5)) await endRun(round);
    for (let times = round.draw(0, 3); times > 0; times--) {
      await sleep(round.draw(5, 200));
      rewrite();
    }
  },
};

const datedAhead: Fault = {
  name: 'row dated years ahead',
  does: 'one to three rows dated 2090 and later appear while pages are read, and other rows after them',
  async play(round) {
    const { simulator } = round;
    await round.startReading();
    simulator.insertDated(round.draw(1, 3), { from: new Date('2090-01-01'), to: new Date('2095-01-01') });
    await round.openRun();
    simulator.append(round.draw(1, 60));
    await endRun(round);
    simulator.append(round.draw(1, 60));
  },
};

const replicaLags: Fault = {
  name: 'replica that lags',
  does: 'every response, or some, show the list as it was up to 40 changes ago, while it moves; EXPORT_SETTLE is 1 h until that ends',
  moves: 1,
  environment: () => ({ EXPORT_SETTLE: '1h' }),
  async play(round) {
    const { simulator } = round;
    await round.startReading();
    const probability = round.pick([0.3, 0.6, 1]);
    simulator.set({ lag: { changes: [1, 40], probability } });
    try {
      await round.openRun();
      await sleep(round.draw(100, 1_000));
    } finally {
      simulator.set({ lag: undefined });
      round.laggedUntil = Date.now();
    }
    if (!simulator.requests.some(({ isLagging }) => isLagging)) throw new Missed('no response lagged');
  },
};

export const HISTORY_FAULTS: Fault[] = [
  lateBeyondRecheck,
  deletedInside,
  twinsDeleted,
  listReset,
  sourceRestored,
  writtenDifferently,
  datedAhead,
  replicaLags,
];
