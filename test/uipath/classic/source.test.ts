import { afterEach, describe, expect, test } from '@jest/globals';
import { closeAll, emptyPage, openBench, openServer, openSimulator, sendJson } from '../support.ts';

afterEach(closeAll);

describe('a page', () => {
  test.each([
    ['plain', {}],
    ['gzipped', { gzip: true }],
    ['with a byte order mark', { bom: true }],
  ])('comes %s with every row as the source has it', async (_how, behaviour) => {
    const simulator = await openSimulator({ events: 300, ...behaviour });
    const { fetchPage, meter } = openBench(simulator);
    // Reads the clock: a bound of what the product reads from the same clock.
    const before = Date.now();
    const page = await fetchPage(10, 200);
    expect(page).toMatchObject({ skip: 10, top: 200, totalCount: 300 });
    expect(page.requestedAt.getTime()).toBeGreaterThanOrEqual(before);
    const sent = simulator.rows.slice(10, 210).map(({ text }) => JSON.parse(text));
    const got = page.rows.map(({ event }) => ({ ...event, createdOn: event!.createdOnRaw }));
    expect(got).toHaveLength(200);
    expect(got).toMatchObject(sent);
    expect(meter).toEqual({ requests: 1, retries: 0, retriesBy: {} });
  });

  test('is requested exactly as documented', async () => {
    const simulator = await openSimulator();
    await openBench(simulator, { language: 'pt-br' }).fetchPage(3, 2);
    const [token, list] = simulator.requests;
    expect(token).toMatchObject({ kind: 'token', method: 'POST' });
    expect(list).toMatchObject({ kind: 'list', method: 'GET', path: '/acme/audit_/api/auditlogs' });
    expect([...list!.query]).toEqual([
      ['language', 'pt-br'],
      ['top', '2'],
      ['skip', '3'],
      ['sortBy', 'createdOn'],
      ['sortOrder', 'asc'],
    ]);
    expect(list!.headers).toMatchObject({ 'content-type': 'application/json', 'accept-encoding': 'gzip' });
    expect(list!.headers.authorization).toMatch(/^Bearer \S+$/);
  });

  test.each([
    ['/acme/audit_/api/auditlogs', '/acme/audit_/api/auditlogs?language=en'],
    ['/audit_/api/auditlogs/b7006b1c', '/audit_/api/auditlogs/b7006b1c?language=en'],
    ['/acme/audit_/api/auditlogs/', '/acme/audit_/api/auditlogs/?language=en'],
    ['/x/auditlogs?tenant=a%20b', '/x/auditlogs?tenant=a+b&language=en'],
  ])('is requested at %s', async (path, begin) => {
    const server = await openServer(emptyPage);
    await openBench(server, { auditUrl: server.url + path, apiVersion: '1.0' }).fetchPage();
    const [, list] = server.seen;
    expect(list).toBe(`GET ${begin}&top=100&skip=0&sortBy=createdOn&sortOrder=asc&api-version=1.0`);
  });

  test('keeps its connection for the next one', async () => {
    const ports = new Set<number | undefined>();
    const server = await openServer((request, response, body) => {
      ports.add(request.socket.remotePort);
      emptyPage(request, response, body);
    });
    const { fetchPage } = openBench(server);
    for (let i = 0; i < 5; i++) await fetchPage();
    expect(ports.size).toBe(1);
  });

  test.each([
    ['at the time of this machine', {}, 0],
    ['a day ahead', { clockOffsetMs: 86_400_000 }, 86_400_000],
    ['a day behind', { clockOffsetMs: -86_400_000 }, -86_400_000],
    // Reads the clock: the simulator adds the offset to it.
    ['from 1970', { clockOffsetMs: -Date.now() }, undefined],
    ['that is not sent', { dateHeader: false }, undefined],
  ])('has the clock of the source, %s', async (_, behaviour, offsetMs) => {
    const simulator = await openSimulator({ gzip: true });
    simulator.set({ ...behaviour });
    // Reads the clock: as the simulator does; the header has whole seconds.
    const before = Date.now();
    const { sourceTime } = await openBench(simulator).fetchPage();
    // Reads the clock: as above.
    const after = Date.now();
    if (offsetMs === undefined) {
      expect(sourceTime).toBeUndefined();
      return;
    }
    expect(sourceTime!.getTime() % 1000).toBe(0);
    expect(sourceTime!.getTime()).toBeGreaterThan(before + offsetMs - 1000);
    expect(sourceTime!.getTime()).toBeLessThanOrEqual(after + offsetMs);
  });

  test('has the clock of the response with the rows, not of one that was retried', async () => {
    const dates = ['Mon, 03 Jun 2024 10:00:00 GMT', 'Tue, 04 Jun 2024 10:00:00 GMT'];
    const server = await openServer((_request, response) => {
      const [date, isLast] = [dates.shift()!, dates.length === 0];
      response.setHeader('Date', date);
      sendJson(response, isLast ? 200 : 503, { totalCount: 0, results: [] });
    });
    const { sourceTime } = await openBench(server).fetchPage();
    expect(sourceTime).toEqual(new Date('2024-06-04T10:00:00Z'));
  });

  test('is logged at debug without a secret', async () => {
    const simulator = await openSimulator();
    const { fetchPage, lines } = openBench(simulator);
    await fetchPage();
    const url = `${simulator.url}/acme/audit_/api/auditlogs?language=en&top=100&skip=0&sortBy=createdOn&sortOrder=asc`;
    expect(lines).toMatchObject([{ level: 'debug', message: 'page fetched', fields: { url, rows: 5 } }]);
  });
});

