import { afterEach, describe, expect, test } from '@jest/globals';
import type { RequestMeter } from '../../../src/core/source.ts';
import {
  closeAll,
  emptyPage,
  openBench,
  openServer,
  openSimulator,
  type Respond,
  sendJson,
} from '../support.ts';

afterEach(closeAll);

const signal = new AbortController().signal;

async function openTokenServer(token: Respond) {
  const server = await openServer(emptyPage, token);
  const clock = { now: Date.parse('2024-05-01T12:00:00Z') };
  const bench = openBench(server, { now: () => clock.now });
  return { ...bench, server, clock, fetchToken: () => bench.source.fetchToken({ signal }) };
}

/** Numbered tokens with this `expires_in`. */
function numbered(expiresIn: unknown): Respond {
  let number = 0;
  return (_request, response) => {
    number++;
    sendJson(response, 200, { access_token: `token-${number}`, expires_in: expiresIn, scope: 'PM.Audit' });
  };
}

test('client credentials are posted as a form', async () => {
  let form = '';
  let type: string | undefined;
  const { fetchToken } = await openTokenServer((request, response, body) => {
    form = body;
    type = request.headers['content-type'];
    sendJson(response, 200, { access_token: 'x', expires_in: 3600 });
  });
  await fetchToken();
  expect(type).toBe('application/x-www-form-urlencoded');
  expect(Object.fromEntries(new URLSearchParams(form))).toEqual({
    grant_type: 'client_credentials',
    client_id: 'client',
    client_secret: 'the-secret',
    scope: 'PM.Audit.Read',
  });
});

describe('a token is kept until shortly before it expires', () => {
  test.each([
    [3600, 3540],
    ['3600', 3540],
    [100, 90],
    [' 30 ', 27],
    [undefined, 3540],
    ['an hour', 3540],
    ['', 3540],
    [0, 0],
    [-5, 0],
  ])('an expires_in of %j keeps it for %i s', async (expiresIn, keptSeconds) => {
    const { fetchToken, clock } = await openTokenServer(numbered(expiresIn));
    const first = await fetchToken();
    expect(first).toMatchObject({ value: 'token-1', scope: 'PM.Audit' });
    const begin = clock.now;
    if (keptSeconds > 0) {
      clock.now = begin + keptSeconds * 1000 - 1;
      expect(await fetchToken()).toMatchObject({ value: 'token-1' });
    }
    clock.now = begin + keptSeconds * 1000;
    expect(await fetchToken()).toMatchObject({ value: 'token-2' });
  });
});

test('many callers share one request, and a new one follows a failed one', async () => {
  let isAway = true;
  const good = numbered(3600);
  const { fetchToken, server } = await openTokenServer((request, response, body) => {
    if (isAway) sendJson(response, 400, { error: 'invalid_client' });
    else good(request, response, body);
  });
  const failed = await Promise.allSettled([fetchToken(), fetchToken(), fetchToken()]);
  expect(failed.map(({ status }) => status)).toEqual(['rejected', 'rejected', 'rejected']);
  isAway = false;
  const tokens = await Promise.all([fetchToken(), fetchToken(), fetchToken()]);
  expect(tokens.map(({ value }) => value)).toEqual(['token-1', 'token-1', 'token-1']);
  expect(server.seen).toHaveLength(2);
});

test('onToken receives a new token before it is used', async () => {
  const simulator = await openSimulator();
  const told: string[] = [];
  const bench = openBench(simulator, { onToken: (value) => told.push(value) });
  await bench.fetchPage();
  expect(simulator.requests[1]!.headers.authorization).toBe(`Bearer ${told[0]}`);
});

