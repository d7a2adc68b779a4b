/** The machine and the program, without which no figure means anything. */
import { execFile } from 'node:child_process';
import { arch, cpus, loadavg, platform, release, totalmem } from 'node:os';
import { promisify } from 'node:util';
import { ROOT } from '../test/support/root.ts';
import type { Server } from './database.ts';

interface Machine {
  cpu: string;
  cores: number;
  memoryBytes: number;
  os: string;
  node: string;
  postgres: string;
  postgresIsEmbedded: boolean;
  settings: Record<string, string>;
  /** Of the last minute, when the bench began: what else kept the processors busy. */
  loadAtStart: number;
  /** With a `+` where files differ from it. */
  commit: string | undefined;
}

export async function describeMachine(server: Server, loadAtStart: number): Promise<Machine> {
  return {
    cpu: cpus()[0]?.model.trim() ?? 'unknown',
    cores: cpus().length,
    memoryBytes: totalmem(),
    os: `${platform()} ${release()} ${arch()}`,
    node: process.version,
    postgres: server.version,
    postgresIsEmbedded: server.isEmbedded,
    settings: server.settings,
    loadAtStart,
    commit: await readCommit(),
  };
}

export function readLoad(): number {
  return loadavg()[0]!;
}

export function sayMachine(machine: Machine): string {
  const settings = Object.entries(machine.settings).map(([name, value]) => `${name} ${value}`);
  const gibibytes = (machine.memoryBytes / 2 ** 30).toFixed(0);
  return [
    `${machine.cpu}, ${machine.cores} cores, ${gibibytes} GB, ${machine.os}; load ${machine.loadAtStart.toFixed(2)} at the start`,
    `Node.js ${machine.node}, PostgreSQL ${machine.postgres}${machine.postgresIsEmbedded ? ' (embedded)' : ''}: ${settings.join(', ')}`,
    `commit ${machine.commit ?? 'unknown'}`,
  ].join('\n');
}

async function readCommit(): Promise<string | undefined> {
  const git = async (...args: string[]) =>
    (await promisify(execFile)('git', args, { cwd: ROOT })).stdout.trim();
  try {
    const commit = await git('rev-parse', '--short', 'HEAD');
    return (await git('status', '--porcelain')) === '' ? commit : `${commit}+`;
  } catch {
    return undefined;
  }
}
