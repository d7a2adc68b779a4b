import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import {
  chmod,
  chown,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  readlink,
  rm,
  stat,
  writeFile,
} from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import pg from 'pg';
import { createLibraryLinks } from '../../src/embedded-postgres/binaries.ts';
import {
  acquireEmbeddedPostgres,
  type EmbeddedOptions,
} from '../../src/embedded-postgres/embedded-postgres.ts';
import { findPostmaster } from '../../src/embedded-postgres/server.ts';

const BUILT = resolve('dist/embedded-postgres/embedded-postgres.js');
const SETTINGS = { fsync: 'off' };
const IS_ROOT = process.getuid?.() === 0;
const NOBODY = 65534;

/** Acquires the server, prints its address, and releases it when standard input ends. */
const HOLDER = `
  const { acquireEmbeddedPostgres } = await import(process.argv[1]);
  const server = await acquireEmbeddedPostgres(JSON.parse(process.argv[2]));
  console.log(server.connectionString);
  for await (const _ of process.stdin);
  await server.release();
`;

type Holder = { process: ChildProcess; connectionString: Promise<string>; release(): Promise<void> };

const holders: Holder[] = [];
const places = new Set<string>();
let root: string;
let directory: string;
let cluster: string;

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'audit-embedded-'));
  directory = join(root, 'postgres');
  cluster = join(directory, 'cluster');
});

afterEach(async () => {
  for (const holder of holders.splice(0)) holder.process.kill('SIGKILL');
  for (const place of places) await endServer(place);
  places.clear();
});

afterAll(() => rm(root, { recursive: true, force: true }));

describe('the embedded PostgreSQL', () => {
  test('two processes that start together share one server, and the last to leave stops it', async () => {
    const [first, second] = [startHolder(), startHolder()];
    const [one, two] = await Promise.all([first.connectionString, second.connectionString]);
    expect(one).toBe(two);

    await first.release();
    expect(await query(two, 'select current_database() as name')).toEqual([{ name: 'audit' }]);
    await second.release();
    expect(await findPostmaster(cluster)).toBeUndefined();
  });

  test('two processes that leave together stop the server', async () => {
    const pair = [startHolder(), startHolder()];
    await Promise.all(pair.map((holder) => holder.connectionString));
    await Promise.all(pair.map((holder) => holder.release()));
    expect(await findPostmaster(cluster)).toBeUndefined();
  });

  test('it uses UTF-8 and UTC, requires a password, and listens on the loopback only', async () => {
    const { connectionString } = startHolder();
    const settings = await query(
      await connectionString,
      `select name, setting from pg_settings where name in ('server_encoding', 'TimeZone', 'listen_addresses',
         'unix_socket_directories', 'password_encryption') order by name collate "C"`,
    );
    expect(settings).toEqual([
      { name: 'TimeZone', setting: 'UTC' },
      { name: 'listen_addresses', setting: '127.0.0.1' },
      { name: 'password_encryption', setting: 'scram-sha-256' },
      { name: 'server_encoding', setting: 'UTF8' },
      { name: 'unix_socket_directories', setting: '' },
    ]);
    const wrong = new URL(await connectionString);
    wrong.password = 'wrong';
    await expect(query(wrong.href, 'select 1')).rejects.toMatchObject({ code: '28P01' });
    expect((await stat(join(directory, 'password'))).mode & 0o777).toBe(0o600);
  });

  test('Ctrl-C on the command does not reach the server', async () => {
    const holder = startHolder();
    await holder.connectionString;
    const { pid } = (await findPostmaster(cluster))!;
    expect(await sessionOf(pid)).not.toBe(await sessionOf(process.pid));
  });

  test('data and port are kept between runs', async () => {
    const options = { port: await freePort() };
    const first = startHolder(options);
    await query(await first.connectionString, 'create table kept as select 42 as answer');
    await first.release();
    const second = startHolder(options);
    expect(await query(await second.connectionString, 'select * from kept')).toEqual([{ answer: 42 }]);
    expect(await second.connectionString).toBe(await first.connectionString);
  });

  test('it uses another port if the preferred one is taken', async () => {
    const port = await freePort();
    const taken = createServer().listen(port, '127.0.0.1');
    try {
      const url = new URL(await startHolder({ port }).connectionString);
      expect(Number(url.port)).not.toBe(port);
    } finally {
      taken.close();
    }
  });

  test('a psql session does not keep it running', async () => {
    const holder = startHolder();
    const psql = new pg.Client({ connectionString: await holder.connectionString });
    psql.on('error', () => {});
    await psql.connect();
    await holder.release();
    expect(await findPostmaster(cluster)).toBeUndefined();
  });

  test('after kill -9 of a command the next one uses its server and stops it at the end', async () => {
    const killed = startHolder();
    await killed.connectionString;
    killed.process.kill('SIGKILL');
    await once(killed.process, 'exit');
    const left = await findPostmaster(cluster);
    expect(left).toBeDefined();

    const next = startHolder();
    expect(await next.connectionString).toBe(await killed.connectionString);
    expect(await findPostmaster(cluster)).toEqual(left);
    await next.release();
    expect(await findPostmaster(cluster)).toBeUndefined();
  });

  test('after kill -9 of the server it is restarted for the command that holds the lease, with its data', async () => {
    const holder = startHolder();
    const url = await holder.connectionString;
    await query(url, 'create table survived as select 1 as one');
    const before = await killServer();
    const rows = await eventually(() => query(url, 'select * from survived'));
    expect(rows).toEqual([{ one: 1 }]);
    expect((await findPostmaster(cluster))!.pid).not.toBe(before);
    await holder.release();
    expect(await findPostmaster(cluster)).toBeUndefined();
  });

  test('it starts after a power cut, even if its old process id belongs to another process', async () => {
    const holder = startHolder();
    await holder.connectionString;
    const pidFile = join(cluster, 'postmaster.pid');
    const [, ...rest] = (await readFile(pidFile, 'utf8')).split('\n');
    holder.process.kill('SIGKILL');
    await killServer();
    // A process of the server's user: PostgreSQL itself ignores those of others.
    const { uid } = await stat(cluster);
    const bystander = spawn('sleep', ['60'], IS_ROOT ? { uid, cwd: '/' } : {});
    try {
      await writeFile(pidFile, [bystander.pid, ...rest].join('\n'));
      const url = await startHolder().connectionString;
      expect(await query(url, 'select 1 as one')).toEqual([{ one: 1 }]);
    } finally {
      bystander.kill();
    }
  });

  test("the directory's name may contain special characters of the shell", async () => {
    const holder = startHolder({ directory: join(root, `a $HOME "b" 'c' \`d\``) });
    expect(await query(await holder.connectionString, 'select 1 as one')).toEqual([{ one: 1 }]);
    await holder.release();
  });

  test('a killed initialisation is repeated', async () => {
    const place = join(root, 'half');
    const killed = startHolder({ directory: place });
    await eventually(async () => {
      const names = await readdir(place);
      if (!names.some((name) => name.startsWith('cluster.new-'))) throw new Error('not yet');
    });
    killed.process.kill('SIGKILL');
    expect(existsSync(join(place, 'cluster'))).toBe(false);

    const next = startHolder({ directory: place });
    expect(await query(await next.connectionString, 'select 1 as one')).toEqual([{ one: 1 }]);
    expect((await readdir(place)).sort()).toEqual(['cluster', 'log', 'password']);
    await next.release();
  });
});

