/** `docker-compose` of Debian, which needs no engine to check a file. A test that needs it says where it is missing. */
import { spawnSync } from 'node:child_process';

export const hasDockerCompose = spawnSync('docker-compose', ['version']).status === 0;

export interface Checked {
  status: number | null;
  stdout: string;
  stderr: string;
}

/** Runs `docker-compose config` in a directory with a compose.yaml, with nothing of this process' environment but PATH. */
export function composeConfig(directory: string, environment: Record<string, string> = {}): Checked {
  const env = { PATH: process.env.PATH ?? '', HOME: directory, ...environment };
  return spawnSync('docker-compose', ['config'], { cwd: directory, env, encoding: 'utf8' });
}
