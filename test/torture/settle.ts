/** The end of a round: the list stands still, and runs must bring the table, and what is said of it, to the truth. */
import type { Round } from './round.ts';
import type { Completeness, Verdict } from './verdict.ts';

/** The end of a run that has nothing against it, on a slow machine. */
const QUIET_MS = 40_000;
/** `run` says so many times at most that it was locked out, or the database is just coming up. */
const MAX_TRIES = 5;
const TEMPORARY = 75;

/**
 * Each run of the end compares this many pages with the source: more than any list has, so that a late row and a deleted one,
 * which cancel in the count, are found at once.
 */
const ALL_PAGES = '100';
/** Runs until everything is noticed: one to find, one to confirm what is gone, and one to spare. */
const MAX_QUIET_RUNS = 3;
/** More of them in one run are a wholesale change of the source. */
const MAX_SUSPECTED = 100;

/**
 * Requests are answered, the database is up, and what runs comes to its end: the first quiet run. A cap and ties in any order stay,
 * since they are no passing faults.
 */
export async function settle(round: Round): Promise<void> {
  const { simulator, cluster, programs } = round;
  round.mover.stop();
  simulator.set({ faults: [], latencyMs: 0, lag: undefined });
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

interface ProofOptions {
  /** Quiet runs as they are by default, within which all must be right; `undefined` where rows may cancel in the count. */
  quietRuns: number | undefined;
  judge: () => Promise<Verdict>;
}

/** After the first quiet run, more of them until all is right, or as many as it may take. */
export async function prove(round: Round, { quietRuns, judge }: ProofOptions): Promise<Verdict> {
  const environment: Record<string, string> =
    quietRuns === undefined ? { EXPORT_SCRUB_PAGES: ALL_PAGES, EXPORT_SETTLE: '0s' } : {};
  for (let runs = 1; ; runs++) {
    const verdict = await judge();
    const missing = whatIsMissing(verdict, round);
    if (missing === undefined) {
      if (quietRuns !== undefined) round.notes.push(`right after ${runs} quiet runs`);
      if (round.replacedAt === undefined) return verdict;
      await runUntilDone(round);
      const later = await judge();
      const changed = whatIsMissing(later, round);
      round.demand(changed === undefined, `one quiet run later ${changed}`);
      return later;
    }
    if (runs >= (quietRuns ?? MAX_QUIET_RUNS)) {
      round.broken.push(`after ${runs} quiet runs ${missing}`);
      return verdict;
    }
    await runUntilDone(round, environment);
  }
}

function whatIsMissing({ lost, completeness }: Verdict, round: Round): string | undefined {
  const { state, reason, unnoticed } = completeness;
  if (!acceptedStates(completeness, round).includes(state ?? ''))
    return `the state is "${state}" (${reason})`;
  if (lost.length > 0) return `${lost.length} rows are not stored`;
  if (state === 'source changed') return undefined;
  return unnoticed.length > 0 ? `${unnoticed.length} deleted rows are not noticed` : undefined;
}

/** Retention may have deleted rows unread, whatever the fault is: then there is a gap. */
function acceptedStates({ deletedInside }: Completeness, { endings, replacedAt }: Round): string[] {
  if (replacedAt !== undefined) return [...endings];
  return [...endings, 'gap', ...(deletedInside > MAX_SUSPECTED ? ['source changed'] : [])];
}

/** One more run, which must end well. */
export async function runUntilDone(round: Round, environment: Record<string, string> = {}): Promise<void> {
  for (let tries = 1; ; tries++) {
    const { code, stderr } = await within(QUIET_MS, round.start('run', environment).ended, 'the last run');
    if (code === 0) return;
    if (code !== TEMPORARY || tries === MAX_TRIES)
      throw new Error(`the last run ended with ${code}:\n${stderr}`);
    await new Promise((resolve) => setTimeout(resolve, 500));
  }
}

/** In every other round the program's own verdict is asked for as well. */
export async function verify(round: Round): Promise<void> {
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
