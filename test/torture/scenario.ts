/** What a round begins with: drawn from its seed, and by the fault's wishes. */
import { below, pick, type Random } from '../../src/simulator/random.ts';
import type { SimulatorOptions } from '../../src/simulator/simulator.ts';
import type { Command } from './round.ts';

const SPACING_MS = 5_000;

export interface Scenario {
  command: Command;
  /** Rows in the list at the start, and those appended once an earlier run has read them all. */
  events: number;
  appended: number;
  /** Rows come and go while the fault is on. */
  moves: boolean;
  spacingMs: number;
  pagesToRead: number;
  simulator: SimulatorOptions;
  environment: Record<string, string>;
}

/** What a fault asks of its rounds. */
export interface Wishes {
  commands?: readonly Command[];
  /** Chance that an earlier run has read a part of the list; default 0.3. */
  hadEarlierRun?: number;
  /** Chance that rows come and go while the fault is on; default 0.5. */
  moves?: number;
  /** Rows to read, at least and at most; default 2,000 to 4,000. */
  rows?: readonly [number, number];
  /** Mean time between two rows; default 5 s. */
  spacingMs?: number;
  /** The newest row happened about now, and not in 2023. */
  endsNow?: boolean;
  simulator?: (random: Random) => SimulatorOptions;
  environment?: (random: Random) => Record<string, string>;
}

export function drawScenario(random: Random, organization: string, wishes: Wishes): Scenario {
  const { commands = ['run', 'start', 'start', 'backfill'], hadEarlierRun = 0.3, moves = 0.5 } = wishes;
  const pageSize = 50 + below(random, 51);
  const [fewest, most] = wishes.rows ?? [2_000, 4_000];
  const rows = fewest + below(random, most - fewest);
  const isCaughtUp = random() < hadEarlierRun;
  const events = isCaughtUp ? 300 + below(random, 1_200) : rows;
  const appended = isCaughtUp ? rows : 0;
  const latencyMs: [number, number] = [2, 4 + below(random, 8)];
  const command = pick(random, commands);
  const isMoving = random() < moves;
  const spacingMs = wishes.spacingMs ?? SPACING_MS;
  const environment: Record<string, string> = {
    EXPORT_PAGE_SIZE: String(pageSize),
    EXPORT_CONCURRENCY: String(1 + below(random, 4)),
    EXPORT_SCHEDULE: '* * * * * *',
    EXPORT_LEASE: '10s',
    RETRY_LIMIT: String(2 + below(random, 6)),
    RETRY_MAX_DELAY: '200ms',
    HTTP_TIMEOUT: '5s',
    STATUS_PORT: 'off',
    EXPORT_SETTLE: '0s',
    ...wishes.environment?.(random),
  };
  const toRead = command === 'backfill' ? events + appended : rows;
  const startAt = wishes.endsNow ? { startAt: new Date(Date.now() - (events + appended) * spacingMs) } : {};
  return {
    command,
    events,
    appended,
    moves: isMoving,
    spacingMs,
    pagesToRead: Math.ceil(toRead / (Number(environment.EXPORT_PAGE_SIZE) - 1)),
    simulator: {
      organization,
      events,
      latencyMs,
      seed: 1 + below(random, 1e6),
      spacingMs,
      recordSpans: true,
      policyBytes: 2_000,
      createdOnForm: pick(random, ['full', 'mixed']),
      ...startAt,
      ...wishes.simulator?.(random),
    },
    environment,
  };
}
