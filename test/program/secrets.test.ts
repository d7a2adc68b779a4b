/** Everything the program ever wrote, in every command and in every failure that could quote a secret, searched for them. */
import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import pg from 'pg';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { type Ended, type Program, runProgram, startProgram } from '../support/program.ts';

const CLIENT_ID = 'the-client';
const CLIENT_SECRET = 'S3cr=t&/+?#%"\\ ü{}';
const WRONG_SECRET = 'Wr0ng%2F+secret&x';
const PASSWORD = 'p@ss:/w%rd?&#+ é"';
const WRONG_PASSWORD = 'n0t@the:pass/word';
const FIXED_TOKEN = 'f1xed~t0ken+/abc.def==';
/** In every field of the stored events, which no status may show. */
const CONTENT = 'c0ntent-of-an-event';

/** What the source answers, by the organization that is asked for. All but the first quote what they were sent, in every form. */
const MODES = [
  ...['good', 'token-400', 'token-500', 'token-html', 'token-redirect', 'token-json', 'list-401', 'list-403'],
  ...[
    'list-404',
    'list-422',
    'list-500',
    'list-503',
    'list-302',
    'list-html',
    'list-text',
    'list-count',
    'list-second',
  ],
];

/** What was written, and where, to be searched at the end. */
const written: { where: string; text: string }[] = [];
const issued: string[] = [];
const role = `audit_test_secrets_${process.pid}`;

let source: Server;
let database: TestDatabase;
let directory: string;
let environment: Record<string, string>;
let admin: pg.Client;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'audit-secrets-'));
  source = createServer((request, response) => void answer(request, response));
  await new Promise<void>((resolve) => source.listen(0, '127.0.0.1', resolve));
  database = await createTestDatabase();
  admin = new pg.Client({ connectionString: database.url });
  await admin.connect();
  await admin.query(`create role ${role} login password ${pg.escapeLiteral(PASSWORD)}`);
  await admin.query(`alter database ${new URL(database.url).pathname.slice(1)} owner to ${role}`);
  environment = {
    UIPATH_BASE_URL: `http://127.0.0.1:${(source.address() as AddressInfo).port}`,
    UIPATH_ORGANIZATION: 'good',
    UIPATH_CLIENT_ID: CLIENT_ID,
    UIPATH_CLIENT_SECRET: CLIENT_SECRET,
    DATABASE_URL: urlWith(PASSWORD),
    RETRY_LIMIT: '2',
    RETRY_MAX_DELAY: '10ms',
    STATUS_PORT: '0',
    LOG_LEVEL: 'trace',
  };
});

afterAll(async () => {
  await admin.query(`reassign owned by ${role} to current_user`);
  await admin.query(`drop owned by ${role}`);
  await admin.end();
  await database.drop();
  await withAdmin((client) => client.query(`drop role ${role}`));
  source.closeAllConnections();
  await new Promise((resolve) => source.close(resolve));
  await rm(directory, { recursive: true, force: true });
});

async function withAdmin(work: (client: pg.Client) => Promise<unknown>): Promise<void> {
  const client = new pg.Client({ connectionString: process.env.TEST_SERVER_URL });
  await client.connect();
  await work(client).finally(() => client.end());
}

function urlWith(password: string, given: Record<string, string> = {}): string {
  const { host, pathname } = new URL(database.url);
  const query = new URLSearchParams(given).toString();
  return `postgres://${role}:${encodeURIComponent(password)}@${host}${pathname}${query && `?${query}`}`;
}

