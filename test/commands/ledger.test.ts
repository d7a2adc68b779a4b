/** Keys, heads and proofs of the ledger, through the real command line. */
import { readFileSync, statSync, writeFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import pg from 'pg';
import { createSimulator, type Simulator } from '../../src/simulator/simulator.ts';
import { createMigratedDatabase, createTestDatabase, type TestDatabase } from '../support/database.ts';
import { type Ended, environmentFor, runProgram } from '../support/program.ts';

let directory: string;
const closers: (() => unknown)[] = [];

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'audit-ledger-'));
  closers.push(() => rm(directory, { recursive: true }));
  for (const name of ['first', 'second']) await keygen(name);
});
afterAll(async () => {
  for (const close of closers.reverse()) await close();
});

const file = (name: string) => join(directory, name);
const keygen = (name: string, ...options: string[]) =>
  runProgram(['ledger', 'keygen', '--out', file(`${name}.key`), ...options], {});

/** A file with the text of others, one after the other. */
function joined(name: string, ...names: string[]): string {
  writeFileSync(file(name), names.map((each) => readFileSync(file(each), 'utf8')).join(''));
  return file(name);
}

interface Place {
  database: TestDatabase;
  simulator: Simulator;
  client: pg.Client;
  program(args: string[], environment?: Record<string, string>): Promise<Ended>;
}

async function openPlace(organization: string, database?: TestDatabase): Promise<Place> {
  const opened = database ?? (await createMigratedDatabase());
  if (!database) closers.push(() => opened.drop());
  const simulator = await createSimulator({ organization, events: 40 });
  closers.push(() => simulator.close());
  const client = new pg.Client({ connectionString: opened.url });
  await client.connect();
  closers.push(() => client.end());
  const base = environmentFor(simulator, opened.url);
  const program = (args: string[], environment: Record<string, string> = {}) =>
    runProgram(args, { ...base, ...environment });
  return { database: opened, simulator, client, program };
}

const signing = (name: string) => ({ EXPORT_LEDGER_KEY_FILE: file(name) });
const trusting = (name: string) => ({ EXPORT_LEDGER_PUBLIC_KEY_FILE: file(name) });

describe('ledger keygen', () => {
  test('writes a private key that only its owner can read, and the public key', () => {
    expect(readFileSync(file('first.key'), 'utf8')).toMatch(/^-----BEGIN PRIVATE KEY-----\n/);
    expect(readFileSync(file('first.key.pub'), 'utf8')).toMatch(/^-----BEGIN PUBLIC KEY-----\n/);
    expect(statSync(file('first.key')).mode & 0o777).toBe(0o600);
  });

  test('never overwrites a key', async () => {
    const before = readFileSync(file('first.key'), 'utf8');
    const { code, stderr } = await keygen('first');
    expect([code, stderr]).toEqual([2, expect.stringContaining('a key is never overwritten')]);
    expect(readFileSync(file('first.key'), 'utf8')).toBe(before);
  });
});

