/**
 * sslmode × sslrootcert × the server's certificate, against a real PostgreSQL. Where psql is installed, each combination is also compared
 * with libpq itself.
 */
import { execFile, spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { createPool } from '../../../src/postgres/connection/pool.ts';
import { readServer } from '../../../src/postgres/connection/server.ts';
import { type Authority, createAuthority, LONG_AGO, type Pair } from '../../support/authority.ts';
import { machineEnvironment } from '../../support/program.ts';
import { startTlsServer, type TlsServer } from '../../support/tls-server.ts';

const MODES = [
  undefined,
  'disable',
  'allow',
  'prefer',
  'require',
  'verify-ca',
  'verify-full',
  'no-verify',
  'foo',
  'REQUIRE',
];
const ROOTS = [undefined, 'right', 'wrong', 'missing', 'garbage', 'key', 'der', 'empty', 'system'] as const;
const SERVERS = ['good', 'other-host', 'expired', 'plain'] as const;
type Root = (typeof ROOTS)[number];
type Served = (typeof SERVERS)[number];

let server: TlsServer;
let right: Authority;
let wrong: Authority;
let files: Record<string, string>;
let pairs: Record<string, Pair | undefined>;

beforeAll(async () => {
  server = await startTlsServer();
  right = createAuthority(server.directory, 'right');
  wrong = createAuthority(server.directory, 'wrong');
  const local = 'DNS:localhost,IP:127.0.0.1';
  pairs = {
    good: right.issue('good', { names: local }),
    'other-host': right.issue('other', { names: 'DNS:db.example.com,DNS:db' }),
    expired: right.issue('expired', { names: local, until: LONG_AGO }),
    plain: undefined,
  };
  const at = (name: string) => join(server.directory, name);
  files = {
    right: right.cert,
    wrong: wrong.cert,
    system: 'system',
    missing: at('missing.pem'),
    key: pairs.good!.key,
  };
  for (const name of ['garbage', 'der', 'empty']) files[name] = at(`${name}.pem`);
  writeFileSync(files.garbage!, '<html>404 Not Found</html>');
  writeFileSync(files.empty!, '');
  spawnSync('openssl', ['x509', '-in', right.cert, '-outform', 'der', '-out', files.der!]);
});
afterAll(() => server.stop());

function urlWith(parameters: Record<string, string | undefined>): string {
  const url = new URL(server.url);
  url.search = '';
  for (const [name, value] of Object.entries(parameters))
    if (value !== undefined) url.searchParams.set(name, value);
  return url.href;
}

/** The environment of the connection: `system` finds the right authority. */
const environment = () => ({ SSL_CERT_FILE: right.cert });

/** What the connection is, or the message and the code of the error. */
async function connect(url: string, variables: Record<string, string> = environment()): Promise<string> {
  try {
    const pool = createPool(url, () => {}, { environment: variables });
    try {
      return (await readServer(pool)).encryption.found;
    } finally {
      await pool.end();
    }
  } catch (error) {
    const { code, message } = error as { code: string; message: string };
    return `${code}: ${message}`;
  }
}

const PLAIN = 'not encrypted (connection within this machine)';
const UNVERIFIED = 'TLS 1.3, encrypted, certificate not verified';
const AUTHORITY = 'TLS 1.3, certificate verified, host name not compared';
const VERIFIED = 'TLS 1.3, certificate verified';
const WRONG_FILE: Record<string, RegExp> = {
  missing:
    /^configuration: The file of sslrootcert=\S+ in DATABASE_URL cannot be read \(ENOENT: no such file or directory\)\. Correct the path/,
  garbage:
    /^configuration: The file of sslrootcert=\S+ in DATABASE_URL contains no certificate\. Name a PEM file/,
  key: /^configuration: The file of sslrootcert=\S+ in DATABASE_URL contains a private key and no certificate\./,
  der: /^configuration: The file of sslrootcert=\S+ in DATABASE_URL contains a certificate in DER form; convert it: openssl/,
  empty: /^configuration: The file of sslrootcert=\S+ in DATABASE_URL is empty\./,
};

/** The specification: what each combination comes to. */
function expectedOf(mode: string | undefined, root: Root, served: Served): string | RegExp {
  if (mode === 'foo')
    return /^configuration: sslmode=foo in DATABASE_URL is not known\. The modes are disable, allow, prefer/;
  if (mode === 'REQUIRE')
    return /^configuration: sslmode=REQUIRE in DATABASE_URL is not known\. Did you mean require\?/;
  if (mode === 'disable') return PLAIN;
  if (root === 'system' && mode !== undefined && mode !== 'verify-full')
    return /^configuration: sslmode=\S+ in DATABASE_URL is too weak for sslrootcert=system.* Set sslmode=verify-full\.$/;
  if (root !== undefined && WRONG_FILE[root]) return WRONG_FILE[root];
  const effective = mode ?? (root === undefined ? 'prefer' : 'verify-full');
  if (effective === 'allow') return PLAIN;
  if (served === 'plain')
    return effective === 'prefer'
      ? PLAIN
      : /^configuration: The PostgreSQL at 127.0.0.1:\d+ does not support TLS, .*ssl = on.*sslmode=disable/;
  const comparesHost = effective === 'verify-full' || (effective === 'verify-ca' && root === undefined);
  const verifies = comparesHost || (root !== undefined && effective !== 'no-verify');
  if (!verifies) return UNVERIFIED;
  const failure = failureOf(root, served, comparesHost);
  if (failure !== undefined) return effective === 'prefer' ? PLAIN : failure;
  return comparesHost ? VERIFIED : AUTHORITY;
}

function failureOf(root: Root, served: Served, comparesHost: boolean): RegExp | undefined {
  // OpenSSL reports the date first.
  if (root === 'wrong' && served !== 'expired')
    return /^configuration: The certificate of .* is not signed by the authority in the file of sslrootcert=\S+ in DATABASE_URL .*Name the file/;
  // Without sslrootcert the authorities are those of `system`, which knows the right one.
  if (served === 'expired')
    return /^configuration: The certificate of .* has expired\. Renew it on the server/;
  if (served === 'other-host' && comparesHost)
    return /^configuration: The certificate of .* is not for this host name: it is for db\.example\.com, db\. Write one of its names as the host/;
  return undefined;
}

const psql = spawnSync('psql', ['--version'], { encoding: 'utf8' });
const knowsSystem = Number(/\d+/.exec(psql.stdout ?? '')) >= 16;

describe.each(SERVERS)('a server: %s', (served) => {
  const rows = MODES.flatMap((mode) => ROOTS.map((root) => ({ mode, root })));

  test('every mode with every sslrootcert comes to what is specified, with and without uselibpqcompat', async () => {
    await server.serve(pairs[served]);
    const wrongs: unknown[] = [];
    for (const { mode, root } of rows) {
      for (const uselibpqcompat of [undefined, 'true']) {
        const url = urlWith({ uselibpqcompat, sslmode: mode, sslrootcert: root && files[root] });
        const found = await connect(url);
        const expected = expectedOf(mode, root, served);
        const isRight = typeof expected === 'string' ? found === expected : expected.test(found);
        if (!isRight) wrongs.push({ mode, root, uselibpqcompat, found, expected });
      }
    }
    expect(wrongs).toEqual([]);
  });

  (psql.status === 0 ? test : test.skip)('and to what libpq does', async () => {
    await server.serve(pairs[served]);
    const compared = rows.filter(({ mode, root }) => !isKnownDifference(mode, root));
    const wrongs: unknown[] = [];
    await inParallel(4, compared, async ({ mode, root }) => {
      const url = urlWith({ sslmode: mode, sslrootcert: root && files[root] });
      const [found, byLibpq] = [await connect(url), await connectByPsql(url)];
      const kind = found.startsWith('configuration') ? 'error' : found.startsWith('TLS') ? 'TLS' : 'plain';
      if (kind !== byLibpq) wrongs.push({ mode, root, found, byLibpq });
    });
    expect(compared.length).toBeGreaterThan(40);
    expect(wrongs).toEqual([]);
  });
});

/** The differences that docs/databases.md names. */
function isKnownDifference(mode: string | undefined, root: Root): boolean {
  if (root === 'system' && !knowsSystem) return true;
  if (mode === 'no-verify') return true;
  // libpq needs ~/.postgresql/root.crt.
  if (root === undefined && mode?.startsWith('verify')) return true;
  // libpq would connect without TLS, or without verification.
  if (mode === undefined && root !== undefined) return true;
  return root !== undefined && root in WRONG_FILE && ['allow', 'prefer', 'require'].includes(mode ?? '');
}

async function connectByPsql(url: string): Promise<string> {
  const sql = 'select ssl from pg_stat_ssl where pid = pg_backend_pid()';
  const env = { ...machineEnvironment(), HOME: '/nonexistent', SSL_CERT_FILE: right.cert };
  return promisify(execFile)('psql', [url, '-XAtc', sql], { env }).then(
    ({ stdout }) => (stdout.trim() === 't' ? 'TLS' : 'plain'),
    () => 'error',
  );
}

async function inParallel<T>(
  count: number,
  items: readonly T[],
  work: (item: T) => Promise<void>,
): Promise<void> {
  const queue = [...items];
  const worker = async () => {
    for (let item = queue.shift(); item !== undefined; item = queue.shift()) await work(item);
  };
  await Promise.all(Array.from({ length: count }, worker));
}
