import { readFile, readlink, realpath, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join, relative } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { ExportError } from '../core/errors.ts';
import type { ServerAccount } from './account.ts';
import type { Binaries } from './binaries.ts';
import { type Layout, lastLines, logSize, readLogTail } from './cluster.ts';

/** The running server of a cluster. `port` is `undefined` for a moment while it starts. */
type Postmaster = { pid: number; port: number | undefined };

/** Ports that are tried in order before any free one, so that psql and dashboards find the server on a stable port. */
const PORTS_TO_TRY = 10;
/** Time for the last sessions of a killed server to end. */
const OLD_SESSIONS_MS = 10_000;
const START_SECONDS = 60;
/** Less than the 10 s in which the program must end after a signal. */
const STOP_SECONDS = 8;

/** Returns the running server of the cluster, from postmaster.pid, if that process is still a server. */
export async function findPostmaster(cluster: string): Promise<Postmaster | undefined> {
  const lines = await readFile(join(cluster, 'postmaster.pid'), 'utf8').then(
    (text) => text.split('\n'),
    (error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return [];
      throw error;
    },
  );
  const pid = Number(lines[0]);
  if (!pid || (await classifyProcess(pid, cluster)) !== 'server') return undefined;
  const port = Number(lines[3]);
  return { pid, port: port > 0 ? port : undefined };
}

/**
 * Starts the server and returns when it accepts connections, or is alive and still recovering. The caller must hold the directory's
 * lock and have found no postmaster. Throws `configuration` with the server's last log lines.
 */
export async function startServer(
  layout: Layout,
  binaries: Binaries,
  account: ServerAccount,
  options: { port: number; settings: Record<string, string> },
): Promise<void> {
  const hadPidFile = await removeStalePidFile(layout.cluster);
  const deadline = Date.now() + (hadPidFile ? OLD_SESSIONS_MS : 0);
  for (;;) {
    const port = await choosePort(options.port);
    const from = await logSize(layout.logFile);
    const flags = Object.entries({ port: String(port), ...options.settings }).map(([name, value]) => {
      return `-c ${name}=${quoteForShell(value)}`;
    });
    // pg_ctl passes paths to a shell in double quotes, which expand a "$" in a directory's name. So PGDATA replaces -D, and
    // the path of the log is relative.
    const logFile = relative(layout.directory, layout.logFile);
    const start = ['start', '-w', '-s', '-t', String(START_SECONDS), '-l', logFile];
    const { exitCode, output } = await account.run(binaries.pgCtl, [...start, '-o', flags.join(' ')], {
      directory: layout.directory,
      cluster: layout.cluster,
    });
    if (exitCode === 0 || (await findPostmaster(layout.cluster))) return;
    const wasPortTaken = options.port !== 0 && !(await isFree(port));
    if (!wasPortTaken && Date.now() >= deadline) {
      const reason = (await readLogTail(layout.logFile, from)) || lastLines(output);
      throw new ExportError(
        'configuration',
        `PostgreSQL could not be started in ${layout.directory}. Its log (${layout.logFile}):\n${reason}\n` +
          'Fix that, choose another directory with EMBEDDED_POSTGRES_DIR, or set DATABASE_URL.',
      );
    }
    await sleep(200);
  }
}

/** Ends all sessions and stops the server. Returns false if that takes more than 8 s; the server still stops later. */
export async function stopServer(
  layout: Layout,
  binaries: Binaries,
  account: ServerAccount,
): Promise<boolean> {
  const stop = ['stop', '-w', '-s', '-m', 'fast', '-t', String(STOP_SECONDS)];
  const { exitCode } = await account.run(binaries.pgCtl, stop, { cluster: layout.cluster });
  return exitCode === 0 || (await findPostmaster(layout.cluster)) === undefined;
}

/**
 * Removes a postmaster.pid whose process id belongs to another program, as after a power cut or in a restarted container:
 * PostgreSQL would refuse to start. Its own check of the shared memory still protects a cluster in use. Returns whether there was a
 * file.
 */
async function removeStalePidFile(cluster: string): Promise<boolean> {
  const file = join(cluster, 'postmaster.pid');
  const text = await readFile(file, 'utf8').catch(() => undefined);
  if (text === undefined) return false;
  if ((await classifyProcess(Number.parseInt(text, 10), cluster)) === 'another')
    await rm(file, { force: true });
  return true;
}

/** Classifies a process. Returns `server` in doubt, since treating a running server as dead would be harmful. */
async function classifyProcess(pid: number, cluster: string): Promise<'server' | 'another' | 'gone'> {
  try {
    process.kill(pid, 0);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EPERM') return 'gone';
  }
  if (process.platform !== 'linux') return 'server';
  const status = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '');
  const [, name, state] = /\((.*)\) (\S)/s.exec(status) ?? [];
  if (name !== undefined && (name !== 'postgres' || state === 'Z')) return 'another';
  // A server's working directory is its data directory. Root in a container may not be allowed to read the link.
  const workingDirectory = await readlink(`/proc/${pid}/cwd`).catch(() => undefined);
  if (workingDirectory !== undefined && workingDirectory !== (await realpath(cluster))) return 'another';
  return 'server';
}

async function choosePort(preferred: number): Promise<number> {
  for (let port = preferred; preferred !== 0 && port < preferred + PORTS_TO_TRY; port++) {
    if (await isFree(port)) return port;
  }
  return (await probePort(0))!;
}

async function isFree(port: number): Promise<boolean> {
  return (await probePort(port)) !== undefined;
}

function probePort(port: number): Promise<number | undefined> {
  return new Promise((resolve) => {
    const probe = createServer();
    probe.once('error', () => resolve(undefined));
    probe.listen(port, '127.0.0.1', () => {
      const address = probe.address() as { port: number };
      probe.close(() => resolve(address.port));
    });
  });
}

function quoteForShell(value: string): string {
  return `'${value.replaceAll("'", `'\\''`)}'`;
}