describe('a page beyond the size limit', () => {
  test('is requested again with half the rows until it fits', async () => {
    const simulator = await openSimulator({ events: 100 });
    const { fetchPage, meter } = openBench(simulator, { maxResponseBytes: 30_000 });
    const page = await fetchPage(0, 100);
    expect(page).toMatchObject({ top: 100, totalCount: 100 });
    expect(page.rows.length).toBeGreaterThan(0);
    expect(simulator.requests.flatMap(({ top }) => top ?? [])).toEqual(
      [100, 50, 25, 12].slice(0, meter.requests),
    );
    expect(meter.requests).toBeGreaterThan(1);
    expect(meter.retries).toBe(meter.requests - 1);
  });

  test('because of one large event leaves the event readable, with its neighbours', async () => {
    const rowAt = (second: number, length: number) =>
      JSON.stringify({ createdOn: `2026-01-01T00:00:0${second}Z`, auditLogDetails: 'x'.repeat(length) });
    const rows = [0, 1, 2, 3, 4, 5, 6, 7].map((second) => rowAt(second, second === 5 ? 9_000_000 : 10));
    const simulator = await openSimulator({ events: 0, rows });
    const { fetchPage, meter, lines } = openBench(simulator);
    const page = await fetchPage(4, 1000);
    expect(page).toMatchObject({ top: 1000, limit: 4 });
    expect(page.rows.map(({ event }) => event?.auditLogDetails?.length)).toEqual([10, 9_000_000, 10, 10]);
    expect(meter).toMatchObject({ retries: 0 });
    expect(lines.filter(({ level }) => level === 'warn')).toEqual([]);
  });

  test.each(['huge', 'bomb'] as const)('is an error with a %s single row', async (fault) => {
    const simulator = await openSimulator({ faults: [{ fault, bytes: 50_000_000 }] });
    const { fetchPage } = openBench(simulator, { maxResponseBytes: 1_000_000 });
    await expect(fetchPage(0, 4)).rejects.toMatchObject({
      code: 'configuration',
      message: expect.stringContaining('more than 1000000 bytes for a single row'),
    });
    expect(simulator.counts.list).toBe(3);
  });
});