describe('a ledger that is signed from the start', () => {
  let place: Place;
  let verifierKey: string;

  beforeAll(async () => {
    place = await openPlace('acme');
    expect(await place.program(['run'], signing('first.key'))).toMatchObject({ code: 0 });
    const { stdout } = await place.program(['ledger', 'head', '--json'], trusting('first.key.pub'));
    verifierKey = JSON.parse(stdout).heads[0].verifierKeys[0];
    writeFileSync(file('first.vkey'), `${verifierKey}\n`);
  });

  test('has a head with one signature, which `ledger head` prints', async () => {
    const { code, stdout } = await place.program(['ledger', 'head']);
    expect(code).toBe(0);
    expect(stdout).toMatch(
      /^uipath-audit-export\/acme\/classic\n\d+\n[\w+/]{43}=\n\n— uipath-audit-export\/acme\/classic \S+\n$/,
    );
  });

  test.each([
    ['the public key', 'first.key.pub'],
    ['the verifier key', 'first.vkey'],
  ])('is verified with %s alone', async (_name, key) => {
    const { code, stdout } = await place.program(['verify', '--offline'], trusting(key));
    expect([code, stdout]).toEqual([
      0,
      expect.stringContaining(verifierKey.split('+').slice(0, 2).join('+')),
    ]);
  });

  test('has differences for another public key', async () => {
    const { code, stdout } = await place.program(['verify', '--offline'], trusting('second.key.pub'));
    expect([code, stdout]).toEqual([3, expect.stringContaining('not by the public key')]);
  });

  test('is not verified without a public key', async () => {
    const { code, stderr } = await place.program(['verify', '--offline']);
    expect([code, stderr]).toEqual([2, expect.stringContaining('EXPORT_LEDGER_PUBLIC_KEY_FILE')]);
  });

  test.each([
    ['without the key', {}, 'EXPORT_LEDGER_KEY_FILE is not set'],
    ['with another key', () => signing('second.key'), 'is not signed by the key in EXPORT_LEDGER_KEY_FILE'],
  ])('is not continued %s', async (_name, given, says) => {
    const environment = typeof given === 'function' ? given() : given;
    place.simulator.append(1);
    const before = await place.program(['ledger', 'head']);
    const { code, stderr } = await place.program(['run'], environment);
    expect([code, stderr]).toEqual([2, expect.stringContaining(says)]);
    expect((await place.program(['ledger', 'head'])).stdout).toBe(before.stdout);
  });

  test('is not continued after somebody removed the signature of the head', async () => {
    await place.client.query('begin');
    const head = `batch = (select max(batch) from audit.ledger where organization = 'acme')`;
    const { rows } = await place.client.query(`select checkpoint from audit.ledger where ${head}`);
    await place.client.query('commit');
    await place.client.query(`update audit.ledger set checkpoint = null where ${head}`);
    const { code, stderr } = await place.program(['run'], signing('first.key'));
    expect([code, stderr]).toEqual([2, expect.stringContaining('someone has removed the signature')]);
    await place.client.query(`update audit.ledger set checkpoint = $1 where ${head}`, [rows[0].checkpoint]);
    expect(await place.program(['run'], signing('first.key'))).toMatchObject({ code: 0 });
  });

  test('is continued with a new key while the old one is in the file, and then without it', async () => {
    const both = joined('both.key', 'second.key', 'first.key');
    place.simulator.append(1);
    expect(await place.program(['run'], { EXPORT_LEDGER_KEY_FILE: both })).toMatchObject({ code: 0 });
    const { stdout } = await place.program(['ledger', 'head']);
    expect(stdout.match(/^— /gm)).toHaveLength(2);
    for (const key of ['first.key.pub', 'second.key.pub'])
      expect(await place.program(['verify', '--offline'], trusting(key))).toMatchObject({ code: 0 });

    place.simulator.append(1);
    expect(await place.program(['run'], signing('second.key'))).toMatchObject({ code: 0 });
    expect(await place.program(['verify', '--offline'], trusting('second.key.pub'))).toMatchObject({
      code: 0,
    });
    expect(await place.program(['verify', '--offline'], trusting('first.key.pub'))).toMatchObject({
      code: 3,
    });
  });
});

describe('a ledger that is signed later', () => {
  let place: Place;

  beforeAll(async () => {
    place = await openPlace('later');
    expect(await place.program(['run'])).toMatchObject({ code: 0 });
  });

  test('is not continued with a key before `ledger sign`', async () => {
    place.simulator.append(1);
    const { code, stderr } = await place.program(['run'], signing('first.key'));
    expect([code, stderr]).toEqual([2, expect.stringContaining('ledger sign')]);
  });

  test('has differences for a public key', async () => {
    const { code, stdout } = await place.program(['verify', '--offline'], trusting('first.key.pub'));
    expect([code, stdout]).toEqual([3, expect.stringContaining('the head is not signed')]);
  });

  test('is not signed without a key, or while it differs from the rows', async () => {
    expect(await place.program(['ledger', 'sign'])).toMatchObject({ code: 2 });
    const edit = (name: string) =>
      place.client.query(
        `update audit.events set category = category || $1 where event_id = (select event_id from audit.events order by event_id limit 1)`,
        [name],
      );
    await edit('!');
    const { code, stderr } = await place.program(['ledger', 'sign'], signing('first.key'));
    expect([code, stderr]).toEqual([3, expect.stringContaining('Not signed')]);
    await place.client.query(`update audit.events set category = rtrim(category, '!')`);
  });

  test('is signed by `ledger sign`, once, and then continued', async () => {
    const first = await place.program(['ledger', 'sign'], signing('first.key'));
    expect([first.code, first.stdout]).toEqual([0, expect.stringContaining('later')]);
    const again = await place.program(['ledger', 'sign'], signing('first.key'));
    expect([again.code, again.stdout]).toEqual([0, 'All ledgers are signed already.\n']);
    expect(await place.program(['run'], signing('first.key'))).toMatchObject({ code: 0 });
    expect(await place.program(['verify', '--offline'], trusting('first.key.pub'))).toMatchObject({
      code: 0,
    });
  });
});

