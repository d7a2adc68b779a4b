import { describe, expect, test } from '@jest/globals';
import { fetchToken, getList, LIST_PATH, postToken, readPage, readTimes, withSimulator } from './client.ts';

const GUID = '11111111-2222-3333-4444-555555555555';

describe('the token endpoint', () => {
  test.each(['/acme/identity_/connect/token', '/identity_/connect/token', '/identity/connect/token'])(
    'issues a token at %s that opens the list',
    (path) =>
      withSimulator({ events: 3 }, async (simulator) => {
        const reply = await postToken(simulator, {}, path);
        const { access_token: token, ...rest } = JSON.parse(reply.text);
        expect(rest).toEqual({ expires_in: 3600, token_type: 'Bearer', scope: 'PM.Audit.Read' });
        expect((await readPage(simulator, 'top=5', token)).totalCount).toBe(3);
        expect(simulator.counts).toMatchObject({ token: 1, list: 1, rows: 3 });
      }),
  );

  test.each([
    [{ client_secret: 'wrong' }, 'invalid_client'],
    [{ client_id: 'wrong' }, 'invalid_client'],
    [{ scope: 'PM.Nothing' }, 'invalid_scope'],
    [{ grant_type: 'password' }, 'unsupported_grant_type'],
  ])('responds to %j with HTTP 400 and %s', (form, error) =>
    withSimulator({}, async (simulator) => {
      const reply = await postToken(simulator, form);
      expect([reply.status, JSON.parse(reply.text)]).toEqual([400, { error }]);
    }),
  );

  test('sends expires_in as text, or a wrong one, if configured', () =>
    withSimulator({ expiresInAsText: true, expiresIn: 5 }, async (simulator) => {
      expect(JSON.parse((await postToken(simulator)).text).expires_in).toBe('5');
    }));
});

describe('the list', () => {
  test.each([
    LIST_PATH,
    `${LIST_PATH}/`,
    `/audit_/api/auditlogs/${GUID}`,
    `/acme/audit_/api/auditlogs/${GUID}`,
    '/acme/DefaultTenant/audit_/api/auditlogs',
    `/acme/portal_/api/auditLog/${GUID}`,
    `/identity_/api/AuditQuery/${GUID}`,
  ])('is at %s', (path) =>
    withSimulator({ events: 2, partitionGlobalId: GUID }, async (simulator) => {
      expect(JSON.parse((await getList(simulator, 'top=1', { path })).text).totalCount).toBe(2);
    }),
  );

  test.each([
    '/',
    '/other/audit_/api/auditlogs',
    '/audit_/api/auditlogs',
    '/acme/audit_/api/auditlogs/other',
  ])('is not at %s, which responds with 200 and the portal page', (path) =>
    withSimulator({ events: 2 }, async (simulator) => {
      const reply = await getList(simulator, 'top=1', { path });
      expect([reply.status, reply.headers.get('content-type')]).toEqual([200, 'text/html']);
      expect(reply.text).toContain('<!DOCTYPE html>');
      expect(simulator.requests.at(-1)).toMatchObject({ kind: 'portal', path });
    }),
  );

  test('returns exactly the rows of the list, by skip and top', () =>
    withSimulator({ events: 2500, seed: 3 }, async (simulator) => {
      const reply = await getList(simulator, 'sortBy=createdOn&sortOrder=asc&skip=1000&top=1100');
      const texts = simulator.rows.slice(1000, 2100).map((row) => row.text);
      expect(reply.text).toBe(`{"totalCount":2500,"results":[${texts.join(',')}]}`);
      expect(simulator.requests.at(-1)).toMatchObject({
        kind: 'list',
        skip: 1000,
        top: 1100,
        status: 200,
        rows: 1100,
      });
    }));

  test('is newest first unless ascending createdOn is requested', () =>
    withSimulator({ events: 300 }, async (simulator) => {
      const newestFirst = simulator.rows.map((row) => row.text).reverse();
      for (const query of ['', 'sortOrder=asc', 'sortBy=createdOn', 'sortBy=createdOn&sortOrder=desc']) {
        const { text } = await getList(simulator, `${query}&skip=10&top=5`);
        expect(text).toBe(`{"totalCount":300,"results":[${newestFirst.slice(10, 15).join(',')}]}`);
      }
    }));

  test('is empty beyond its end and for top=0', () =>
    withSimulator({ events: 10 }, async (simulator) => {
      expect(await readPage(simulator, 'skip=10&top=5')).toEqual({ totalCount: 10, results: [] });
      expect(await readPage(simulator, 'skip=9999&top=5')).toEqual({ totalCount: 10, results: [] });
      expect(await readPage(simulator, 'top=0')).toEqual({ totalCount: 10, results: [] });
    }));

  test('returns the default number of rows without top, and ignores unknown parameters', () =>
    withSimulator({ events: 100, defaultTop: 7 }, async (simulator) => {
      expect((await readPage(simulator, 'api-version=1&from=2020&nonsense')).results).toHaveLength(7);
    }));

  test.each(['top=-1', 'top=x', 'skip=1.5', 'skip=3000000000', 'sortOrder=ascending'])(
    'refuses %s',
    (query) =>
      withSimulator({ events: 1 }, async (simulator) => {
        const reply = await getList(simulator, query);
        expect([reply.status, JSON.parse(reply.text).message]).toEqual([
          400,
          expect.stringContaining('is not valid for'),
        ]);
      }),
  );

  test('renders only the message in the requested language', () =>
    withSimulator({ events: 200 }, async (simulator) => {
      const [en, de, ja, ru] = await Promise.all(
        ['en', 'de', 'ja', 'ru'].map(
          async (language) => (await readPage(simulator, `top=200&language=${language}`)).results!,
        ),
      );
      const login = en!.findIndex((row) => row.action === 'Login');
      const name = en![login]!.userName;
      expect(en![login]!.message).toBe(`User '${name}' logged in`);
      expect(de![login]!.message).toBe(`Benutzer '${name}' hat sich angemeldet`);
      expect(ja![login]!.message).toBe(`ユーザー「${name}」がログインしました`);
      expect(ru).toEqual(en);
      expect(de!.map((row) => ({ ...row, message: '' }))).toEqual(
        en!.map((row) => ({ ...row, message: '' })),
      );
      expect([...simulator.iterateRows('de')].map((row) => JSON.parse(row.text))).toEqual(de);
    }));

  test('compresses only if enabled and accepted by the client', () =>
    withSimulator({ events: 500 }, async (simulator) => {
      const encodings: (string | null)[] = [];
      for (const [gzip, accepted] of [
        [false, 'gzip'],
        [true, 'identity'],
        [true, 'gzip, br'],
      ] as const) {
        simulator.set({ gzip });
        const reply = await getList(simulator, 'top=500', { headers: { 'Accept-Encoding': accepted } });
        encodings.push(reply.headers.get('content-encoding'));
        expect(JSON.parse(reply.text).results).toHaveLength(500);
      }
      expect(encodings).toEqual([null, null, 'gzip']);
    }));
});