describe('a token request that is rejected', () => {
  test.each([
    [
      { error: 'invalid_client' },
      /HTTP 400 "invalid_client"\. Check UIPATH_CLIENT_ID and UIPATH_CLIENT_SECRET/,
    ],
    [{ error: 'invalid_scope' }, /HTTP 400 "invalid_scope"\. Check UIPATH_SCOPE/],
    [{ error: 'unauthorized_client' }, /application must be a confidential one/],
    [
      { error: 'invalid_client', error_description: 'No such client' },
      /HTTP 400 "No such client" \[invalid_client\]\. Check UIPATH_CLIENT_ID/,
    ],
    [
      { message: 'Tenant gone', traceId: 't1' },
      /HTTP 400 "Tenant gone" \(trace id t1\)\. Check UIPATH_ORGANIZATION and UIPATH_TOKEN_URL/,
    ],
  ])('%j says what to check', async (body, message) => {
    const { fetchToken, server } = await openTokenServer((_request, response) =>
      sendJson(response, 400, body),
    );
    await expect(fetchToken()).rejects.toMatchObject({
      code: 'configuration',
      message: expect.stringMatching(message),
    });
    expect(server.seen).toHaveLength(1);
  });

  test('by the simulator for a wrong secret', async () => {
    const simulator = await openSimulator();
    const { source } = openBench({ ...simulator, clientSecret: 'a-wrong-secret' });
    const error = await source.fetchToken({ signal }).catch((caught: Error) => caught);
    expect(error).toMatchObject({
      code: 'configuration',
      message: expect.stringContaining('invalid_client'),
    });
    expect(String(error)).not.toContain('a-wrong-secret');
  });

  test.each([
    ['an HTML page', 'text/html', '<!DOCTYPE html>', 'and an HTML page instead of JSON'],
    ['JSON without a token', 'application/json', '{"token":"x"}', 'JSON without an access_token'],
    ['null', 'application/json', 'null', 'JSON without an access_token'],
    ['a token with a line break', 'application/json', '{"access_token":"a\\nb"}', 'a space, a line break'],
  ])('%s at the token URL is a wrong URL', async (_what, type, body, found) => {
    const { fetchToken, server } = await openTokenServer((_request, response) => {
      response.writeHead(200, { 'Content-Type': type }).end(body);
    });
    const error = await fetchToken().catch((caught: Error) => caught as Error);
    expect(error).toMatchObject({ code: 'configuration', message: expect.stringContaining(found) });
    expect(String(error)).toContain(`${server.url}/acme/identity_/connect/token`);
  });

  test('a page says that the token URL differs by product', async () => {
    const { fetchToken } = await openTokenServer((_request, response) => {
      response.writeHead(200, { 'Content-Type': 'text/html' }).end('<html>');
    });
    await expect(fetchToken()).rejects.toThrow(
      /UIPATH_TOKEN_URL.*identity\/connect\/token \(no underscore\)/,
    );
  });

  test('a redirect is not followed with the secret', async () => {
    const elsewhere = await openServer(emptyPage);
    const { fetchToken } = await openTokenServer((_request, response) => {
      response.writeHead(307, { Location: `${elsewhere.url}/connect/token` }).end();
    });
    await expect(fetchToken()).rejects.toThrow(`a redirect to ${new URL(elsewhere.url).host}`);
    expect(elsewhere.seen).toEqual([]);
  });

  test('concurrent callers with one meter count its retries once', async () => {
    const simulator = await openSimulator({ faults: [{ fault: 503, on: 'token', next: 2 }] });
    const { fetchPage, meter } = openBench(simulator);
    await Promise.all([fetchPage(), fetchPage(), fetchPage()]);
    expect(meter).toMatchObject({ requests: 3, retries: 2 });
    await fetchPage();
    expect(meter).toMatchObject({ requests: 4, retries: 2 });
  });

  test('a fixed token that is not valid in a header is an error before any request', async () => {
    expect(() =>
      openBench({ url: 'http://127.0.0.1:9' }, { credentials: { kind: 'token', accessToken: 'a\r\nb' } }),
    ).toThrow('UIPATH_ACCESS_TOKEN contains a space');
  });
});

describe('a token endpoint that is unavailable', () => {
  test.each([429, 500, 503, 'reset', 'half-length', 'half-clean'] as const)(
    '%s is retried',
    async (fault) => {
      const simulator = await openSimulator({ faults: [{ fault, on: 'token', next: 2 }] });
      const { fetchPage, waits, meter } = openBench(simulator);
      expect((await fetchPage()).rows).toHaveLength(5);
      expect(waits).toEqual([500, 1000]);
      const reason =
        typeof fault === 'number'
          ? `HTTP ${fault}`
          : expect.stringMatching(/^(network fault|unreadable body)$/);
      expect(Object.entries((meter as RequestMeter).retriesBy!)).toEqual([[reason, 2]]);
      expect(meter).toMatchObject({ requests: 1, retries: 2 });
    },
  );

  test('permanently is an error that names it', async () => {
    const simulator = await openSimulator({ faults: [{ fault: 503, on: 'token' }] });
    const { fetchPage } = openBench(simulator);
    await expect(fetchPage()).rejects.toMatchObject({
      code: 'source-away',
      message: expect.stringMatching(
        /^No usable response from http:.*\/connect\/token after 4 attempts: HTTP 503/,
      ),
    });
    expect(simulator.counts).toMatchObject({ token: 4, list: 0 });
  });

  test('closing the source ends the request', async () => {
    const { fetchToken, source } = await openTokenServer(() => {});
    setTimeout(() => source.close(), 50);
    await expect(fetchToken()).rejects.toMatchObject({ code: 'interrupted' });
  });
});
