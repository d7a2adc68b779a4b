import { spawnSync } from 'node:child_process';

/** The major version of pg_dump on the PATH; 0 if there is none. It refuses to dump a newer server. */
export const pgDumpVersion = Number(
  /\d+/.exec(spawnSync('pg_dump', ['--version'], { encoding: 'utf8' }).stdout ?? '')?.[0] ?? 0,
);

/** Dumps a database in the custom format and restores it into another one, as docs/operations.md does. Throws what the tools print. */
export function dumpAndRestore(from: string, to: string): void {
  const dump = spawnSync('pg_dump', ['--format=custom', `--dbname=${from}`], { maxBuffer: 2 ** 30 });
  if (dump.status !== 0) throw new Error(dump.stderr.toString());
  const restore = spawnSync('pg_restore', ['--exit-on-error', `--dbname=${to}`], { input: dump.stdout });
  if (restore.status !== 0) throw new Error(restore.stderr.toString());
}
