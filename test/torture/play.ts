/** Plays one fault from an empty database to the verdict. */
import pg from 'pg';
import { createRandom } from '../../src/simulator/random.ts';
import { createSimulator, type Simulator } from '../../src/simulator/simulator.ts';
import type { Cluster } from './cluster.ts';
import type { Claim } from './completeness.ts';
import { Missed, Round } from './round.ts';
import { drawScenario, type Wishes } from './scenario.ts';
import { prove, settle, verify } from './settle.ts';
import { judge, type Target, type Verdict } from './verdict.ts';
import { watchTables } from './watch.ts';
import type { Workshop } from './workshop.ts';

export interface Fault extends Wishes {
  name: string;
  /** What is done, in a sentence. */
  does: string;
  /** Needs the small file system. */
  needsDisk?: boolean;
  /** Quiet runs, as they are by default, within which all must be right: where late and deleted rows cannot cancel in the count. */
  quietRuns?: number;
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

export function countFindings(verdict: Omit<Verdict, 'rows' | 'completeness'>): number {
  const { lost, doubled, altered, broken, falselyComplete, falselyGone } = verdict;
  return [lost, doubled, altered, broken, falselyComplete, falselyGone].flat().length;
}

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
    return {
      ...verdict,
      fault: fault.name,
      id: `${number}.${attempt}`,
      isMissed,
      recoveryMs: isMissed ? undefined : round.recoveryMs,
      notes: isMissed ? [] : round.notes,
      durationMs: performance.now() - startedAt,
      logs: countFindings(verdict) > 0 ? round.programs.map((program) => program.stderr()) : [],
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
  const stopWatching = watchTables(pool, simulator.organization);
  try {
    const runId = await readEarlier(round);
    target = { row: simulator.rows.at(-1)!, runId };
    await fault.play(round);
  } catch (error) {
    isMissed = error instanceof Missed;
    if (!isMissed) fail(error);
  }
  const judgeNow = (claims: readonly Claim[] = []) =>
    judge(pool, simulator, {
      ...{ target, claims },
      replacedAt: round.replacedAt,
      laggedUntil: round.laggedUntil,
    });
  await settle(round)
    .then(() => prove(round, { quietRuns: isMissed ? undefined : fault.quietRuns, judge: judgeNow }))
    .then(({ completeness }) => (completeness.state === 'source changed' ? undefined : verify(round)))
    .catch(fail);
  const { sentence, claims } = await stopWatching();
  if (sentence) broken.push(sentence);
  const verdict = await judgeNow(await dropLagging(round, claims));
  const whole = { ...verdict, broken: [...broken, ...verdict.broken] };
  return { isMissed: isMissed && countFindings(whole) === 0, verdict: whole };
}

/** A replica that lags can make a run say "complete" wrongly; runs that began later heal it. */
async function dropLagging(round: Round, claims: readonly Claim[]): Promise<Claim[]> {
  const { laggedUntil } = round;
  if (laggedUntil === undefined) return [...claims];
  const rows = await round.query<{ run_id: string; started_at: Date }>(
    'select run_id, started_at from audit.runs',
  );
  const late = rows
    .filter(({ started_at: at }) => at.getTime() > laggedUntil)
    .map((row) => BigInt(row.run_id));
  return claims.filter(({ runId }) => late.includes(runId));
}

/** In some rounds an earlier run, whose number this gives, has read a part; since then rows came late and many at the end. */
async function readEarlier(round: Round): Promise<string> {
  const { scenario, simulator } = round;
  if (scenario.appended === 0) return '0';
  const { code, stderr } = await round.start('run').ended;
  if (code !== 0) throw new Error(`the earlier run ended with ${code}:\n${stderr}`);
  round.mover.insertLate(round.draw(1, 20));
  simulator.append(scenario.appended);
  return (await round.runs())[0]!.run_id;
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
