/** The real program against databases as people have them: TLS, sockets, several hosts, variables of libpq, encodings, weak settings. */
import { execFileSync } from 'node:child_process';
import { chmodSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { createSimulator, type Simulator } from '../../src/simulator/simulator.ts';
import { type Authority, createAuthority, LONG_AGO, type Pair } from '../support/authority.ts';
import { type Ended, environmentFor, logLines, runProgram } from '../support/program.ts';
import { outerAddress, startTlsServer, type TlsServer } from '../support/tls-server.ts';

let server: TlsServer;
let simulator: Simulator;
let right: Authority;
let wrong: Authority;
let good: Pair;
let port: string;
let password: string;

beforeAll(async () => {
  server = await startTlsServer();
  simulator = await createSimulator({ events: 20 });
  right = createAuthority(server.directory, 'right');
  wrong = createAuthority(server.directory, 'wrong');
  good = right.issue('good', { names: 'DNS:localhost,IP:127.0.0.1' });
  ({ port, password } = new URL(server.url));
  await server.serve(good);
});
afterAll(async () => {
  await simulator.close();
  await server.stop();
});

/** A URL of the database `audit`: the text after the @. */
const urlOf = (rest: string, login = `postgres:${password}`) => `postgres://${login}@${rest}`;
const local = (query = '') => urlOf(`127.0.0.1:${port}/audit${query}`);

function run(args: string[], url: string, variables: Record<string, string> = {}): Promise<Ended> {
  return runProgram(args, { ...environmentFor(simulator, url), ...variables });
}

/** Exit code, and the line of the database with its mark. No line on standard error may come from Node or pg. */
async function check(
  url: string,
  variables: Record<string, string> = {},
): Promise<[number | string, string]> {
  const { code, stdout, stderr } = await run(['check'], url, variables);
  const others = logLines(stderr).filter(({ msg }) => !/^\d of 8 checks failed: [a-z, ]+\.$/.test(`${msg}`));
  expect(others).toEqual([]);
  expect(stdout + stderr).not.toContain(password);
  return [code, /^. database[\s\S]*?(?=\n. migrations)/m.exec(stdout)![0].replace(/\n? +/g, ' ')];
}

describe('check says how the connection is protected', () => {
  test.each([
    ['', {}, /^✓ database PostgreSQL \d.* as user postgres, TLS 1\.3, encrypted, certificate not verified$/],
    ['?sslmode=disable', {}, /^✓ .* not encrypted \(connection within this machine\)$/],
    [
      '?sslmode=require',
      {},
      /^! .*, TLS 1\.3, encrypted, certificate not verified Another server could pretend .* sslmode=verify-full/,
    ],
    ['?uselibpqcompat=true&sslmode=require', {}, /^! .* TLS 1\.3, encrypted, certificate not verified /],
    ['?sslmode=no-verify', {}, /^! .* TLS 1\.3, encrypted, certificate not verified /],
    [
      '?sslmode=verify-ca&sslrootcert=RIGHT',
      {},
      /^✓ .* TLS 1\.3, certificate verified, host name not compared$/,
    ],
    ['?sslmode=verify-full&sslrootcert=RIGHT', {}, /^✓ .* TLS 1\.3, certificate verified$/],
    ['?sslrootcert=RIGHT', {}, /^✓ .* TLS 1\.3, certificate verified$/],
    ['?sslmode=verify-full', { NODE_EXTRA_CA_CERTS: 'RIGHT' }, /^✓ .* TLS 1\.3, certificate verified$/],
    [
      '?sslmode=verify-full&sslrootcert=system',
      { NODE_EXTRA_CA_CERTS: 'RIGHT' },
      /^✓ .* TLS 1\.3, certificate verified$/,
    ],
    ['?sslrootcert=system', { SSL_CERT_FILE: 'RIGHT' }, /^✓ .* TLS 1\.3, certificate verified$/],
    ['', { PGSSLMODE: 'verify-full', PGSSLROOTCERT: 'RIGHT' }, /^✓ .* TLS 1\.3, certificate verified$/],
    ['', { PGSSLMODE: 'disable' }, /^✓ .* not encrypted/],
    ['?sslmode=disable', { PGSSLMODE: 'foo' }, /^✓ .* not encrypted/],
    ['?ssl_max_protocol_version=TLSv1.2', {}, /^✓ .* TLS 1\.2, encrypted, certificate not verified$/],
    ['?channel_binding=require&sslmode=require', {}, /^! .* TLS 1\.3, encrypted/],
    ['?sslnegotiation=direct&sslrootcert=RIGHT', {}, /^✓ .* TLS 1\.3, certificate verified$/],
    ['?ssl=true&sslrootcert=RIGHT', {}, /^✓ .* TLS 1\.3, certificate verified$/],
    ['?pgbouncer=true', {}, /^! .* pgbouncer in DATABASE_URL is not known and has no effect\.$/],
  ])('%s %j', async (query, variables, expected) => {
    const fill = (text: string) => text.replace('RIGHT', right.cert);
    const given = Object.fromEntries(Object.entries(variables).map(([name, value]) => [name, fill(value)]));
    const [code, line] = await check(local(fill(query)), given);
    expect([code, line]).toEqual([0, expect.stringMatching(expected)]);
  });

  test.each([
    ['?sslmode=foo', {}, /sslmode=foo in DATABASE_URL is not known\. The modes are/],
    [
      '?sslmode=verify-full',
      { NODE_TLS_REJECT_UNAUTHORIZED: '0' },
      /is signed by no authority that is known here/,
    ],
    ['', { PGSSLMODE: 'requre' }, /PGSSLMODE=requre is not known\. Did you mean require\?/],
    [
      '?sslmod=require',
      {},
      /sslmod in DATABASE_URL is not a parameter of PostgreSQL\. Did you mean sslmode\?/,
    ],
    [
      '?sslmode=verify-full',
      {},
      /certificate .* is signed by no authority that is known here \(.*\)\. .* sslrootcert=FILE/,
    ],
    [
      '?sslmode=verify-full&sslrootcert=system',
      {},
      /certificate .* is signed by no authority that is known here/,
    ],
    [
      '?sslmode=verify-full&sslrootcert=WRONG',
      {},
      /certificate .* is not signed by the authority in the file of sslrootcert=/,
    ],
    [
      '?sslrootcert=/nowhere/ca.pem',
      {},
      /file of sslrootcert=\/nowhere\/ca\.pem in DATABASE_URL cannot be read \(ENOENT/,
    ],
    [
      '',
      { PGSSLROOTCERT: '/nowhere/ca.pem' },
      /file of PGSSLROOTCERT=\/nowhere\/ca\.pem cannot be read \(ENOENT/,
    ],
    [
      '?sslmode=require&sslrootcert=system',
      {},
      /sslmode=require in DATABASE_URL is too weak for sslrootcert=system/,
    ],
    ['?sslmode=require&uselibpqcompat=false', {}, /uselibpqcompat=false in DATABASE_URL has no effect/],
    ['?sslnegotiation=direct', {}, /sslnegotiation=direct in DATABASE_URL needs TLS: set sslmode/],
    ['?sslcert=RIGHT', {}, /sslcert=\S+ in DATABASE_URL needs sslkey, the file of the private key/],
    ['?service=audit', {}, /service in DATABASE_URL is not supported\. Write the values of the service/],
    ['?hostaddr=127.0.0.1', {}, /hostaddr in DATABASE_URL is not supported/],
    ['?require_auth=scram-sha-256', {}, /require_auth in DATABASE_URL is not supported/],
    [
      '?target_session_attrs=prefer-standby',
      {},
      /target_session_attrs=prefer-standby in DATABASE_URL is not known\. It may be any/,
    ],
    [
      '?channel_binding=require&sslmode=disable',
      {},
      /channel_binding=require in DATABASE_URL: the server offers no channel binding/,
    ],
  ])('%s %j is refused with a remedy', async (query, variables, expected) => {
    const fill = (text: string) => text.replace('RIGHT', right.cert).replace('WRONG', wrong.cert);
    const [code, line] = await check(local(fill(query)), variables);
    expect([code, line]).toEqual([2, expect.stringMatching(expected)]);
    expect(line).toMatch(/^✗ /);
  });

  (outerAddress ? test : test.skip)('off this machine a connection without TLS is a warning', async () => {
    const given = urlOf(`${outerAddress}:${port}/audit?sslmode=disable`);
    expect(await check(given)).toEqual([
      0,
      expect.stringMatching(/^! .* not encrypted Others on the network can read .* sslmode=verify-full/),
    ]);
  });
});

describe('a mistake ends every command with exit code 2 and no raw warning', () => {
  test.each([['migrate'], ['run'], ['backfill'], ['status'], ['verify'], ['start']])(
    '%s',
    async (command) => {
      const { code, stderr } = await run(
        [command],
        local('?sslmode=verify-full&sslrootcert=/nowhere/ca.pem'),
      );
      expect([code, stderr]).toEqual([
        2,
        expect.stringMatching(/cannot be read \(ENOENT: no such file or directory\)\. Correct the path/),
      ]);
    },
  );

  test.each(['prefer', 'require', 'verify-ca'])('sslmode=%s prints nothing else', async (mode) => {
    const { code, stderr } = await run(['status'], local(`?sslmode=${mode}&sslrootcert=${right.cert}`));
    expect([code, stderr]).toEqual([0, '']);
  });

  test('the name, the date and the support of the server', async () => {
    const verified = local(`?sslmode=verify-full&sslrootcert=${right.cert}`);
    try {
      await server.serve(right.issue('other', { names: 'DNS:db.example.com' }));
      expect(await check(verified)).toEqual([
        2,
        expect.stringMatching(
          /not for this host name: it is for db\.example\.com\. Write one of its names as the host/,
        ),
      ]);
      await server.serve(right.issue('old', { names: 'IP:127.0.0.1', until: LONG_AGO }));
      expect(await check(verified)).toEqual([
        2,
        expect.stringMatching(/has expired\. Renew it on the server/),
      ]);
      await server.serve(undefined);
      expect(await check(verified)).toEqual([
        2,
        expect.stringMatching(
          /does not support TLS, which sslmode=verify-full requires\. Enable it .* sslmode=disable/,
        ),
      ]);
      expect(await check(local())).toEqual([0, expect.stringMatching(/^✓ .* not encrypted/)]);
      expect(await check(local('?sslmode=prefer'))).toEqual([
        0,
        expect.stringMatching(/^✓ .* not encrypted/),
      ]);
      await server.serve(good);
      const revocations = right.revoke('list.crl', [good.cert]);
      expect(await check(`${verified}&sslcrl=${revocations}`)).toEqual([
        2,
        expect.stringMatching(/is revoked by the list of sslcrl/),
      ]);
    } finally {
      await server.serve(good);
    }
  });

  test('TLS that fails is not replaced silently by none', async () => {
    expect(await check(local(`?sslmode=prefer&sslrootcert=${wrong.cert}`))).toEqual([
      0,
      expect.stringMatching(/^! .* not encrypted .* TLS failed: .* Set sslmode=verify-full/),
    ]);
  });
});

describe('the access rules of the server', () => {
  afterAll(() => server.allow(undefined));

  test('that demand TLS are met without a mode, and named with sslmode=disable', async () => {
    await server.allow('hostssl all all all scram-sha-256');
    expect(await check(local())).toEqual([0, expect.stringContaining('TLS 1.3')]);
    expect(await check(local('?sslmode=allow'))).toEqual([0, expect.stringContaining('TLS 1.3')]);
    expect(await check(local('?sslmode=disable'))).toEqual([
      2,
      expect.stringMatching(
        /rejected the connection: .* The connection was not encrypted .* set sslmode=verify-full/,
      ),
    ]);
    await server.allow('hostnossl all all all scram-sha-256');
    expect(await check(local())).toEqual([0, expect.stringContaining('not encrypted')]);
    expect(await check(local('?sslmode=require'))).toEqual([
      2,
      expect.stringMatching(/Its pg_hba\.conf needs a rule for this user/),
    ]);
  });

  test('that demand a client certificate are met with sslcert and sslkey', async () => {
    const client = right.issue('postgres', {});
    const other = wrong.issue('postgres', {});
    for (const { key } of [client, other]) chmodSync(key, 0o600);
    const withPair = ({ cert, key }: Pair) =>
      local(`?sslrootcert=${right.cert}&sslcert=${cert}&sslkey=${key}`);
    try {
      await server.serve(good, right.cert);
      await server.allow('hostssl all all all cert');
      expect(await check(withPair(client))).toEqual([
        0,
        expect.stringMatching(/^✓ .* TLS 1\.3, certificate verified$/),
      ]);
      chmodSync(client.key, 0o644);
      expect(await check(withPair(client))).toEqual([
        0,
        expect.stringMatching(
          /^! .* file of sslkey=\S+ in DATABASE_URL is readable for other users: chmod 600/,
        ),
      ]);
      for (const refused of [withPair(other), local(`?sslrootcert=${right.cert}`)])
        expect(await check(refused)).toEqual([
          2,
          expect.stringMatching(/client certificate, set sslcert and sslkey/),
        ]);
      const mixed = withPair({ cert: client.cert, key: other.key });
      expect(await check(mixed)).toEqual([
        2,
        expect.stringMatching(/file of sslkey=\S+ .* is not the key of the certificate in sslcert/),
      ]);
      const locked = { cert: client.cert, key: `${client.key}.locked` };
      execFileSync('openssl', [
        'pkcs8',
        '-topk8',
        '-in',
        client.key,
        '-out',
        locked.key,
        '-passout',
        'pass:key-text',
      ]);
      chmodSync(locked.key, 0o600);
      expect(await check(`${withPair(locked)}&sslpassword=key-text`)).toEqual([
        0,
        expect.stringMatching(/^✓ /),
      ]);
      for (const [query, reason] of [
        ['', /is an encrypted key\. Add its password as sslpassword/],
        ['&sslpassword=other-text', /cannot be decrypted with sslpassword\. Correct the password/],
      ] as const)
        expect(await check(withPair(locked) + query)).toEqual([2, expect.stringMatching(reason)]);
      const absent = withPair({ cert: client.cert, key: '/nowhere.key' });
      expect(await check(absent)).toEqual([
        2,
        expect.stringMatching(/file of sslkey=\/nowhere\.key in DATABASE_URL cannot be read/),
      ]);
    } finally {
      await server.serve(good);
    }
  });
});
