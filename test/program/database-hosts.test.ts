/** The real program and every way to name a server: sockets, IPv6, several hosts, variables, password files, a standby. */
import { chmodSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { createSimulator, type Simulator } from '../../src/simulator/simulator.ts';
import { environmentFor, logLines, runProgram } from '../support/program.ts';
import { createDatabaseProxy } from '../support/proxy.ts';
import { hasIpv6, startTlsServer, type TlsServer } from '../support/tls-server.ts';

let server: TlsServer;
let standby: TlsServer;
let simulator: Simulator;
let port: string;
let password: string;
let standbyPort: string;

beforeAll(async () => {
  [server, standby] = await Promise.all([startTlsServer(), startTlsServer()]);
  simulator = await createSimulator({ events: 20 });
  // Both have the tables and the same password.
  ({ port, password } = new URL(server.url));
  for (const one of [server, standby]) {
    expect((await run(['migrate'], one.url)).code).toBe(0);
    await one.query(`create role worker login superuser password '${password}'`);
  }
  await standby.becomeStandby();
  standbyPort = new URL(standby.url).port;
});
afterAll(async () => {
  await simulator.close();
  await Promise.all([server.stop(), standby.stop()]);
});

const run = (args: string[], url: string, variables: Record<string, string> = {}) =>
  runProgram(args, { ...environmentFor(simulator, url), ...variables });

/** Exit code, and the line of the database with its mark. */
async function check(
  url: string,
  variables: Record<string, string> = {},
): Promise<[number | string, string]> {
  const { code, stdout, stderr } = await run(['check'], url, variables);
  const others = logLines(stderr).filter(({ msg }) => !/^\d of 8 checks failed: [a-z, ]+\.$/.test(`${msg}`));
  expect(others).toEqual([]);
  expect(stdout).not.toContain(password);
  return [code, /^. database[\s\S]*?(?=\n. migrations)/m.exec(stdout)![0].replace(/\n? +/g, ' ')];
}

const CLOSED = 1;

describe('a server can be named', () => {
  test.each<[string, string, Record<string, string>?]>([
    ['by a socket in host=', 'postgres://worker:PASSWORD@/audit?host=SOCKET&port=PORT'],
    [
      'by a socket without a login before the path',
      'postgres:///audit?host=SOCKET&port=PORT&user=worker&password=PASSWORD',
    ],
    ['by an encoded socket', 'postgresql://worker:PASSWORD@ENCODED:PORT/audit'],
    [
      'by a socket with any sslmode',
      'postgres://worker:PASSWORD@/audit?host=SOCKET&port=PORT&sslmode=verify-full',
    ],
    ['by a database in dbname=', 'postgres://worker:PASSWORD@127.0.0.1:PORT/?dbname=audit'],
    [
      'by several hosts, the first of which is closed',
      `postgres://worker:PASSWORD@127.0.0.1:${CLOSED},127.0.0.1:PORT/audit`,
    ],
    ['by several hosts with one port', 'postgres://worker:PASSWORD@127.0.0.2,127.0.0.1/audit?port=PORT'],
    [
      'by several hosts in host=',
      'postgres://worker:PASSWORD@/audit?host=nowhere.invalid,127.0.0.1&port=PORT',
    ],
    [
      'by the variables of libpq',
      'postgres://',
      { PGHOST: '127.0.0.1', PGPORT: 'PORT', PGUSER: 'worker', PGPASSWORD: 'PASSWORD', PGDATABASE: 'audit' },
    ],
    [
      'by a standby first, with target_session_attrs=read-write',
      'postgres://worker:PASSWORD@127.0.0.1:STANDBY,127.0.0.1:PORT/audit?target_session_attrs=read-write',
    ],
    [
      'by a standby first, with PGTARGETSESSIONATTRS',
      'postgres://worker:PASSWORD@127.0.0.1:STANDBY,127.0.0.1:PORT/audit',
      { PGTARGETSESSIONATTRS: 'primary' },
    ],
    ...(hasIpv6
      ? [['by an IPv6 address', 'postgres://worker:PASSWORD@[::1]:PORT/audit'] as [string, string]]
      : []),
  ])('%s', async (_, url, variables = {}) => {
    const fill = (text: string) =>
      text
        .replace('PASSWORD', password)
        .replace('STANDBY', standbyPort)
        .replaceAll('PORT', port)
        .replace('SOCKET', server.socketDirectory)
        .replace('ENCODED', encodeURIComponent(server.socketDirectory));
    const given = Object.fromEntries(Object.entries(variables).map(([name, value]) => [name, fill(value)]));
    const [code, line] = await check(fill(url), given);
    const how = /SOCKET|ENCODED/.test(url)
      ? 'over a Unix socket'
      : 'not encrypted \\(connection within this machine\\)';
    expect([code, line]).toEqual([
      0,
      expect.stringMatching(new RegExp(`^✓ .* database audit as user worker, ${how}$`)),
    ]);
    expect((await run(['run'], fill(url), given)).code).toBe(0);
  });

  test('with any character in a percent-encoded password and database', async () => {
    const strange = 'p@ss/w#rd?%20:+ &="\\é,[';
    await server.query(`create role strange login superuser password '${strange}'`);
    await server.query('create database "a#b/c ü"');
    const url = `postgres://strange:${encodeURIComponent(strange)}@127.0.0.1:${port}/${encodeURIComponent('a#b/c ü')}`;
    const [code, line] = await check(url);
    expect([code, line]).toEqual([0, expect.stringContaining('database a#b/c ü as user strange')]);
    const { stdout, stderr } = await run(['check'], url.replace(String(port), String(CLOSED)), {
      LOG_LEVEL: 'trace',
    });
    expect(stdout + stderr).not.toContain('p@ss');
    expect(stdout + stderr).not.toContain(encodeURIComponent(strange));
  });

  test('with its password in the password file of libpq', async () => {
    const file = join(server.directory, 'pass');
    writeFileSync(
      file,
      `# comment\nother:*:*:*:wrong\n127.0.0.1:${port}:audit:worker:${password.replace(/[\\:]/g, '\\$&')}\n`,
    );
    chmodSync(file, 0o600);
    const url = `postgres://worker@127.0.0.1:${port}/audit`;
    expect(await check(url, { PGPASSFILE: file })).toEqual([0, expect.stringMatching(/^✓ /)]);
    expect(await check(`${url}?passfile=${file}`)).toEqual([0, expect.stringMatching(/^✓ /)]);
    chmodSync(file, 0o644);
    const [code, line] = await check(url, { PGPASSFILE: file });
    expect([code, line]).toEqual([
      2,
      expect.stringMatching(
        /requires a password, and none is set: .* The password file .* is not used, because other users may read it: chmod 600/,
      ),
    ]);
  });
});

describe('an unusable host', () => {
  test('names every host when none responds, and is temporary', async () => {
    const [code, line] = await check(`postgres://worker:x@127.0.0.1:${CLOSED},nowhere.invalid:5432/audit`);
    expect([code, line]).toEqual([
      75,
      expect.stringMatching(
        /No host of DATABASE_URL can be used: 127\.0\.0\.1:1: connect ECONNREFUSED .*; nowhere\.invalid:5432: getaddrinfo/,
      ),
    ]);
  });

  test('with a wrong password ends the search, as in libpq', async () => {
    const [code, line] = await check(
      `postgres://worker:wrong-password@127.0.0.1:${port},127.0.0.1:${standbyPort}/audit`,
    );
    expect([code, line]).toEqual([
      2,
      expect.stringContaining('(28P01). Check user and password in DATABASE_URL.'),
    ]);
  });

  test.each([
    [
      'read-write',
      /127\.0\.0\.1:\d+.*The server is a standby, and target_session_attrs=read-write excludes it|^✗ database The server is a standby/,
    ],
    ['primary', /The server is a standby, and target_session_attrs=primary excludes it/],
  ])('with target_session_attrs=%s is a temporary problem', async (wanted, expected) => {
    const [code, line] = await check(
      `postgres://worker:${password}@127.0.0.1:${standbyPort}/audit?target_session_attrs=${wanted}`,
    );
    expect([code, line]).toEqual([75, expect.stringMatching(expected)]);
  });

  test('that is no PostgreSQL is a mistake of the URL', async () => {
    const other = createServer((_, response) => response.end());
    await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve));
    try {
      const url = `postgres://worker:x@127.0.0.1:${(other.address() as AddressInfo).port}/audit`;
      for (const query of ['', '?sslmode=require'])
        expect(await check(url + query)).toEqual([
          2,
          expect.stringMatching(
            /did not respond to the request for TLS as PostgreSQL does\. Check host and port in DATABASE_URL/,
          ),
        ]);
    } finally {
      await new Promise((resolve) => other.close(resolve));
    }
  });

  test('that fails later is left for the next one', async () => {
    const proxy = await createDatabaseProxy(server.url);
    const url = `postgres://worker:${password}@127.0.0.1:${new URL(proxy.url).port},127.0.0.1:${port}/audit`;
    try {
      expect((await run(['run'], url)).code).toBe(0);
      expect(proxy.connections).toBeGreaterThan(0);
      await proxy.stop();
      expect((await run(['run'], url)).code).toBe(0);
    } finally {
      await proxy.close().catch(() => {});
    }
  });
});

