/**
 * Each cell of the table in SECURITY.md: an attempt as a login, without and with a key, and what `verify --offline` finds.
 * `TAMPERING_TABLE=1 npm test -- test/runs/tampering -t SECURITY` writes table and list into it.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { ExportError } from '../../../src/core/errors.ts';
import type { Attempt, Found } from './attempt.ts';
import { ATTEMPTS } from './attempts.ts';
import { renderRest, renderTable } from './document.ts';
import { EVENT_COLUMNS } from './forging.ts';
import { LOGINS, type Login, openStage, type Stage } from './stage.ts';

const PRIVILEGE_IS_MISSING = '42501';

const DOCUMENT = new URL('../../../SECURITY.md', import.meta.url);

const nameOf = ({ row, variant }: Attempt) => (variant === undefined ? row : `${row}: ${variant}`);

/** Plays an attempt. Returns false if PostgreSQL refused it. */
async function play(stage: Stage, { play: attempt, isOutside }: Attempt, login: Login): Promise<boolean> {
  const client = stage.clients[login];
  if (!isOutside) await client.query('begin');
  try {
    await (typeof attempt === 'string' ? client.query(attempt) : attempt(client, stage));
    if (!isOutside) await client.query('commit');
    return true;
  } catch (error) {
    if (!isOutside) await client.query('rollback');
    if ((error as { code?: string }).code === PRIVILEGE_IS_MISSING) return false;
    throw error;
  }
}

async function find(stage: Stage): Promise<Found> {
  try {
    return (await stage.verify()).counts;
  } catch (error) {
    if (error instanceof ExportError && error.code === 'configuration') return 'exit code 2';
    throw error;
  }
}

describe.each([false, true])('with a key: %p', (isSigned) => {
  let stage: Stage;

  beforeAll(async () => {
    stage = await openStage({ isSigned });
  });
  afterAll(() => stage?.close());

  test('nothing is found without an attempt', async () => {
    for (const expected of [stage.noted.newest, stage.noted.earlier]) {
      const { counts, reports } = await stage.verify(expected);
      expect([counts, reports.flatMap(({ examples }) => examples)]).toEqual([{}, []]);
    }
    expect(await stage.verifyOnline()).toEqual({});
    // It records what it has verified.
    expect([(await stage.verify()).counts, await stage.verifyState()]).toEqual([{}, []]);
    await stage.restore();
  });

  test('the attempts edit every column of an event', async () => {
    const { rows } = await stage.clients.superuser.query<{ name: string }>(
      `select attname as name from pg_attribute where attrelid = 'audit.events'::regclass and attnum > 0 and not attisdropped`,
    );
    expect([...EVENT_COLUMNS].sort()).toEqual(rows.map(({ name }) => name).sort());
  });

  const attempts = ATTEMPTS.filter(({ found }) => isSigned || found !== null);
  describe.each(attempts.map((attempt) => [nameOf(attempt), attempt] as const))('%s', (_name, attempt) => {
    const { by, found, signed = found, expected, signedExpected = expected, online, byState, undo } = attempt;
    afterEach(async () => {
      if (undo) await stage.clients.superuser.query(undo);
      await stage.restore();
    });

    test.each(LOGINS)('by %s', async (login) => {
      expect(await play(stage, attempt, login)).toBe(by.includes(login));
      if (!by.includes(login)) return;
      const said = await find(stage);
      expect(said).toEqual(isSigned ? signed : found);
      const state = await stage.verifyState();
      if (byState) expect(state).not.toEqual([]);
      else if (Object.keys(said).length === 0) expect(state).toEqual([]);
      const withHead = isSigned ? signedExpected : expected;
      if (withHead) expect((await stage.verify(stage.noted.newest)).counts).toEqual(withHead);
      if (online) expect(await stage.verifyOnline()).toEqual(online);
    });
  });
});

test.each([
  ['attempts', renderTable],
  ['remaining', renderRest],
])('SECURITY.md has the list of %s that these tests play', (name, render) => {
  const text = readFileSync(DOCUMENT, 'utf8');
  const [begin, end] = [`<!-- ${name} -->\n\n`, `\n\n<!-- end of ${name} -->`];
  const from = text.indexOf(begin) + begin.length;
  const to = text.indexOf(end);
  expect(Math.min(from - begin.length, to)).toBeGreaterThan(0);
  const rendered = render(ATTEMPTS);
  if (process.env.TAMPERING_TABLE) writeFileSync(DOCUMENT, text.slice(0, from) + rendered + text.slice(to));
  expect(readFileSync(DOCUMENT, 'utf8').slice(from, to)).toBe(rendered);
});