describe('a noted head', () => {
  let place: Place;
  let heads: Record<'unsigned' | 'signed' | 'entry' | 'other', string>;
  const expectHead = (head: string) =>
    place.program(['verify', '--offline', '--expect', head], trusting('first.key.pub'));

  beforeAll(async () => {
    place = await openPlace('noted');
    const other = await openPlace('other', place.database);
    for (const { program } of [place, other])
      expect(await program(['run'], signing('first.key'))).toMatchObject({ code: 0 });
    const printed = await place.program(['ledger', 'head', '--json']);
    const [signed, foreign] = JSON.parse(printed.stdout).heads.map(
      ({ checkpoint }: { checkpoint: string }) => checkpoint,
    );
    const { rows } = await place.client.query<{ head: string }>(
      `select format('noted/%s/%s', batch, encode(digest, 'hex')) as head from audit.ledger
       where organization = 'noted' order by batch desc limit 1`,
    );
    heads = { signed, unsigned: signed.split('\n\n')[0], entry: rows[0]!.head, other: foreign };
    place.simulator.append(3);
    expect(await place.program(['run'], signing('first.key'))).toMatchObject({ code: 0 });
  });

  test.each(['signed', 'unsigned', 'entry', 'other'] as const)(
    'that is %s is found in the ledger that has grown since',
    async (name) => {
      const { code, stdout, stderr } = await expectHead(heads[name]);
      expect([code, code === 0 ? '' : stdout + stderr]).toEqual([0, '']);
    },
  );

  test.each([
    ['larger than the ledger', () => heads.unsigned.replace(/\n\d+\n/, '\n99999\n'), 'expected and missing'],
    ['of an entry beyond the last', () => heads.entry.replace(/\/\d+\//, '/99999/'), 'expected and missing'],
    ['with another root', () => heads.unsigned.replace(/\n.{4}([^\n]*=)$/, '\nAAAA$1'), 'was rewritten'],
    ['with another digest', () => heads.entry.replace(/.{4}$/, 'abcd'), 'was rewritten'],
    ['of another log', () => heads.entry.replace('noted/', 'nobody/'), 'expected and missing'],
  ])('%s is not found', async (_name, head, says) => {
    const { code, stdout } = await expectHead(head());
    expect([code, stdout]).toEqual([3, expect.stringContaining(says)]);
  });

  test('that is none is a usage error', async () => {
    expect(await expectHead('something else')).toMatchObject({ code: 2 });
  });
});

describe('a proof of one event', () => {
  let place: Place;
  let eventId: string;
  const proofFile = () => file('event.tlog-proof');
  const check = (path: string, key = 'first.key.pub') =>
    runProgram(['prove', '--check', path, '--key', file(key)], {});

  beforeAll(async () => {
    place = await openPlace('proof');
    expect(await place.program(['run'], signing('first.key'))).toMatchObject({ code: 0 });
    const { rows } = await place.client.query<{ id: string }>(
      'select event_id as id from audit.events order by created_on offset 7 limit 1',
    );
    eventId = rows[0]!.id;
    const { code, stderr } = await place.program(['prove', eventId, '--out', proofFile()]);
    expect([code, stderr]).toEqual([0, '']);
  });

  test('is checked without the database, with the public key or the verifier key', async () => {
    const { code, stdout } = await check(proofFile());
    expect([code, stdout]).toEqual([0, expect.stringContaining(eventId)]);
    const head = await place.program(['ledger', 'head', '--json'], trusting('first.key.pub'));
    writeFileSync(file('proof.vkey'), `${JSON.parse(head.stdout).heads[0].verifierKeys[0]}\n`);
    expect(await check(proofFile(), 'proof.vkey')).toMatchObject({ code: 0 });
  });

  test('is not accepted with another key', async () => {
    expect(await check(proofFile(), 'second.key.pub')).toMatchObject({ code: 2 });
  });

  test.each([
    ['another user', (extra: Extra) => edit(extra, 'record', (bytes) => bytes.fill(65, 300, 301))],
    ['another row', (extra: Extra) => ({ ...extra, row: { ...extra.row, index: extra.row.index + 1 } })],
    ['fewer rows', (extra: Extra) => ({ ...extra, row: { ...extra.row, count: extra.row.count - 1 } })],
    [
      'another path',
      (extra: Extra) => ({ ...extra, row: { ...extra.row, path: extra.row.path.toReversed() } }),
    ],
    [
      'another text of the entry',
      (extra: Extra) => ({ ...extra, entry: extra.entry.replace('"run":"', '"run":"9') }),
    ],
  ])('is not valid after it was edited: %s', async (name, change) => {
    const text = readFileSync(proofFile(), 'utf8');
    const [line] = text.match(/^extra .*$/m)!;
    const extra = JSON.parse(Buffer.from(line.slice(6), 'base64').toString()) as Extra;
    const edited = Buffer.from(JSON.stringify(change(extra))).toString('base64');
    writeFileSync(file('edited'), text.replace(line, `extra ${edited}`));
    const { code, stderr } = await check(file('edited'));
    expect([name, code, stderr]).toEqual([name, 3, expect.stringMatching(/do not lead to|lists/)]);
  });

  test.each([
    ['the index', (text: string) => text.replace(/^index (\d+)$/m, 'index 0')],
    ['the root', (text: string) => text.replace(/\n(\d+)\n.{4}/, '\n$1\nAAAA')],
    ['the size', (text: string) => text.replace(/\n(\d+)\n/, '\n1$1\n')],
    ['the signature', (text: string) => text.replace(/.{8}\n$/, 'AAAAAA==\n')],
    ['the header', (text: string) => text.replace('@v1', '@v2')],
    ['its end', (text: string) => text.slice(0, text.indexOf('\n\n'))],
  ])('is not valid after %s was edited', async (_name, change) => {
    writeFileSync(file('edited'), change(readFileSync(proofFile(), 'utf8')));
    const { code } = await check(file('edited'));
    expect([2, 3]).toContain(code);
  });

  test('is not written for an event that was edited, or that is not stored', async () => {
    await place.client.query(`update audit.events set user_name = 'Nobody' where event_id = $1`, [eventId]);
    const edited = await place.program(['prove', eventId]);
    expect([edited.code, edited.stderr]).toEqual([3, expect.stringContaining('changed by hand')]);
    const none = await place.program(['prove', '00000000-0000-4000-8000-000000000000']);
    expect([none.code, none.stderr]).toEqual([2, expect.stringContaining('No stored event')]);
  });
});

interface Extra {
  entry: string;
  record: string;
  row: { index: number; count: number; path: string[] };
}

function edit(extra: Extra, name: 'record', change: (bytes: Buffer) => Buffer): Extra {
  return { ...extra, [name]: change(Buffer.from(extra[name], 'base64')).toString('base64') };
}

describe('a database of version 0.1.0', () => {
  const fixture = (name: string) => readFileSync(new URL(`../fixtures/${name}`, import.meta.url), 'utf8');
  let place: Place;
  const heads: string[] = JSON.parse(fixture('database-0.1.0.json')).heads;

  beforeAll(async () => {
    const database = await createTestDatabase();
    closers.push(() => database.drop());
    place = await openPlace('upgraded', database);
    await place.client.query(fixture('database-0.1.0.sql'));
    expect(await place.program(['migrate'])).toMatchObject({ code: 0 });
  });

  test('is signed, gets entries of format 2, and still contains the heads that were noted before', async () => {
    expect(await place.program(['run'], signing('first.key'))).toMatchObject({ code: 0 });
    const signed = await place.program(['ledger', 'sign'], signing('first.key'));
    expect([signed.code, signed.stderr.match(/"level":"error".*/)?.[0]]).toEqual([0, undefined]);
    const { rows } = await place.client.query(
      'select format, count(*)::int as entries from audit.ledger group by format order by format',
    );
    expect(rows.map(({ format }) => format)).toEqual([1, 2]);
    for (const head of heads) {
      const { code, stdout } = await place.program(
        ['verify', '--offline', '--expect', head],
        trusting('first.key.pub'),
      );
      expect([head, code, code === 0 ? '' : stdout]).toEqual([head, 0, '']);
    }
  });

  test('has events that cannot be proven alone, and `prove` says why', async () => {
    const { rows } = await place.client.query<{ id: string }>(
      `select e.event_id as id from audit.events e join audit.ledger l using (organization, log, batch)
       where format = 1 and not exists (select from audit.ledger_changes c where c.event_id = e.event_id)
         and (select count(*) from audit.events other where other.event_id = e.event_id) = 1 limit 1`,
    );
    const { code, stderr } = await place.program(['prove', rows[0]!.id]);
    expect([code, stderr]).toEqual([2, expect.stringContaining('was written before version 0.3')]);
  });
});
