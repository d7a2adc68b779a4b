/** What happens to the source's list while it is read. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Fault } from './play.ts';
import type { Round } from './round.ts';
import type { Wishes } from './scenario.ts';

/** Makes a change several times while a run is under way. */
function changing(name: string, does: string, change: (round: Round) => void, wishes: Wishes = {}): Fault {
  return {
    name,
    does,
    moves: 0.3,
    ...wishes,
    async play(round) {
      await round.startReading();
      // Near the end a change hits what has just been read.
      if (round.chance(0.5)) await round.reachPages(0.8 + 0.15 * round.draw(0, 100) * 0.01);
      change(round);
      await round.openRun();
      for (let times = round.draw(1, 10); times > 0; times--) {
        await sleep(round.draw(5, 40));
        change(round);
      }
    },
  };
}

const MAX_OF_A_BURST = 60;

/** Wider than any burst of rows with one createdOn, so that a page holds every tie group whole however the list moves. */
const WIDE_CAP = [80, 150] as const;

const whileRead = changing(
  'rows late',
  'up to 20 rows at a time are inserted anywhere behind the newest, in every other round after a run has ended too',
  (round) => round.mover.insertLate(round.draw(1, 20)),
);

const rowsLate: Fault = {
  ...whileRead,
  async play(round) {
    await whileRead.play(round);
    if (round.chance(0.5)) return;
    const runId = (await round.runs())[0]!.run_id;
    const hasEnded = async () =>
      (await round.runs()).some((run) => run.run_id === runId && run.outcome !== null);
    await round.until(hasEnded, { what: 'the run to end' });
    round.mover.insertLate(round.draw(1, 20));
  },
};

const tiesShuffled: Fault = {
  name: 'ties shuffled',
  does: 'rows with one createdOn come in another order at every request',
  simulator: () => ({ shuffleTies: true }),
  async play(round) {
    await round.startReading();
    await round.openRun();
  },
};

const topCapped: Fault = {
  name: 'top capped',
  does: 'never more than 12 to 48 rows an answer, whatever top says; tie groups may be longer; the list stands still',
  moves: 0,
  simulator: (random) => ({ cap: 12 + Math.floor(random() * 37) }),
  async play(round) {
    // A group longer than the cap is not shown whole, so that the newest one can stay unproven.
    round.endings = ['complete', 'not proven'];
    await round.startReading();
    await round.openRun();
  },
};

const capChanges: Fault = {
  ...changing(
    'cap changing mid-run',
    'pages of 200 are asked for, and another cap of 80 to 150 rows comes and goes again and again',
    (round) => {
      const [low, high] = WIDE_CAP;
      round.simulator.set({
        cap: round.pick([
          Number.POSITIVE_INFINITY,
          round.draw(low, high),
          [round.draw(low, high), round.draw(low, high)],
        ]),
      });
    },
    {
      moves: 0.5,
      simulator: () => ({ latencyMs: [10, 25] }),
      environment: () => ({ EXPORT_PAGE_SIZE: '200', EXPORT_CONCURRENCY: '2' }),
    },
  ),
};

export const LIST_FAULTS: Fault[] = [
  changing('rows appended', 'bursts of up to 60 rows are appended while pages are read', (round) =>
    round.simulator.append(round.draw(1, MAX_OF_A_BURST)),
  ),
  rowsLate,
  changing('rows deleted at the head', 'up to 300 rows at a time disappear at the head', (round) =>
    round.simulator.deleteHead(round.draw(1, 300)),
  ),
  changing('rows deleted in the middle', 'up to 120 rows at a time disappear anywhere', (round) =>
    round.simulator.deleteAt(round.draw(0, round.simulator.length), round.draw(1, 120)),
  ),
  tiesShuffled,
  topCapped,
  capChanges,
];
