/** What a person sees on a terminal: the bar is the last line, and no message is overwritten. */
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { createSimulator, type Simulator } from '../../src/simulator/simulator.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { environmentFor } from '../support/program.ts';
import { ROOT } from '../support/root.ts';
import { hasTerminals, until } from '../support/sinks.ts';

const MAIN = join(ROOT, 'dist', 'main.js');
const EVENTS = 3000;

let simulator: Simulator;
let database: TestDatabase;
const directory = mkdtempSync(join(tmpdir(), 'audit-screen-'));

beforeAll(async () => {
  simulator = await createSimulator({ organization: 'screen', events: EVENTS });
  database = await createTestDatabase();
});

afterAll(async () => {
  await simulator.close();
  await database.drop();
  rmSync(directory, { recursive: true });
});

interface Shown {
  code: number;
  /** All that was written. */
  written: string;
  /** What a terminal shows of it. */
  lines: string[];
}

/** Runs a command on a terminal of `columns`, and sends `signal` once `when` was written. */
async function onTerminal(
  args: string[],
  {
    columns = 100,
    given = {},
    signal,
    when,
  }: { columns?: number; given?: Record<string, string>; signal?: NodeJS.Signals; when?: RegExp },
): Promise<Shown> {
  const pidFile = join(directory, 'pid');
  const words = [process.execPath, '--', MAIN, ...args].map((word) => `'${word}'`).join(' ');
  const terminal = spawn(
    'script',
    ['-qec', `stty cols ${columns}; echo $$ > '${pidFile}'; exec ${words}`, '/dev/null'],
    {
      cwd: directory,
      env: {
        ...{ PATH: process.env.PATH, HOME: directory, SHELL: '/bin/sh', TERM: 'xterm', NO_COLOR: '1' },
        ...environmentFor(simulator, database.url),
        ...{ EXPORT_PAGE_SIZE: '20', EXPORT_CONCURRENCY: '1', ...given },
      },
      stdio: ['ignore', 'pipe', 'inherit'],
    },
  );
  let written = '';
  terminal.stdout.setEncoding('utf8').on('data', (text) => {
    written += text;
  });
  const ended = new Promise<number>((resolve) => terminal.on('close', (code) => resolve(code ?? -1)));
  if (signal && when) {
    await until(() => when.test(written), `${when} is shown`);
    process.kill(Number(readFileSync(pidFile, 'utf8')), signal);
  }
  return { code: await ended, written, lines: render(written) };
}

/** The lines of a terminal that is wide enough: a carriage return, and the end of a line cleared. */
function render(written: string): string[] {
  return written.split('\n').map((line) =>
    line.split('\r').reduce((shown, part) => {
      const text = part.replace('\x1b[K', '');
      return part.startsWith('\x1b[K') ? text : text + shown.slice(text.length);
    }, ''),
  );
}

const STOPPED = /^Stopped at [\d,]+ of 3,000\. Everything so far is stored; the same command continues\.$/;

(hasTerminals() ? describe : describe.skip)('on a terminal', () => {
  // The first, while nothing is stored.
  test('a run that is stopped says so, too', async () => {
    simulator.set({ latencyMs: 30 });
    const { code, lines } = await onTerminal(['run'], { signal: 'SIGINT', when: /of 3,000/, columns: 120 });
    simulator.set({ latencyMs: 0 });
    expect([code, lines.filter((line) => line !== '').at(-1)]).toEqual([75, expect.stringMatching(STOPPED)]);
  });

  test.each(['SIGINT', 'SIGTERM'] as const)(
    '%s is answered above the bar, and the end says how far it came',
    async (signal) => {
      simulator.set({ latencyMs: 30 });
      const { code, lines, written } = await onTerminal(['backfill', '--restart'], {
        signal,
        when: /of 3,000/,
      });
      simulator.set({ latencyMs: 0 });
      expect(code).toBe(75);
      expect(written).toMatch(/Backfill .*%/);
      expect(lines.filter((line) => line !== '')).toEqual([
        `${signal}: stopping; send the signal again to stop at once`,
        expect.stringMatching(
          /^Stopped at [\d,]+ of 3,000\. Everything so far is stored; the same command without --restart continues\.$/,
        ),
      ]);
    },
  );

  test('warnings and an error stand above the bar and after it, whole', async () => {
    simulator.set({ latencyMs: 10, faults: [{ fault: 503, after: 20 }] });
    const { code, lines, written } = await onTerminal(['backfill', '--restart'], { columns: 500 });
    simulator.set({ latencyMs: 0, faults: [] });
    expect(code).toBe(75);
    expect(written).toMatch(/Backfill .*%/);
    const shown = lines.filter((line) => line !== '');
    expect(shown.map((line) => /^\[.*\] WARN: |^error: No usable response from /.test(line))).toEqual(
      shown.map(() => true),
    );
    expect(shown.length).toBeGreaterThanOrEqual(2);
  });

  test.each([
    ['of 30 columns, the bar fits into one line', { columns: 30 }, /^Backfill 100% {2}3,000 of 3,000$/],
    ['of 80 columns, the bar ends with 100%', { columns: 80 }, /^Backfill █+ 100% {2}3,000 of 3,000 {2}done/],
  ])('%s', async (_, how, expected) => {
    const { code, lines, written } = await onTerminal(['backfill', '--restart'], how);
    expect([code, lines[0]]).toEqual([0, expect.stringMatching(expected)]);
    for (const part of written.split(/[\r\n]+/).filter((text) => text.startsWith('\x1b[K')))
      expect(part.replace('\x1b[K', '').length).toBeLessThanOrEqual(how.columns);
  });

  test('without cursor control there is no bar but one line for each log record', async () => {
    const { code, written } = await onTerminal(['backfill', '--restart'], {
      given: { TERM: 'dumb' },
      columns: 200,
    });
    expect(code).toBe(0);
    // No escape sequence.
    expect(written.includes('\x1b')).toBe(false);
    expect(written).toMatch(/^\[.*\] INFO: backfill \d+ succeeded: 0 new, 3,000 unchanged, [\d.]+ m?s\r$/m);
  });
});
