/** What `start` does, as a process, while the database is away. */
import { describe, expect, test } from '@jest/globals';
import { withParameter } from '../support/database.ts';
import { EVERY_SECOND, openOutages, type Scene, SLOWLY, withScene } from '../support/outage.ts';

openOutages();

describe('the database is away', () => {
  /** The worker is in the middle of its first run. */
  async function startBehindProxy(scene: Scene, given: Record<string, string> = {}): Promise<void> {
    scene.simulator.set({ latencyMs: 200 });
    await scene.start({ ...EVERY_SECOND, ...SLOWLY, DATABASE_URL: scene.proxy.url, ...given });
    await scene.until(async () => (await scene.countStored()) > 20);
  }

  test.concurrent(
    'for some ticks, and refuses connections',
    withScene(async (scene) => {
      await startBehindProxy(scene);
      await scene.proxy.stop();
      await scene.until(async () => scene.program!.stderr().split('ECONNREFUSED').length > 3);
      await scene.expectAway([/^database: .*ECONNREFUSED/, /^last run: .*ECONNREFUSED/]);
      expect(await scene.countStored()).toBeLessThan(120);
      await scene.proxy.start();
      await scene.expectCaughtUp();
      // The interrupted run; the others could not start.
      const [first, ...later] = await scene.runs();
      expect(first).toMatchObject({ outcome: 'failed', error: expect.stringContaining('PostgreSQL failed') });
      expect(later.map(({ outcome }) => outcome)).toContain('succeeded');
      for (const { outcome } of later) expect(['succeeded', null]).toContain(outcome);
    }),
  );

  test.concurrent(
    'and does not respond on old and new connections',
    withScene(async (scene) => {
      const { proxy } = scene;
      const url = withParameter(proxy.url, 'query_timeout', '2000');
      await startBehindProxy(scene, { DATABASE_URL: url, EXPORT_LEASE: '4s' });
      proxy.hang();
      const before = proxy.connections;
      // The query in progress, or that of the heartbeat, got no response; this closes the connection.
      const lost = 'PostgreSQL failed while .*(Query read timeout|Connection terminated)';
      await scene.program!.logged(new RegExp(`run( \\d+)? failed: ${lost}`));
      await scene.expectAway([/^database: /, new RegExp(`^last run: ${lost}`)]);
      // That of the next run, and that of /readyz.
      expect(proxy.connections - before).toBeLessThanOrEqual(3);
      await proxy.start();
      await scene.expectCaughtUp();
      expect((await scene.failedRuns())[0]!.error).toMatch(new RegExp(lost));
    }),
  );

  test.concurrent(
    'and does not respond at the start: the worker waits',
    withScene(async (scene) => {
      scene.proxy.hang();
      await scene.start({ ...EVERY_SECOND, DATABASE_URL: scene.proxy.url });
      await scene.expectAway([/^database: no response within 5 s/]);
      await scene.program!.logged(/waiting for the database: .*timeout/);
      expect(scene.proxy.connections).toBeLessThanOrEqual(3);
      await scene.proxy.start();
      await scene.expectCaughtUp();
    }),
  );
});
