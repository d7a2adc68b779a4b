import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import pg from 'pg';
import { createSimulator, type Simulator } from '../../../src/simulator/simulator.ts';
import { createTestDatabase, type TestDatabase } from '../../support/database.ts';
import { environmentFor, runProgram } from '../../support/program.ts';

const hasPgBouncer = spawnSync('pgbouncer', ['--version']).status === 0;
if (!hasPgBouncer) console.log('pgbouncer is not installed (Debian: pgbouncer): its modes are not tried.');

let database: TestDatabase;
let simulator: Simulator;
const open: { child: ChildProcess; directory: string }[] = [];

beforeAll(async () => {
  database = await createTestDatabase();
  simulator = await createSimulator({ events: 50 });
});
afterAll(async () => {
  for (const { child, directory } of open) {
    child.kill('SIGINT');
    if (child.exitCode === null) await once(child, 'exit');
    rmSync(directory, { recursive: true });
  }
  await simulator.close();
  await database.drop();
});

/** The test database's URL through a PgBouncer of this mode. */
async function startPgBouncer(mode: 'session' | 'transaction'): Promise<string> {
  const { hostname, port, username, password } = new URL(database.url);
  const directory = mkdtempSync(join(tmpdir(), 'audit-pgbouncer-'));
  const free = net.createServer().listen(0, '127.0.0.1');
  await once(free, 'listening');
  const listenPort = (free.address() as net.AddressInfo).port;
  await new Promise((resolve) => free.close(resolve));
  const users = join(directory, 'users');
  writeFileSync(users, `"${decodeURIComponent(username)}" "${decodeURIComponent(password)}"\n`);
  writeFileSync(
    join(directory, 'pgbouncer.ini'),
    `[databases]\n* = host=${hostname} port=${port}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = ${listenPort}\n` +
      `unix_socket_dir =\nauth_type = trust\nauth_file = ${users}\npool_mode = ${mode}\n`,
  );
  // It does not run as root, and its user must be able to read these files.
  for (const name of [directory, users, join(directory, 'pgbouncer.ini')]) chmodSync(name, 0o755);
  const user = process.getuid?.() === 0 ? ['-u', 'nobody'] : [];
  const child = spawn('pgbouncer', [...user, join(directory, 'pgbouncer.ini')], { stdio: 'ignore' });
  open.push({ child, directory });
  const url = new URL(database.url);
  url.host = `127.0.0.1:${listenPort}`;
  for (;;) {
    const client = new pg.Client({ connectionString: url.href });
    try {
      await client.connect();
      await client.end();
      return url.href;
    } catch (error) {
      if (child.exitCode !== null) throw error;
      await sleep(50);
    }
  }
}

(hasPgBouncer ? describe : describe.skip)('through PgBouncer', () => {
  test('in transaction mode nothing is exported, and the error says why', async () => {
    const url = await startPgBouncer('transaction');
    const { code, stderr } = await runProgram(['run'], environmentFor(simulator, url));
    expect([code, stderr]).toEqual([2, expect.stringContaining('pool_mode=session')]);
  });

  test('in session mode the export works as without a pooler', async () => {
    const url = await startPgBouncer('session');
    for (const expected of ['50 new events', '0 new events']) {
      const { code, stdout } = await runProgram(['run'], environmentFor(simulator, url));
      expect([code, stdout]).toEqual([0, expect.stringContaining(expected)]);
    }
  });
});
