/** What `start` does, as a process, while the source is away. */
import { describe, expect, test } from '@jest/globals';
import type { FaultRule } from '../../src/simulator/faults.ts';
import { createSimulator } from '../../src/simulator/simulator.ts';
import { EVERY_SECOND, openOutages, SLOWLY, withScene } from '../support/outage.ts';

openOutages();

describe('the source is away for some ticks', () => {
  const environment = { ...EVERY_SECOND, RETRY_LIMIT: '3' };

  const failing = (fault: FaultRule, reason: RegExp, given = {}) =>
    withScene(async (scene) => {
      const { simulator } = scene;
      await scene.start({ ...environment, ...given });
      await scene.untilSucceeded();
      simulator.append(30);
      simulator.set({ faults: [fault] });
      await scene.untilFailed(1);
      await scene.expectAway([reason]);
      const before = (await scene.runs()).length;
      simulator.clearRequests();
      await scene.untilFailed(3);
      // The attempts of each run and no more; one run may be in progress. Each run has its row before its first request.
      const { list } = simulator.counts;
      const tried = (await scene.runs()).length - before + 1;
      expect(list).toBeLessThanOrEqual(4 * tried);
      for (const { error } of await scene.failedRuns()) expect(error).toMatch(reason);
      simulator.set({ faults: [] });
      await scene.expectCaughtUp();
    });

  test.concurrent('and responds with 503', failing({ fault: 503 }, /HTTP 503/));

  test.concurrent(
    'and does not respond',
    // Silence alone may take this long, and no response on a busy machine.
    failing({ fault: 'silence' }, /No response from http\S+ after 3 attempts: timeout after 1\.5 s/, {
      HTTP_TIMEOUT: '1500ms',
    }),
  );

  test.concurrent(
    'and no longer listens',
    withScene(async (scene) => {
      await scene.start(environment);
      await scene.untilSucceeded();
      const { organization, url } = scene.simulator;
      await scene.simulator.close();
      await scene.untilFailed(3);
      await scene.expectAway([/^last run: .*ECONNREFUSED/]);
      for (const { error } of await scene.failedRuns()) expect(error).toContain('ECONNREFUSED');
      scene.simulator = await createSimulator({ organization, events: 150, port: Number(new URL(url).port) });
      await scene.expectCaughtUp();
    }),
  );

  test.concurrent(
    'and stops responding during a run, which ends as stalled',
    withScene(async (scene) => {
      scene.simulator.set({ faults: [{ fault: 'silence', after: 3 }] });
      const impatient = { EXPORT_STALL_TIMEOUT: '3s', HTTP_TIMEOUT: '60s' };
      await scene.start({ ...EVERY_SECOND, ...SLOWLY, ...impatient });
      await scene.untilFailed(1);
      const sentence = /The run made no progress for 3 s \(EXPORT_STALL_TIMEOUT\) and was stopped/;
      await scene.expectAway([sentence]);
      expect((await scene.failedRuns())[0]!.error).toMatch(sentence);
      expect(await scene.countStored()).toBeGreaterThan(0);
      scene.simulator.set({ faults: [] });
      await scene.expectCaughtUp();
    }),
  );
});
