import { execFile, spawn } from 'node:child_process';
import { chown, stat } from 'node:fs/promises';
import { promisify } from 'node:util';
import { ExportError } from '../core/errors.ts';

/** Result of a program of the server; `output` is its standard output and error, interleaved. */
type Outcome = { exitCode: number | null; output: string };

/**
 * The account that PostgreSQL runs as: the account of this process, or another one under root, since PostgreSQL refuses to run as
 * root.
 */
export type ServerAccount = {
  /** Runs a program as the account, in its own process group (no Ctrl-C). Does not throw if the program fails. */
  run(file: string, args: string[], place?: Place): Promise<Outcome>;
  /** Makes the account the owner of a path that this process created. */
  own(path: string): Promise<void>;
};

/** The working directory (default /) and PGDATA of a program. */
type Place = { directory?: string; cluster?: string };

type Identity = { uid: number; gid: number };

/** Users that run the server under root; the first that exists is used. */
const USERS = ['postgres', 'nobody'];

/**
 * Capabilities that let the server's account pass directories it cannot search (a clone in `mktemp -d`, or below /root). The server
 * process keeps one of them: the weaker if it is allowed, which is rare in containers. With no_setuid_fixup, access(2), which
 * PostgreSQL calls for its own program, honours the capability too.
 */
const CAPABILITIES = ['dac_read_search', 'dac_override'];

/**
 * Chooses the account for the server whose files are in `directory`, and checks that it can access the directory and the program.
 * If `cluster` exists, its owner is the account. Throws `configuration` if no account can run the server here.
 */
export async function chooseAccount(
  directory: string,
  cluster: string,
  postgres: string,
): Promise<ServerAccount> {
  const uid = process.getuid?.();
  const owner = await stat(cluster).catch(() => undefined);
  if (uid !== 0) {
    if (uid !== undefined && owner && owner.uid !== uid) throw ownedByAnother(cluster, owner.uid, uid);
    return { run: (file, args, place) => runProgram(file, args, place), own: async () => {} };
  }
  const identity = owner?.uid ? { uid: owner.uid, gid: owner.gid } : await findUser();
  return asUser(identity, directory, postgres);
}

async function asUser(identity: Identity, directory: string, postgres: string): Promise<ServerAccount> {
  const own = (path: string) => chown(path, identity.uid, identity.gid);
  const runners = [
    (file: string, args: string[], place?: Place) => runProgram(file, args, place, identity),
    ...CAPABILITIES.map((capability) => (file: string, args: string[], place?: Place) => {
      return runProgram('setpriv', [...privileges(identity, capability), file, ...args], place);
    }),
  ];
  let refusal = '';
  for (const run of runners) {
    const probe = await run('sh', ['-c', 'cd -- "$0" && exec "$1" --version', directory, postgres]);
    if (probe.exitCode === 0) return { run, own };
    refusal ||= probe.output.trim();
  }
  throw new ExportError(
    'configuration',
    `PostgreSQL does not run as root, and user id ${identity.uid}, which would run it, cannot reach ${directory} ` +
      `or ${postgres}: ${refusal}. Move both out of directories closed to other users (EMBEDDED_POSTGRES_DIR moves ` +
      'the data), install setpriv (util-linux), run this program as another user than root, or set DATABASE_URL.',
  );
}

function privileges({ uid, gid }: Identity, capability: string): string[] {
  return [
    `--reuid=${uid}`,
    `--regid=${gid}`,
    '--clear-groups',
    `--inh-caps=+${capability}`,
    `--ambient-caps=+${capability}`,
    '--securebits=+no_setuid_fixup',
  ];
}

/** Finds an existing account; this program creates none. */
async function findUser(): Promise<Identity> {
  for (const name of USERS) {
    const user = await lookUpUser(name);
    if (user) return user;
  }
  throw new ExportError(
    'configuration',
    `PostgreSQL does not run as root, and there is no user ${USERS.map((name) => `"${name}"`).join(' or ')} to run it. ` +
      `Create one ("useradd --system ${USERS[0]}"), run this program as another user than root, or set DATABASE_URL.`,
  );
}

async function lookUpUser(name: string): Promise<Identity | undefined> {
  const id = promisify(execFile);
  try {
    const [uid, gid] = await Promise.all([id('id', ['-u', name]), id('id', ['-g', name])]);
    return { uid: Number(uid.stdout), gid: Number(gid.stdout) };
  } catch {
    return undefined;
  }
}

function ownedByAnother(cluster: string, owner: number, uid: number): ExportError {
  return new ExportError(
    'configuration',
    `The database files in ${cluster} belong to user id ${owner}, and this is user id ${uid}. Run as their owner or ` +
      'as root, choose another directory with EMBEDDED_POSTGRES_DIR, or set DATABASE_URL.',
  );
}

function runProgram(
  file: string,
  args: string[],
  place: Place = {},
  identity: Partial<Identity> = {},
): Promise<Outcome> {
  return new Promise((resolve) => {
    const child = spawn(file, args, {
      cwd: place.directory ?? '/',
      // The server must not inherit PGPORT, PGDATA or LC_ALL.
      env: {
        PATH: `${process.env.PATH ?? ''}:/usr/sbin:/usr/bin:/sbin:/bin`,
        LC_ALL: 'C',
        TZ: 'UTC',
        PGDATA: place.cluster,
      },
      // Its own process group: Ctrl-C goes to the terminal's foreground group.
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe'],
      ...identity,
    });
    let output = '';
    child.stdout.setEncoding('utf8').on('data', (text) => {
      output += text;
    });
    child.stderr.setEncoding('utf8').on('data', (text) => {
      output += text;
    });
    child.on('error', (error) => resolve({ exitCode: null, output: error.message }));
    child.on('close', (exitCode) => resolve({ exitCode, output }));
  });
}
