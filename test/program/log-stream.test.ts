/** What is no terminal receives JSON lines only, whatever a command does. */
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { createSimulator, type Simulator } from '../../src/simulator/simulator.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { environmentFor, logLines, runProgram, startProgram } from '../support/program.ts';

let simulator: Simulator;
let database: TestDatabase;
let environment: Record<string, string>;

beforeAll(async () => {
  simulator = await createSimulator({ organization: 'stream', events: 300 });
  database = await createTestDatabase();
  environment = environmentFor(simulator, database.url);
});

afterAll(async () => {
  await simulator.close();
  await database.drop();
});

/** Runs `code` in the program once it handles crashes; before that, Node.js itself does. */
function preload(code: string): Record<string, string> {
  const module = `const timer = setInterval(() => {
    if (process.listenerCount('uncaughtException') === 0) return;
    clearInterval(timer);
    ${code}
  }, 1)`;
  return { NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(module)}` };
}

const AWAY = { UIPATH_BASE_URL: 'http://127.0.0.1:1' };

describe('standard error of', () => {
  test.each<[name: string, args: string[], given: Record<string, string>, code: number, last: object]>([
    ['a run', ['run'], {}, 0, { level: 'info', kind: 'run', outcome: 'succeeded' }],
    [
      'a backfill',
      ['backfill', '--restart'],
      {},
      0,
      { msg: expect.stringMatching(/^backfill \d+ succeeded: /) },
    ],
    ['verify', ['verify'], {}, 0, { level: 'info' }],
    ['check with a wrong secret', ['check'], { UIPATH_CLIENT_SECRET: 'x' }, 2, { code: 'configuration' }],
    ['a source that is away', ['run'], AWAY, 75, { level: 'error', code: 'source-away', outcome: 'failed' }],
    [
      'a database that is away',
      ['run'],
      { DATABASE_URL: 'postgres://127.0.0.1:1/x' },
      75,
      { code: 'database-away' },
    ],
    ['a wrong configuration', ['start'], { UIPATH_ORGANIZATION: '' }, 2, { code: 'configuration' }],
    [
      'an unknown option',
      ['run', '--bogus'],
      {},
      2,
      { msg: expect.stringMatching(/^unknown option '--bogus'/) },
    ],
    ['an unknown command', ['strat'], {}, 2, { msg: expect.stringMatching(/Did you mean start\?/) }],
    [
      'a warning of Node.js, and one of a library',
      ['run'],
      preload(`process.emitWarning('old', 'DeprecationWarning'); console.warn('odd %d', 7)`),
      0,
      { outcome: 'succeeded' },
    ],
    [
      'a crash',
      ['run'],
      preload(`throw new TypeError('boom')`),
      1,
      { level: 'fatal', msg: 'boom', err: { type: 'TypeError' } },
    ],
    [
      'a rejection that nothing handles',
      ['run'],
      preload(`Promise.reject(new TypeError('boom'))`),
      1,
      { level: 'fatal', msg: 'boom' },
    ],
  ])('%s is JSON lines', async (_, args, given, code, last) => {
    const ended = await runProgram(args, { ...environment, ...given });
    const lines = logLines(ended.stderr);
    expect(ended.code).toBe(code);
    expect(lines.at(-1)).toMatchObject(last);
    for (const line of lines) {
      expect(line).toMatchObject({
        level: expect.any(String),
        time: expect.stringMatching(/Z$/),
        pid: expect.any(Number),
        msg: expect.any(String),
      });
    }
    // A run is logged once, whether it succeeds or fails.
    expect(lines.filter(({ outcome }) => outcome !== undefined).length).toBeLessThanOrEqual(1);
    if (_.startsWith('a warning')) {
      expect(lines.filter(({ level }) => level === 'warn')).toMatchObject([
        { msg: 'odd 7' },
        { type: 'DeprecationWarning', msg: 'old' },
      ]);
    }
  });

  test('start, with a failed run and a signal, is JSON lines, one for each run', async () => {
    simulator.set({ faults: [{ fault: 401 }] });
    const program = startProgram(['start'], { ...environment, EXPORT_SCHEDULE: '0 0 1 1 *' });
    try {
      await program.logged(/run \d+ failed/);
      program.kill('SIGTERM');
    } finally {
      simulator.set({ faults: [] });
    }
    const { code, stderr } = await program.ended;
    expect(code).toBe(0);
    const lines = logLines(stderr);
    expect(lines.filter(({ outcome }) => outcome !== undefined)).toMatchObject([
      {
        level: 'error',
        organization: 'stream',
        kind: 'run',
        outcome: 'failed',
        code: 'configuration',
        retryInSeconds: 30,
        msg: expect.stringMatching(/^run \d+ failed: .*HTTP 401/),
      },
    ]);
    expect(lines.find(({ signal }) => signal === 'SIGTERM')).toMatchObject({ level: 'info' });
    expect(lines.at(-1)).toMatchObject({ msg: 'stopped' });
  });
});