describe('a token', () => {
  test('that expired is replaced once', async () => {
    const simulator = await openSimulator();
    const { fetchPage, meter, lines } = openBench(simulator);
    await fetchPage();
    simulator.revokeTokens();
    await fetchPage();
    expect(simulator.counts).toMatchObject({ token: 2, list: 3 });
    expect(meter).toEqual({ requests: 3, retries: 1, retriesBy: { 'HTTP 401': 1 } });
    expect(lines.filter(({ level }) => level === 'warn')).toMatchObject([{ fields: { reason: 'HTTP 401' } }]);
  });

  test('that expired is replaced once for all requests in flight', async () => {
    const simulator = await openSimulator();
    const { fetchPage } = openBench(simulator);
    await fetchPage();
    simulator.revokeTokens();
    await Promise.all([fetchPage(), fetchPage(1), fetchPage(2), fetchPage(3)]);
    expect(simulator.counts.token).toBe(2);
  });

  test('whose replacement is rejected too is an error', async () => {
    const simulator = await openSimulator({ faults: [{ fault: 401 }] });
    const { fetchPage, meter } = openBench(simulator);
    await expect(fetchPage()).rejects.toMatchObject({
      code: 'configuration',
      message: expect.stringContaining('A new token was rejected too'),
    });
    expect(simulator.counts).toMatchObject({ token: 2, list: 2 });
    expect(meter).toEqual({ requests: 2, retries: 1, retriesBy: { 'HTTP 401': 1 } });
  });

  test('that is fixed and rejected is an error at once', async () => {
    const simulator = await openSimulator();
    const { fetchPage } = openBench(simulator, {
      credentials: { kind: 'token', accessToken: 'expired-token' },
    });
    await expect(fetchPage()).rejects.toMatchObject({
      code: 'configuration',
      message: expect.stringContaining('UIPATH_ACCESS_TOKEN has expired'),
    });
    expect(simulator.counts).toMatchObject({ token: 0, list: 1 });
  });

  test('that is fixed and valid is used', async () => {
    const simulator = await openSimulator({ accessToken: 'a-personal-token' });
    const { fetchPage } = openBench(simulator, {
      credentials: { kind: 'token', accessToken: 'a-personal-token' },
    });
    expect((await fetchPage()).rows).toHaveLength(5);
  });

  test('without the scope is an error that names the scopes', async () => {
    const simulator = await openSimulator({ scopes: ['OR.Users.Read', 'PM.Audit.Read'] });
    const credentials = {
      kind: 'client' as const,
      clientId: simulator.clientId,
      clientSecret: simulator.clientSecret,
      scope: 'OR.Users.Read',
      tokenUrl: `${simulator.url}/acme/identity_/connect/token`,
    };
    await expect(openBench(simulator, { credentials }).fetchPage()).rejects.toMatchObject({
      code: 'configuration',
      message: expect.stringMatching(
        /HTTP 403 .*lacks the scope PM\.Audit or PM\.Audit\.Read: give it to the external application.*UIPATH_SCOPE/,
      ),
    });
    expect(simulator.counts.list).toBe(1);
  });
});

describe('a response that no retry can fix', () => {
  test.each([400, 404, 405, 410, 422, 451])('HTTP %i ends with its message and trace id', async (status) => {
    const server = await openServer((_request, response) => {
      sendJson(response, status, { message: 'Not like this', errorCode: 7, traceId: '00-4bf92f' });
    });
    const { fetchPage, meter } = openBench(server);
    await expect(fetchPage()).rejects.toMatchObject({
      code: 'configuration',
      message: expect.stringContaining(`responded with HTTP ${status} "Not like this" (trace id 00-4bf92f)`),
    });
    expect(meter).toEqual({ requests: 1, retries: 0, retriesBy: {} });
  });

  test('the portal page with status 200 names its URL', async () => {
    const simulator = await openSimulator();
    const { fetchPage } = openBench(simulator, { auditUrl: `${simulator.url}/acme/wrong` });
    await expect(fetchPage()).rejects.toMatchObject({
      code: 'configuration',
      message: expect.stringMatching(
        /\/acme\/wrong\?language=en.* responded with HTTP 200 and an HTML page.*UIPATH_AUDIT_PATH/,
      ),
    });
  });

  test.each([
    ['text/html', '{"totalCount":0,"results":[]}'],
    ['application/json', ' \r\n<html></html>'],
    ['application/json', '\uFEFF<!DOCTYPE html>'],
  ])('a body of type %s with %j is taken for a page, too', async (type, body) => {
    const server = await openServer((_request, response) => {
      response.writeHead(200, { 'Content-Type': type }).end(body);
    });
    await expect(openBench(server).fetchPage()).rejects.toMatchObject({
      code: 'configuration',
      message: expect.stringContaining('and an HTML page instead of JSON'),
    });
  });

  test.each([301, 302, 307, 308])('HTTP %i is not followed, and its host is named', async (status) => {
    const elsewhere = await openServer(emptyPage);
    const server = await openServer((_request, response) => {
      response.writeHead(status, { Location: `${elsewhere.url}/login?state=private` }).end();
    });
    await expect(openBench(server).fetchPage()).rejects.toMatchObject({
      code: 'configuration',
      message: expect.stringContaining(`a redirect to ${new URL(elsewhere.url).host}. It was not followed`),
    });
    expect(elsewhere.seen).toEqual([]);
  });

  test('JSON that is no list of audit logs is the source breaking its contract', async () => {
    const server = await openServer((_request, response) => sendJson(response, 200, { value: [] }));
    await expect(openBench(server).fetchPage()).rejects.toMatchObject({ code: 'source-invalid' });
  });
});