describe('if it cannot run, the error says why and what to do', () => {
  test('another major version wrote the data', async () => {
    const place = await madeDirectory('major', { 'cluster/PG_VERSION': '12\n' });
    await expect(acquireEmbeddedPostgres({ directory: place })).rejects.toMatchObject({
      code: 'configuration',
      message: expect.stringMatching(/written by PostgreSQL 12, and the installed one is \d+.*pg_dump/s),
    });
  });

  test('the directory is a file', async () => {
    const place = join(await madeDirectory('file', { data: '' }), 'data');
    await expect(acquireEmbeddedPostgres({ directory: place })).rejects.toMatchObject({
      code: 'configuration',
      message: expect.stringContaining(`cannot use ${place}`),
    });
  });

  test('the server refuses to start', async () => {
    const options = { directory, port: 0, settings: { shared_buffers: 'much' } };
    await startHolder().release();
    await expect(acquireEmbeddedPostgres(options)).rejects.toMatchObject({
      code: 'configuration',
      message: expect.stringMatching(/server\.log.*invalid value for parameter "shared_buffers"/s),
    });
  });
});

test('missing library links of an installation without scripts are created', async () => {
  const links = [{ source: 'native/lib/libpq.so.5.18', target: 'native/lib/libpq.so.5' }];
  const place = await madeDirectory('package', {
    'native/pg-symlinks.json': JSON.stringify(links),
    'native/lib/libpq.so.5.18': '',
  });
  await createLibraryLinks(place);
  await createLibraryLinks(place);
  expect(await readlink(join(place, 'native/lib/libpq.so.5'))).toBe('libpq.so.5.18');
});