describe('access', () => {
  test('is 401 without a token, with an unknown one, and with one that was revoked', () =>
    withSimulator({ events: 1 }, async (simulator) => {
      const token = await fetchToken(simulator);
      expect((await getList(simulator, '', { token })).status).toBe(200);
      expect((await getList(simulator, '', { headers: { Authorization: '' } })).status).toBe(401);
      expect((await getList(simulator, '', { token: 'unknown' })).status).toBe(401);
      simulator.revokeTokens();
      expect((await getList(simulator, '', { token })).status).toBe(401);
    }));

  test('is 401 when the token has expired, regardless of expires_in', () =>
    withSimulator({ events: 1, tokenLifeSeconds: 0, expiresIn: 3600 }, async (simulator) => {
      expect((await getList(simulator, '')).status).toBe(401);
    }));

  test('is 403 without a scope that reads the audit log', () =>
    withSimulator({ events: 1 }, async (simulator) => {
      const token = await fetchToken(simulator, { scope: 'OR.Users.Read' });
      expect((await getList(simulator, '', { token })).status).toBe(403);
    }));

  test('is granted to a fixed token, which cannot be revoked', () =>
    withSimulator({ events: 1, accessToken: 'personal' }, async (simulator) => {
      simulator.revokeTokens();
      expect((await getList(simulator, '', { token: 'personal' })).status).toBe(200);
    }));

  test('requires the documented content type', () =>
    withSimulator({ events: 1 }, async (simulator) => {
      const reply = await getList(simulator, '', { headers: { 'Content-Type': 'text/plain' } });
      expect([reply.status, JSON.parse(reply.text).message]).toEqual([
        400,
        'The header Content-Type: application/json is missing',
      ]);
    }));
});

test('closing ends a request that would wait forever', async () => {
  await withSimulator({ events: 1, faults: [{ fault: 'silence' }] }, async (simulator) => {
    const waiting = getList(simulator, '', { token: await fetchToken(simulator) }).then(
      () => 'responded',
      () => 'broken',
    );
    while (simulator.counts.list === 0) await new Promise((resolve) => setTimeout(resolve, 1));
    await simulator.close();
    expect(await waiting).toBe('broken');
  });
});

test('connections are kept alive', () =>
  withSimulator({ events: 1 }, async (simulator) => {
    expect((await getList(simulator, '')).headers.get('connection')).toBe('keep-alive');
    expect(await readTimes(simulator)).toHaveLength(1);
  }));
