/** What the measurements share: the simulator as a process of its own, and the environment that leads a worker to it. */
import { execFileSync, spawn } from 'node:child_process';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const TREE = fileURLToPath(new URL('..', import.meta.url));

/** A simulated organization; `stop` ends it. */
export async function startSimulator(events) {
  const args = ['dist/main.js', 'simulate', '--port', '0', '--events', String(events)];
  const child = spawn(process.execPath, args, { cwd: TREE });
  const url = await new Promise((resolve, reject) => {
    child.on('exit', (code) => reject(new Error(`the simulator ended with ${code}`)));
    child.stdout.on('data', (text) => {
      const [found] = /http:\/\/127\.0\.0\.1:\d+/.exec(text) ?? [];
      if (found) resolve(found);
    });
  });
  return { url, stop: () => child.kill() };
}

/** For a worker that stores the simulated organization under any name. */
export function environmentFor(url, organization) {
  return {
    UIPATH_BASE_URL: url,
    UIPATH_ORGANIZATION: organization,
    UIPATH_AUDIT_PATH: '/acme/audit_/api/auditlogs',
    UIPATH_TOKEN_URL: `${url}/acme/identity_/connect/token`,
    UIPATH_CLIENT_ID: 'simulated-client',
    UIPATH_CLIENT_SECRET: 'simulated-secret',
    LOG_LEVEL: 'error',
  };
}

/** What the program in `root` prints with --json, whatever it exits with. */
export function runJson(root, args, { cwd, environment }) {
  const options = { cwd, env: { ...process.env, ...environment }, stdio: ['ignore', 'pipe', 'ignore'] };
  try {
    return JSON.parse(
      execFileSync(process.execPath, [join(root, 'dist/main.js'), ...args, '--json'], options),
    );
  } catch (error) {
    if (error.stdout?.length > 0) return JSON.parse(error.stdout);
    throw error;
  }
}
