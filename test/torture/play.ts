/** Plays one fault from an empty database to the verdict. */
import pg from 'pg';
import { createRandom } from '../../src/simulator/random.ts';
import { createSimulator, type Simulator } from '../../src/simulator/simulator.ts';
import type { Cluster } from './cluster.ts';
import { Missed, Round } from './round.ts';
import { drawScenario, type Wishes } from './scenario.ts';
import { judge, type Target, type Verdict } from './verdict.ts';
import { watchWatermark } from './watch.ts';
import type { Workshop } from './workshop.ts';

export interface Fault extends Wishes {
  name: string;
  /** What is done, in a sentence. */
  does: string;
  /** Needs the small file system. */
  needsDisk?: boolean;
  /** Begins without tables. */
  isWithoutTables?: boolean;
  /** Does it, and waits for the first commit afterwards. Throws `Missed` where the worker was too quick for it. */
  play: (round: Round) => Promise<void>;
}

export interface Played extends Verdict {
  fault: string;
  /** The same round again: `--seed SEED --round NUMBER.ATTEMPT`. */
  id: string;
  isMissed: boolean;
  recoveryMs: number | undefined;
  durationMs: number;
  notes: string[];
  /** Of the programs, when something is wrong. */
  logs: string[];
}

/** The end of a run that has nothing against it, on a slow machine. */
const QUIET_MS = 40_000;
/** `run` says so many times at most that it was locked out, or the database is just coming up. */
const MAX_TRIES = 5;
const TEMPORARY = 75;

export async function playRound(
  workshop: Workshop,
  fault: Fault,
  place: { seed: number; number: number; attempt: number },
): Promise<Played> {
  const { seed, number, attempt } = place;
  const startedAt = performance.now();
  const random = createRandom(seed, number, attempt);
  const name = `torture_${number}_${attempt}`;
  const scenario = drawScenario(random, name.replaceAll('_', '-'), fault);
  const { cluster } = fault.needsDisk ? await workshop.disk() : workshop;
  const url = await cluster.createDatabase(name, { isEmpty: fault.isWithoutTables === true });
  const simulator = await createSimulator(scenario.simulator);
  const pool = new pg.Pool({ connectionString: url, max: 3, connectionTimeoutMillis: 2_000 });
  pool.on('error', () => {});
  const round = new Round({ random, scenario, simulator, cluster, workshop, pool, url });
  try {
    const { isMissed, verdict } = await playAndJudge(round, fault);
    const isWrong =
      verdict.lost.length + verdict.doubled.length + verdict.altered.length + verdict.broken.length;
    return {
      ...verdict,
      fault: fault.name,
      id: `${number}.${attempt}`,
      isMissed,
      recoveryMs: isMissed ? undefined : round.recoveryMs,
      notes: isMissed ? [] : round.notes,
      durationMs: performance.now() - startedAt,
      logs: isWrong ? round.programs.map((program) => program.stderr()) : [],
    };
  } finally {
    await tidy(round, { pool, simulator, cluster, name });
  }
}

/** A round that was missed is judged like any other: a worker that ended too soon may have ended wrongly. */
async function playAndJudge(round: Round, fault: Fault): Promise<{ isMissed: boolean; verdict: Verdict }> {
  const { simulator, pool, broken } = round;
  const fail = (error: unknown) => broken.push((error as Error).message);
  let isMissed = false;
  let target: Target | undefined;
  const stopWatching = watchWatermark(pool, simulator.organization);
  try {
    const runId = await readEarlier(round);
    target = { row: simulator.rows.at(-1)!, runId };
    await fault.play(round);
  } catch (error) {
    isMissed = error instanceof Missed;
    if (!isMissed) fail(error);
  }
  await settle(round)
    .then(() => verify(round))
    .catch(fail);
  broken.push(...[await stopWatching()].flatMap((sentence) => sentence ?? []));
  const verdict = await judge(pool, simulator, target);
  const all = [...broken, ...verdict.broken];
  const isRight = all.length + verdict.lost.length + verdict.doubled.length + verdict.altered.length === 0;
  return { isMissed: isMissed && isRight, verdict: { ...verdict, broken: all } };
}

/** In some rounds an earlier run, whose number this gives, has read a part; since then rows came late and many at the end. */
async function readEarlier(round: Round): Promise<string> {
  const { scenario, simulator } = round;
  if (scenario.appended === 0) return '0';
  const { code, stderr } = await round.start('run').ended;
  if (code !== 0) throw new Error(`the earlier run ended with ${code}:\n${stderr}`);
  if (!scenario.isWithoutLookback) simulator.insertLate(round.draw(1, 20));
  simulator.append(scenario.appended);
  return (await round.runs())[0]!.run_id;
}

/**
 * The list stands still, requests are answered, the database is up: one more run must bring the table to the truth. A cap
 * and ties in any order stay, since they are no passing faults.
 */
async function settle(round: Round): Promise<void> {
  const { simulator, cluster, programs } = round;
  round.mover.stop();
  simulator.set({ faults: [], latencyMs: 0 });
  await cluster.ensureStarted();
  const alive = programs.filter((program) => !program.hasEnded());
  for (const program of alive) program.kill('SIGCONT');
  const services = round.scenario.command === 'start' ? alive : [];
  if (services.length === 0) {
    for (const program of alive) await within(QUIET_MS, program.ended, 'a worker to end');
    await runUntilDone(round);
    return;
  }
  const { rows } = await round.pool.query<{ now: Date }>('select clock_timestamp() as now');
  const hasRun = () => hasSucceededSince(round, rows[0]!.now);
  await round.until(hasRun, { withinMs: QUIET_MS, what: 'a run of the schedule after the fault' });
  for (const program of services) {
    program.kill('SIGTERM');
    const { code } = await within(QUIET_MS, program.ended, 'start to end after SIGTERM');
    round.demand(code === 0, `start ended with ${code} after SIGTERM`);
  }
}

async function runUntilDone(round: Round): Promise<void> {
  for (let tries = 1; ; tries++) {
    const { code, stderr } = await within(QUIET_MS, round.start('run').ended, 'the last run');
    if (code === 0) return;
    if (code !== TEMPORARY || tries === MAX_TRIES)
      throw new Error(`the last run ended with ${code}:\n${stderr}`);
    await new Promise((resolve) => setTimeout(resolve, 500));
  }
}

/** In every other round the program's own verdict is asked for as well. */
async function verify(round: Round): Promise<void> {
  if (round.chance(0.5)) return;
  const { code, stdout, stderr } = await within(QUIET_MS, round.start('verify').ended, 'verify');
  round.demand(code === 0, `verify ended with ${code}: ${stdout}${stderr}`);
}

async function hasSucceededSince(round: Round, since: Date): Promise<boolean> {
  const rows = await round.query(
    `select from audit.runs where organization = $1 and started_at > $2 and outcome = 'succeeded'`,
    [round.simulator.organization, since],
  );
  return rows.length > 0;
}

async function within<T>(milliseconds: number, promise: Promise<T>, what: string): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(
      () => reject(new Error(`waited ${milliseconds} ms for ${what} in vain`)),
      milliseconds,
    );
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

async function tidy(
  round: Round,
  parts: { pool: pg.Pool; simulator: Simulator; cluster: Cluster; name: string },
): Promise<void> {
  round.mover.stop();
  for (const program of round.programs) {
    program.kill('SIGKILL');
    await program.ended;
  }
  await parts.simulator.close();
  await parts.pool.end();
  await parts.cluster.ensureStarted();
  await parts.cluster.dropDatabase(parts.name);
}
