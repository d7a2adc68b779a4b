/** Runs main.go: requests as JSON lines in, results as JSON lines out. */
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { ROOT } from '../support/root.ts';

/** See `request` in main.go. Bytes are base64. */
export type GoRequest = { check: string } & Record<string, unknown>;

/** See `result` in main.go. */
export interface GoResult {
  error: string;
  text?: string;
  keys?: string[];
}

export function hasGo(): boolean {
  return spawnSync('go', ['version']).error === undefined;
}

/** The results in the order of the requests. Throws if the program cannot be built or fails. */
export function runGo(requests: readonly GoRequest[]): GoResult[] {
  const { status, error, stdout, stderr } = spawnSync('go', ['run', '.'], {
    cwd: join(ROOT, 'test', 'interop'),
    input: requests.map((request) => `${JSON.stringify(request)}\n`).join(''),
    encoding: 'utf8',
    maxBuffer: 2 ** 30,
  });
  if (error || status !== 0) {
    throw new Error(`\`go run .\` in test/interop ended with ${status}:\n${stderr}`, { cause: error });
  }
  const results = stdout.trimEnd().split('\n');
  if (results.length !== requests.length) {
    throw new Error(`\`go run .\` returned ${results.length} results for ${requests.length} requests`);
  }
  return results.map((line) => JSON.parse(line) as GoResult);
}