(IS_ROOT ? describe : describe.skip)('under root', () => {
  test('the server runs as another user, even in a directory that is closed to it', async () => {
    expect((await stat(root)).mode & 0o777).toBe(0o700);
    await startHolder().connectionString;
    expect((await stat(`/proc/${(await findPostmaster(cluster))!.pid}`)).uid).not.toBe(0);
  });

  test('no account is created: without a user postgres the server runs as nobody', async () => {
    const marker = join(root, 'created');
    const create = `#!/bin/sh\necho created > ${marker}\n`;
    const tools = await madeDirectory('tools', {
      id: '#!/bin/sh\ncase "$*" in *postgres*) exit 1;; esac\nPATH=/usr/bin:/bin exec id "$@"\n',
      useradd: create,
      adduser: create,
    });
    for (const name of ['id', 'useradd', 'adduser']) await chmod(join(tools, name), 0o755);
    const place = join(root, 'as-nobody');
    const holder = startHolder({ directory: place }, undefined, { PATH: `${tools}:${process.env.PATH}` });
    await holder.connectionString;
    const { pid } = (await findPostmaster(join(place, 'cluster')))!;
    expect((await stat(`/proc/${pid}`)).uid).toBe(NOBODY);
    expect(existsSync(marker)).toBe(false);
    await holder.release();
  });

  // In a directory that only root can access, such as one of mktemp, another user could not read the program.
  const isReadable = isReadableBy(NOBODY);
  if (!isReadable) console.warn(`skipped: user ${NOBODY} cannot read ${BUILT}`);
  (isReadable ? test : test.skip)('another user than root needs no privileges', async () => {
    const place = await mkdtemp(join(tmpdir(), 'audit-embedded-nobody-'));
    await chown(place, NOBODY, NOBODY);
    const holder = startHolder({ directory: place }, NOBODY);
    try {
      expect(await query(await holder.connectionString, 'select 1 as one')).toEqual([{ one: 1 }]);
      await holder.release();
    } finally {
      await rm(place, { recursive: true, force: true });
    }
  });
});

function isReadableBy(uid: number): boolean {
  const reading = "import('node:fs').then((fs) => fs.accessSync(process.argv[1]))";
  return spawnSync(process.execPath, ['--eval', reading, BUILT], { uid, gid: uid, cwd: '/' }).status === 0;
}

function startHolder(
  options: Partial<EmbeddedOptions> = {},
  uid?: number,
  environment: Record<string, string> = {},
): Holder {
  const complete = { directory, port: 0, settings: SETTINGS, ...options };
  const input = JSON.stringify(complete);
  places.add(complete.directory);
  const child = spawn(process.execPath, ['--input-type=module', '--eval', HOLDER, BUILT, input], {
    stdio: ['pipe', 'pipe', 'inherit'],
    cwd: '/',
    env: { ...process.env, ...environment },
    ...(uid === undefined ? {} : { uid, gid: uid }),
  });
  const exited = once(child, 'exit');
  const lines = createInterface({ input: child.stdout! });
  const connectionString = Promise.race([
    once(lines, 'line').then(([line]) => line as string),
    exited.then(([code]) =>
      Promise.reject(new Error(`the holder ended with ${code} before it had a server`)),
    ),
  ]);
  // A test that kills a holder does not wait for its output.
  connectionString.catch(() => {});
  const holder = {
    process: child,
    connectionString,
    release: async () => {
      await connectionString;
      child.stdin!.end();
      expect(await exited).toEqual([0, null]);
    },
  };
  holders.push(holder);
  return holder;
}

async function query(url: string, sql: string): Promise<unknown[]> {
  const client = new pg.Client({ connectionString: url });
  client.on('error', () => {});
  await client.connect();
  try {
    return (await client.query(sql)).rows;
  } finally {
    await client.end();
  }
}

async function eventually<Result>(attempt: () => Promise<Result>): Promise<Result> {
  for (const deadline = performance.now() + 30_000; ; await sleep(20)) {
    try {
      return await attempt();
    } catch (error) {
      if (performance.now() > deadline) throw error;
    }
  }
}

async function killServer(): Promise<number> {
  const { pid } = (await findPostmaster(cluster))!;
  process.kill(pid, 'SIGKILL');
  await eventually(async () => {
    const now = await findPostmaster(cluster);
    if (now?.pid === pid) throw new Error('not yet gone');
  });
  return pid;
}

/** Stops processes that a killed holder or a failed test left running. */
async function endServer(place: string): Promise<void> {
  if (!(await findPostmaster(join(place, 'cluster')).catch(() => undefined))) return;
  const server = await acquireEmbeddedPostgres({ directory: place, port: 0, settings: SETTINGS });
  await server.release();
}

async function madeDirectory(name: string, files: Record<string, string>): Promise<string> {
  const place = join(root, name);
  for (const [path, text] of Object.entries(files)) {
    await mkdir(join(place, path, '..'), { recursive: true });
    await writeFile(join(place, path), text);
  }
  return place;
}

/** A port below the ephemeral range, so that no connection takes it before the server does. */
async function freePort(): Promise<number> {
  for (let port = 20_000 + Math.floor(Math.random() * 10_000); ; port++) {
    const server = createServer().listen(port, '127.0.0.1');
    const isFree = await once(server, 'listening').then(
      () => true,
      () => false,
    );
    server.close();
    if (isFree) return port;
  }
}

/** The terminal session of a process: the sixth field of its stat. */
async function sessionOf(pid: number): Promise<number> {
  const text = await readFile(`/proc/${pid}/stat`, 'utf8');
  return Number(text.slice(text.lastIndexOf(')') + 2).split(' ')[3]);
}
