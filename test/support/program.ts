/** The real program as a process of its own: `dist/main.js`, which jest's globalSetup builds. */
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Simulator } from '../../src/simulator/simulator.ts';
import { ROOT } from './root.ts';

const MAIN = join(ROOT, 'dist', 'main.js');

export interface Ended {
  /** Exit code, or the signal that ended the process. */
  code: number | NodeJS.Signals;
  stdout: string;
  stderr: string;
}

export interface Program {
  pid: number;
  ended: Promise<Ended>;
  hasEnded(): boolean;
  kill(signal: NodeJS.Signals): void;
  stderr(): string;
  /** Resolves once standard error matches; rejects when the process ends first. */
  logged(pattern: RegExp): Promise<void>;
}

/** What else a test's clock and time zone come from: .ci/calendar sets these. */
const CLOCK_VARIABLES = ['LD_PRELOAD', 'FAKETIME', 'DONT_FAKE_MONOTONIC', 'TZ'];

/** PATH and the clock, for a process that gets nothing else of ours. */
export function machineEnvironment(): Record<string, string> {
  return Object.fromEntries(
    ['PATH', ...CLOCK_VARIABLES].flatMap((name) => {
      const value = process.env[name];
      return value === undefined ? [] : [[name, value]];
    }),
  );
}

/**
 * Starts the program in an empty directory, or in `given`, which is kept, with `environment` and nothing else of ours but
 * PATH and the clock.
 */
export function startProgram(
  args: readonly string[],
  environment: Record<string, string>,
  given?: string,
): Program {
  const directory = given ?? mkdtempSync(join(tmpdir(), 'audit-program-'));
  // Without the dashes Node 20 itself reads what --env-file names, and ends with 9 where it cannot.
  const child = spawn(process.execPath, ['--', MAIN, ...args], {
    cwd: directory,
    env: { ...machineEnvironment(), HOME: directory, ...environment },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let stdout = '';
  let stderr = '';
  let hasEnded = false;
  const watchers = new Set<() => void>();
  child.stdout.setEncoding('utf8').on('data', (text) => {
    stdout += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text) => {
    stderr += text;
    for (const watch of watchers) watch();
  });
  const ended = new Promise<Ended>((resolve) => {
    child.on('close', (code, signal) => {
      if (given === undefined) rmSync(directory, { recursive: true, force: true });
      hasEnded = true;
      resolve({ code: code ?? signal!, stdout, stderr });
    });
  });
  return {
    pid: child.pid!,
    ended,
    hasEnded: () => hasEnded,
    kill: (signal) => child.kill(signal),
    stderr: () => stderr,
    logged(pattern) {
      return new Promise((resolve, reject) => {
        const watch = () => {
          if (!pattern.test(stderr)) return;
          watchers.delete(watch);
          resolve();
        };
        watchers.add(watch);
        watch();
        ended.then(() => reject(new Error(`ended without logging ${pattern}:\n${stderr}`)));
      });
    },
  };
}

/** The log lines of standard error. Throws if a line is not JSON. */
export function logLines(stderr: string): Record<string, unknown>[] {
  return stderr
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line));
}

/** The message of the error that ended the process; `undefined` if none did. */
export function errorIn(stderr: string): string | undefined {
  const last = logLines(stderr).at(-1);
  return last?.level === 'error' || last?.level === 'fatal' ? (last.msg as string) : undefined;
}

export function runProgram(
  args: readonly string[],
  environment: Record<string, string>,
  directory?: string,
): Promise<Ended> {
  return startProgram(args, environment, directory).ended;
}

/** The variables that point the program at a simulator and a database; quick to give up. */
export function environmentFor(simulator: Simulator, databaseUrl: string): Record<string, string> {
  return {
    UIPATH_BASE_URL: simulator.url,
    UIPATH_ORGANIZATION: simulator.organization,
    UIPATH_CLIENT_ID: simulator.clientId,
    UIPATH_CLIENT_SECRET: simulator.clientSecret,
    DATABASE_URL: databaseUrl,
    RETRY_LIMIT: '2',
    RETRY_MAX_DELAY: '10ms',
    STATUS_PORT: '0',
    EXPORT_RECHECK_SCHEDULE: 'off',
  };
}
