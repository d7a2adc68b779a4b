/** What `start` does, as a process, when it misses ticks of its schedule. */
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, test } from '@jest/globals';
import { openOutages, type Scene, withScene } from '../support/outage.ts';

openOutages();

describe('one run replaces the missed ticks', () => {
  /** Four ticks, of which the first comes when the worker is surely up; no other for the rest of a minute. */
  function fourTicks(): { schedule: Record<string, string>; lastAt: number } {
    // Reads the clock: the real schedule has its ticks at instants.
    const first = Math.ceil(Date.now() / 1000) + 12;
    const seconds = [0, 1, 2, 3].map((i) => (first + i) % 60);
    return { schedule: { EXPORT_SCHEDULE: `${seconds.join(',')} * * * * *` }, lastAt: (first + 3) * 1000 };
  }

  async function expectOneMore(scene: Scene): Promise<void> {
    await scene.until(async () => (await scene.runs())[1]?.outcome === 'succeeded');
    await sleep(1_500);
    expect((await scene.runs()).map(({ outcome }) => outcome)).toEqual(['succeeded', 'succeeded']);
  }

  test.concurrent(
    'when the process was stopped',
    withScene(async (scene) => {
      const { schedule, lastAt } = fourTicks();
      await scene.start(schedule);
      await scene.untilSucceeded();
      scene.program!.kill('SIGSTOP');
      // Reads the clock: until the ticks have passed.
      await sleep(lastAt + 2_500 - Date.now());
      expect(await scene.runs()).toHaveLength(1);
      scene.program!.kill('SIGCONT');
      await expectOneMore(scene);
    }),
  );

  test.concurrent(
    'when a run took longer',
    withScene(async (scene) => {
      const { simulator } = scene;
      const { schedule, lastAt } = fourTicks();
      // Of two responses: that of the token and that of the list.
      // Reads the clock: until the ticks have passed.
      simulator.set({ latencyMs: (lastAt + 1_000 - Date.now()) / 2 });
      await scene.start(schedule);
      await scene.until(async () => simulator.counts.list > 0);
      simulator.set({ latencyMs: 0 });
      await expectOneMore(scene);
      expect((await scene.runs())[1]!.started_at.getTime()).toBeGreaterThan(lastAt);
    }),
  );
});