describe('a standby', () => {
  test('is named by check, which fails; status and verify --offline work', async () => {
    const url = `postgres://worker:${password}@127.0.0.1:${standbyPort}/audit`;
    const { code, stdout } = await run(['check'], url);
    expect([code, stdout]).toEqual([
      2,
      expect.stringMatching(
        /^! database .*\n +The server is a standby, which is read-only: .*Name the primary server/m,
      ),
    ]);
    expect(stdout).toMatch(/^✗ writing +The database is read-only: it is a standby/m);
    expect((await run(['status'], url)).code).toBe(0);
    expect((await run(['verify', '--offline'], url)).code).toBe(0);
  });
});

describe('a form that this program does not know', () => {
  test.each([
    [
      'jdbc:postgresql://localhost/audit?user=a&password=s3cret-text',
      'A JDBC URL has another form: write postgres://user',
    ],
    ['postgresql+psycopg2://a:s3cret-text@localhost/audit', 'Remove the name of the driver'],
    [
      'socket:/var/run/postgresql?db=audit',
      'For a Unix socket write postgres://user:password@/database?host=/directory',
    ],
    [
      '/var/run/postgresql audit',
      'For a Unix socket write postgres://user:password@/database?host=/directory',
    ],
    ['host=localhost dbname=audit password=s3cret-text', 'It is a list of keywords: write postgres://user'],
    ['service=audit', 'It is a list of keywords: write postgres://user'],
    ['mysql://a:s3cret-text@localhost/audit', 'expected postgres://user:password@host:5432/database'],
    ['postgres://a:s3cret/text@localhost/audit', '/ as %2F'],
    ['postgres://a:s3cret#text@localhost/audit', '# as %23'],
    ['postgres://a:s3cret?text@localhost/audit', 'percent-encoded'],
    ['postgres://a:1?s3cret-text@localhost/audit', 'percent-encoded'],
    ['postgres://a:s3cret%zz@localhost/audit', '% as %25'],
    ['postgres://localhost:70000/audit', 'expected postgres://'],
    ['postgres://localhost:port/audit', 'expected postgres://'],
    ['postgres://h1:1,h2:2,h3:3/audit?port=1,2', 'DATABASE_URL has 3 hosts and 2 ports'],
  ])('%s', async (url, message) => {
    const { code, stdout, stderr } = await run(['status'], url);
    expect([code, stderr]).toEqual([2, expect.stringContaining(message)]);
    expect(stdout + stderr).not.toMatch(/s3cret|Warning/);
  });
});

