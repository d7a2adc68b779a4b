/** A PostgreSQL of one test file, whose TLS, access rules, settings and role as a standby the test changes while it runs. */
import {
  chmodSync,
  chownSync,
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { networkInterfaces, tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import type { Pair } from './authority.ts';

export interface TlsServer {
  /** A directory for the files of the test; removed with the server. */
  directory: string;
  /** Connects as superuser to 127.0.0.1, without TLS. */
  url: string;
  /** The directory of its Unix socket. */
  socketDirectory: string;
  query(sql: string): Promise<pg.QueryResult>;
  /** Serves TLS with this certificate; `undefined`: no TLS. `clientAuthority`: whose client certificates are accepted. */
  serve(pair: Pair | undefined, clientAuthority?: string): Promise<void>;
  /** Replaces pg_hba.conf; `undefined`: as it was. */
  allow(rules: string | undefined): Promise<void>;
  /** Restarts it as a standby, which is read-only. Its port and `url` change. */
  becomeStandby(): Promise<void>;
  stop(): Promise<void>;
}

/** An address of this machine that is not the loopback; `undefined` if it has none. */
export const outerAddress = Object.values(networkInterfaces())
  .flat()
  .find((address) => address?.family === 'IPv4' && !address.internal)?.address;

export const hasIpv6 = Object.values(networkInterfaces())
  .flat()
  .some((address) => address?.address === '::1');

export async function startTlsServer(): Promise<TlsServer> {
  const directory = mkdtempSync(join(tmpdir(), 'audit-tls-'));
  chmodSync(directory, 0o755);
  const socketDirectory = join(directory, 'socket');
  mkdirSync(socketDirectory);
  chmodSync(socketDirectory, 0o777);
  // A variable, because dist is not there to be checked.
  const path = '../../dist/embedded-postgres/embedded-postgres.js';
  const { acquireEmbeddedPostgres } = (await import(
    path
  )) as typeof import('../../src/embedded-postgres/embedded-postgres.ts');
  const data = join(directory, 'data');
  const start = () =>
    acquireEmbeddedPostgres({
      directory: data,
      port: 0,
      settings: {
        listen_addresses: ['127.0.0.1', outerAddress, hasIpv6 && '::1'].filter(Boolean).join(','),
        unix_socket_directories: socketDirectory,
        unix_socket_permissions: '0777',
      },
    });
  let server = await start();
  const cluster = join(data, 'cluster');
  const owner = statSync(cluster);
  const rulesFile = join(cluster, 'pg_hba.conf');
  const password = readFileSync(join(data, 'password'), 'utf8').trim();
  const usual = `local all all scram-sha-256\nhost all all all scram-sha-256\n`;
  const query = async (sql: string) => {
    // The socket: no rule of a test excludes it.
    const client = new pg.Client({
      host: socketDirectory,
      port: Number(new URL(server.connectionString).port),
      user: 'postgres',
      password,
      database: 'postgres',
    });
    await client.connect();
    try {
      return await client.query(sql);
    } finally {
      await client.end();
    }
  };
  const reload = async () => {
    const { rows } = await query(`select pg_conf_load_time()::text as loaded, pg_reload_conf()`);
    for (;;) {
      const { rows: now } = await query('select pg_conf_load_time()::text as loaded');
      if (now[0].loaded !== rows[0].loaded) return;
      await sleep(20);
    }
  };
  const own = (path: string) => {
    if (process.getuid?.() === 0) chownSync(path, owner.uid, owner.gid);
  };
  const install = (from: string, name: string) => {
    const to = join(cluster, name);
    copyFileSync(from, to);
    chmodSync(to, 0o600);
    own(to);
  };
  const allow = async (rules: string | undefined) => {
    writeFileSync(rulesFile, rules === undefined ? usual : `local all all scram-sha-256\n${rules}\n`);
    await reload();
  };
  await allow(undefined);
  return {
    directory,
    get url() {
      return server.connectionString;
    },
    socketDirectory,
    query,
    async serve(pair, clientAuthority) {
      if (pair) {
        install(pair.cert, 'server.crt');
        install(pair.key, 'server.key');
      }
      if (clientAuthority) install(clientAuthority, 'root.crt');
      await query(`alter system set ssl = ${pair ? 'on' : 'off'}`);
      await query(`alter system set ssl_ca_file = '${clientAuthority ? 'root.crt' : ''}'`);
      await reload();
    },
    allow,
    async becomeStandby() {
      await server.release();
      writeFileSync(join(cluster, 'standby.signal'), '');
      own(join(cluster, 'standby.signal'));
      server = await start();
    },
    async stop() {
      await server.release();
      rmSync(directory, { recursive: true, force: true });
    },
  };
}
