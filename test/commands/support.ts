import { spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Simulator } from '../../src/simulator/simulator.ts';

const MAIN = join(process.cwd(), 'dist', 'main.js');

export interface Ended {
  code: number | null;
  stdout: string;
  stderr: string;
}

/** Runs the built program in an empty directory, with nothing in its environment but `environment`. */
export async function runProgram(
  args: readonly string[],
  environment: Record<string, string>,
): Promise<Ended> {
  const directory = await mkdtemp(join(tmpdir(), 'audit-command-'));
  try {
    return await new Promise((resolve, reject) => {
      // Without the dashes Node 20 itself reads what --env-file names, and ends with 9 where it cannot.
      const child = spawn(process.execPath, ['--', MAIN, ...args], {
        cwd: directory,
        env: { PATH: process.env.PATH, HOME: directory, ...environment },
        stdio: ['ignore', 'pipe', 'pipe'],
      });
      let stdout = '';
      let stderr = '';
      child.stdout.setEncoding('utf8').on('data', (chunk) => {
        stdout += chunk;
      });
      child.stderr.setEncoding('utf8').on('data', (chunk) => {
        stderr += chunk;
      });
      child.on('error', reject).on('close', (code) => resolve({ code, stdout, stderr }));
    });
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

/** The variables that lead the program to a simulator and a database. */
export function environmentFor(simulator: Simulator, databaseUrl: string): Record<string, string> {
  return {
    UIPATH_BASE_URL: simulator.url,
    UIPATH_ORGANIZATION: simulator.organization,
    UIPATH_CLIENT_ID: simulator.clientId,
    UIPATH_CLIENT_SECRET: simulator.clientSecret,
    DATABASE_URL: databaseUrl,
  };
}
