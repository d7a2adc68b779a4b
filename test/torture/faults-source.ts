/** What the source answers. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { FaultRule } from '../../src/simulator/faults.ts';
import type { Fault } from './play.ts';
import { Missed, type Round } from './round.ts';

/** Every request, or a part of them, gets the answer for a while. */
function answering(
  name: string,
  does: string,
  rule: (round: Round) => FaultRule,
  environment: Record<string, string> = {},
): Fault {
  return {
    name,
    does,
    environment: () => environment,
    async play(round) {
      const { simulator } = round;
      await round.startReading();
      await round.openRun();
      const before = simulator.counts.faults;
      const some = round.pick([{}, {}, { probability: 0.5 }]);
      simulator.set({ faults: [{ ...rule(round), ...some }] });
      await round.until(() => simulator.counts.faults > before, { orEnd: true });
      await sleep(round.draw(100, 1_200));
      simulator.set({ faults: [] });
      await round.endFault();
      await round.recover();
    },
  };
}

const HALVES = ['half-length', 'half-chunked', 'half-clean'] as const;
const IMPATIENT = { HTTP_TIMEOUT: '400ms' };

const tokensRevoked: Fault = {
  name: 'tokens revoked',
  does: 'every token dies while pages are read, one to five times',
  async play(round) {
    const { simulator } = round;
    await round.startReading();
    await round.openRun();
    simulator.clearRequests();
    for (let times = round.draw(1, 5); times > 0; times--) {
      simulator.revokeTokens();
      await sleep(round.draw(10, 150));
    }
    if (!simulator.requests.some(({ status }) => status === 401)) throw new Missed('no request was refused');
    await round.endFault();
    await round.recover();
  },
};

const tokensShort: Fault = {
  name: 'tokens of one second',
  does: 'tokens live for one second, in every other round against what expires_in says',
  simulator: (random) => ({
    tokenLifeSeconds: 1,
    expiresIn: random() < 0.5 ? 3600 : undefined,
    latencyMs: [20, 50],
  }),
  environment: () => ({ EXPORT_CONCURRENCY: '1', RETRY_LIMIT: '4' }),
  async play(round) {
    const { simulator } = round;
    await round.startReading();
    await round.openRun();
    const asked = simulator.counts.token;
    const hasRenewed = () => simulator.counts.token > asked;
    await round.until(hasRenewed, { orEnd: true });
    await round.endFault();
    await round.recover();
  },
};

export const SOURCE_FAULTS: Fault[] = [
  answering(
    'source: 429',
    '429 with Retry-After, a number or a date',
    (round) => ({ fault: 429, retryAfter: 1, asDate: round.chance(0.5), on: round.pick(['list', 'both']) }),
    { RETRY_MAX_DELAY: '1s' },
  ),
  answering('source: 500', '500', (round) => ({ fault: 500, on: round.pick(['list', 'both']) })),
  answering('source: 503', '503 with the page of a gateway', () => ({ fault: 503, body: 'html' })),
  answering('source: HTML', "the portal's page with status 200, which ends a run", () => ({ fault: 'html' })),
  answering('source: half a body', 'half of the answer, cut off in one of three ways', (round) => ({
    fault: round.pick(HALVES),
  })),
  answering('source: reset', 'the connection is reset before an answer', () => ({ fault: 'reset' })),
  answering('source: silence', 'no answer; HTTP_TIMEOUT is 0.4 s', () => ({ fault: 'silence' }), IMPATIENT),
  answering(
    'source: one byte a second',
    'the answer comes at one byte a second; HTTP_TIMEOUT is 0.4 s',
    () => ({ fault: 'drip', bytesPerSecond: 1 }),
    IMPATIENT,
  ),
  tokensRevoked,
  tokensShort,
];