async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
  let form = '';
  for await (const chunk of request) form += chunk;
  const isToken = request.url!.includes('/connect/token');
  const organization = request.url!.split('/')[1]!;
  const [kind = '', what = ''] = organization.replace(/^\d+-/, '').split('-');
  const token = request.headers.authorization?.replace('Bearer ', '') ?? '';
  const secret = new URLSearchParams(form).get('client_secret') ?? token;
  const send = (status: number, type: string, body: string, headers = {}) =>
    response.writeHead(status, { 'Content-Type': type, ...headers }).end(body);
  const json = (status: number, body: unknown) => send(status, 'application/json', JSON.stringify(body));
  const said = quoteAll(secret);
  if (isToken && kind !== 'token' && secret !== WRONG_SECRET) {
    issued.push(`0paque-${issued.length}~${'tok+/en.'.repeat(3)}=`);
    return void json(200, { access_token: issued.at(-1), expires_in: 3600, scope: 'PM.Audit.Read' });
  }
  if (isToken && secret === WRONG_SECRET)
    return void json(400, { error: 'invalid_client', error_description: said });
  switch (what) {
    case '400':
      return void json(400, { error: 'invalid_client', error_description: said });
    case '401':
    case '403':
      return void json(Number(what), { message: said, traceId: secret });
    case '422':
      return void json(422, { title: 'Invalid', errors: { Authorization: [said] }, traceId: secret });
    case '404':
      return void send(404, 'text/html', `<html><title>${said}</title><pre>${form}${token}</pre></html>`);
    case '500':
    case 'second':
      return void json(500, { error: { code: secret, message: said } });
    case '503':
      // The first part of what is read of an error ends within the secret.
      return void send(503, 'text/plain', `${' '.repeat(65_530)}${secret}`);
    case '302':
    case 'redirect':
      return void send(302, 'text/plain', said, {
        Location: `https://u:${encodeURIComponent(secret)}@h/${encodeURIComponent(secret)}`,
      });
    case 'html':
      return void send(200, 'text/html', `<!DOCTYPE html><title>${said}</title>`);
    case 'text':
      return void send(200, 'application/json', said);
    case 'count':
      return void json(200, { totalCount: said, results: [] });
    case 'json':
      return void json(200, { access_token: `${secret} with a space` });
    default:
      return void json(200, listing(new URL(request.url!, 'http://h').searchParams));
  }
}

/** A secret in every form that a program which quotes its request could give it. */
function quoteAll(secret: string): string {
  const base64 = (text: string) => Buffer.from(text).toString('base64');
  const inForm = new URLSearchParams([['', secret]]).toString().slice(1);
  return [secret, encodeURIComponent(secret), inForm, base64(secret), base64(`${CLIENT_ID}:${secret}`)].join(
    ' ',
  );
}

function listing(query: URLSearchParams): unknown {
  const rows = [1, 2, 3].map((second) => ({
    createdOn: `2024-05-01T12:00:0${second}.0000000Z`,
    ...Object.fromEntries(
      ['category', 'action', 'source', 'userName', 'email', 'message', 'auditLogDetails'].map((name) => [
        name,
        CONTENT,
      ]),
    ),
    detailsVersion: second === 2 ? { of: CONTENT } : '1.0',
  }));
  const skip = Number(query.get('skip'));
  return { totalCount: rows.length, results: rows.slice(skip, skip + Number(query.get('top'))) };
}

/** Runs the program in a directory of its own, and keeps what it wrote. */
async function run(args: string[], given: Record<string, string> = {}): Promise<Ended> {
  const cwd = await mkdtemp(join(directory, 'cwd-'));
  const ended = await runProgram(args, { ...environment, ...given }, cwd);
  const where = `${args.join(' ')} ${given.UIPATH_ORGANIZATION ?? ''}`.trim();
  written.push(
    { where: `stdout of ${where}`, text: ended.stdout },
    { where: `stderr of ${where}`, text: ended.stderr },
  );
  // With a database given it writes no file, so that a container may have a read-only root.
  expect([where, readdirSync(cwd)]).toEqual([where, []]);
  return ended;
}

function keepFiles(where: string, path: string, { except = '' } = {}): void {
  for (const entry of readdirSync(path, { recursive: true, withFileTypes: true })) {
    const file = join(entry.parentPath, entry.name);
    if (!entry.isFile() || file === except) continue;
    written.push({ where: `${file} of ${where}`, text: readFileSync(file, 'latin1') });
  }
}

/** The command line and the environment of a process, and of all that it started. */
function keepProcesses(where: string, pid: number): number {
  const parents = readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map((name) => [Number(name), Number(/\) \S (\d+)/.exec(readOf(`/proc/${name}/stat`))?.[1])] as const);
  const family = new Set([pid]);
  for (let size = 0; size < family.size; ) {
    size = family.size;
    for (const [child, parent] of parents) if (family.has(parent)) family.add(child);
  }
  for (const member of family) {
    written.push({ where: `command line ${member} of ${where}`, text: readOf(`/proc/${member}/cmdline`) });
  }
  return family.size;
}