test('a user or a database with too few connections is a warning', async () => {
  await server.query(`create role few login password 'few-text' connection limit 3 in role audit_writer`);
  const url = `postgres://few:few-text@127.0.0.1:${port}/audit`;
  expect(await check(url)).toEqual([
    0,
    expect.stringMatching(
      /^! .* The user may open 3 connections; the worker needs 4\. Raise its connection limit\.$/,
    ),
  ]);
  await server.query('alter role few connection limit 0');
  expect(await check(url)).toEqual([
    75,
    expect.stringMatching(/\(53300\)\. All connections of the server, the database or the user are in use/),
  ]);
});

describe('a server that may lose commits', () => {
  test.each([
    [
      'on the server',
      'alter system set synchronous_commit = off',
      'alter system reset synchronous_commit',
      /synchronous_commit=off on the server: a crash may undo/,
    ],
    [
      'for the user',
      'alter role worker set synchronous_commit = off',
      'alter role worker reset synchronous_commit',
      /synchronous_commit=off for this user/,
    ],
    [
      'for the database',
      'alter database audit set synchronous_commit = off',
      'alter database audit reset synchronous_commit',
      /synchronous_commit=off for this database/,
    ],
    [
      'in general',
      'alter system set fsync = off',
      'alter system reset fsync',
      /fsync=off on the server: a crash of its machine may destroy the whole database\. Set it to on\./,
    ],
    [
      'by pages',
      'alter system set full_page_writes = off',
      'alter system reset full_page_writes',
      /full_page_writes=off on the server/,
    ],
  ])('%s is a warning', async (_, set, reset, expected) => {
    await server.query(set);
    await server.query('select pg_reload_conf()');
    try {
      // The server reloads its settings a moment later.
      let found: [number | string, string];
      do found = await check(`postgres://worker:${password}@127.0.0.1:${port}/audit`);
      while (found[1].startsWith('✓'));
      expect(found).toEqual([0, expect.stringMatching(expected)]);
    } finally {
      await server.query(reset);
      await server.query('select pg_reload_conf()');
    }
  });
});