function readOf(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

async function keepStatus(program: Program): Promise<void> {
  await program.logged(/status page.* at http/);
  const address = /status page.* at (http:\/\/[\d.]+:\d+)/.exec(program.stderr())![1]!;
  for (const path of ['/', '/healthz', '/readyz', '/metrics', '/nothing']) {
    const response = await fetch(address + path);
    const text = JSON.stringify([...response.headers]) + (await response.text());
    written.push({ where: `GET ${path}`, text });
    expect([path, text.includes(CONTENT)]).toEqual([path, false]);
  }
}

async function keepDatabase(client: pg.Client): Promise<number> {
  const { rows: tables } = await client.query<{ name: string }>(
    `select format('%I.%I', table_schema, table_name) as name from information_schema.tables
     where table_schema in ('audit', 'bi')`,
  );
  for (const { name } of tables) {
    const { rows } = await client.query<{ text: string }>(`select t::text as text from ${name} t`);
    written.push({ where: name, text: rows.map(({ text }) => text).join('\n') });
  }
  const { rows } = await client.query<{ text: string }>(
    "select concat_ws(e'\\t', usename, application_name, query) as text from pg_stat_activity",
  );
  written.push({ where: 'pg_stat_activity', text: rows.map(({ text }) => text).join('\n') });
  return tables.length;
}

/** What must be nowhere: each secret whole, begun, as URLs and JSON spell it, and the part of its base64 that is its own. */
function formsOf(secret: string): string[] {
  const json = JSON.stringify(secret).slice(1, -1);
  const inForm = new URLSearchParams([['', secret]]).toString().slice(1);
  const base64 = ['', 'x', 'xx'].map((before) =>
    Buffer.from(before + secret)
      .toString('base64')
      .slice(before.length === 0 ? 0 : before.length + 1, -4),
  );
  const url = base64.map((text) => text.replaceAll('+', '-').replaceAll('/', '_'));
  const forms = [secret, secret.slice(0, 8), json, encodeURIComponent(secret), inForm, ...base64, ...url];
  // A text without the shorter form has none that contains it.
  return [...new Set(forms)].filter(
    (form) => !forms.some((shorter) => shorter.length < form.length && form.includes(shorter)),
  );
}

function findings(): string[] {
  const secrets = { CLIENT_SECRET, WRONG_SECRET, PASSWORD, WRONG_PASSWORD, FIXED_TOKEN };
  const all = [...Object.entries(secrets), ...issued.map((token, i) => [`token ${i}`, token] as const)];
  return all.flatMap(([name, secret]) =>
    formsOf(secret).flatMap((form) =>
      written.flatMap(({ where, text }) => {
        const at = text.indexOf(form);
        return at < 0 ? [] : [`${name} in ${where}: …${text.slice(Math.max(0, at - 60), at + 60)}…`];
      }),
    ),
  );
}

describe('no secret is in anything the program writes', () => {
  test('by any command, whatever the source and the database answer', async () => {
    const { stdout: help } = await run(['--help']);
    const offered = [...help.matchAll(/^ {2}([a-z]+)(?: \[|\s{2,})/gm)].map(([, name]) => name!);
    const commands = offered.filter((name) => !['help', 'demo', 'simulate', 'start'].includes(name));
    expect(commands).toEqual(expect.arrayContaining(['run', 'backfill', 'status', 'check', 'migrate']));
    await run(['migrate']);

    const scenes: [string[], Record<string, string>][] = [
      ...MODES.map((mode): [string[], Record<string, string>] => [['run'], { UIPATH_ORGANIZATION: mode }]),
      ...['list-500', 'list-401'].map((mode): [string[], Record<string, string>] => [
        ['check'],
        { UIPATH_ORGANIZATION: mode },
      ]),
      ...['run', 'check'].map((name): [string[], Record<string, string>] => [
        [name],
        { UIPATH_ORGANIZATION: `wrong-${name}`, UIPATH_CLIENT_SECRET: WRONG_SECRET },
      ]),
      ...commands.flatMap((name): [string[], Record<string, string>][] => [
        [[name], { UIPATH_ORGANIZATION: `of-${name}` }],
        [[name], { UIPATH_ORGANIZATION: `no-${name}`, DATABASE_URL: urlWith(WRONG_PASSWORD) }],
      ]),
      [['status', '--json'], {}],
      [['backfill'], { UIPATH_ORGANIZATION: 'list-second' }],
      [['run'], { UIPATH_ORGANIZATION: '91-good', ...asFiles() }],
      [['run'], { UIPATH_ORGANIZATION: '92-good', ...withToken() }],
      [['run'], { UIPATH_ORGANIZATION: 'list-422', ...withToken() }],
      [
        ['run'],
        {
          UIPATH_ORGANIZATION: '93-good',
          DATABASE_URL: urlWith(PASSWORD, { options: '-c default_transaction_read_only=on' }),
        },
      ],
      [
        ['run'],
        { UIPATH_ORGANIZATION: '94-good', DATABASE_URL: urlWith(PASSWORD).replace(/@[^/]*/, '@127.0.0.1:1') },
      ],
      [['run'], { UIPATH_ORGANIZATION: '95-good', DATABASE_URL: urlWith(PASSWORD).replace('%', '%zz%') }],
      [
        ['run'],
        {
          UIPATH_CLIENT_SECRET: '',
          UIPATH_CLIENT_SECRET_FILE: CLIENT_SECRET,
          DATABASE_URL: '',
          DATABASE_URL_FILE: urlWith(PASSWORD),
        },
      ],
    ];
    const codes = await inTurns(scenes, ([args, given]) => run(args, given).then(({ code }) => code));
    // That they failed and succeeded as meant, or they would prove nothing.
    expect(codes.slice(0, MODES.length)).toEqual([0, 2, 75, 2, 2, 2, 2, 2, 2, 2, 75, 75, 2, 2, 75, 1, 75]);
    expect(codes.slice(-9)).toEqual([0, 75, 0, 0, 2, 75, 75, 2, 2]);
    expect(findings()).toEqual([]);
  }, 120_000);

  test('by start, its status server, its process and its sessions', async () => {
    for (const organization of ['8-good', 'list-500']) {
      const program = startProgram(['start'], {
        ...environment,
        UIPATH_ORGANIZATION: organization,
        EXPORT_SCHEDULE: '0 0 1 1 *',
      });
      try {
        await program.logged(/run \d+ (succeeded|failed)/);
        await keepStatus(program);
        expect(keepProcesses('start', program.pid)).toBeGreaterThan(0);
        await keepDatabase(admin);
      } finally {
        program.kill('SIGTERM');
        const { stdout, stderr } = await program.ended;
        written.push({ where: `output of start for ${organization}`, text: stdout + stderr });
      }
    }
    expect(findings()).toEqual([]);
  }, 60_000);

  test('in the tables, the run history above all', async () => {
    expect(await keepDatabase(admin)).toBeGreaterThan(6);
    const { rows } = await admin.query(
      'select count(*)::int as failed from audit.runs where error is not null',
    );
    expect(rows[0].failed).toBeGreaterThan(10);
    expect(findings()).toEqual([]);
  });

  test('with a PostgreSQL of its own, but for the password file, which only its account may read', async () => {
    const own = join(directory, 'own');
    const program = startProgram(['start'], { ...environment, DATABASE_URL: '', EMBEDDED_POSTGRES_DIR: own });
    try {
      await program.logged(/run \d+ succeeded/);
      await keepStatus(program);
      keepProcesses(
        'the embedded PostgreSQL',
        Number(readFileSync(join(own, 'cluster', 'postmaster.pid'), 'utf8').split('\n')[0]),
      );
      keepProcesses('start', program.pid);
    } finally {
      program.kill('SIGTERM');
      const { stdout, stderr } = await program.ended;
      written.push({ where: 'output of start with a PostgreSQL of its own', text: stdout + stderr });
    }
    const passwordFile = join(own, 'password');
    expect((statSync(passwordFile).mode & 0o777).toString(8)).toBe('600');
    expect((statSync(join(own, 'cluster')).mode & 0o777).toString(8)).toBe('700');
    keepFiles('the embedded PostgreSQL', own, { except: passwordFile });
    const password = readFileSync(passwordFile, 'utf8').trim();
    expect(written.filter(({ text }) => text.includes(password)).map(({ where }) => where)).toEqual([]);
    expect(findings()).toEqual([]);
  }, 60_000);
});

function asFiles(): Record<string, string> {
  const file = (name: string, text: string) => {
    const path = join(directory, name);
    writeFileSync(path, `${text}\n`, { mode: 0o600 });
    return path;
  };
  return {
    UIPATH_CLIENT_SECRET: '',
    UIPATH_CLIENT_SECRET_FILE: file('client-secret', CLIENT_SECRET),
    DATABASE_URL: '',
    DATABASE_URL_FILE: file('database-url', urlWith(PASSWORD)),
  };
}

function withToken(): Record<string, string> {
  return { UIPATH_CLIENT_ID: '', UIPATH_CLIENT_SECRET: '', UIPATH_ACCESS_TOKEN: FIXED_TOKEN };
}

/** Three at a time, which is what keeps two cores busy. */
async function inTurns<T, R>(items: readonly T[], work: (item: T) => Promise<R>): Promise<R[]> {
  const results: R[] = [];
  let next = 0;
  const turn = async () => {
    while (next < items.length) {
      const i = next++;
      results[i] = await work(items[i]!);
    }
  };
  await Promise.all([turn(), turn(), turn()]);
  return results;
}
