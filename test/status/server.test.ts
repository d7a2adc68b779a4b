import { once } from 'node:events';
import { request } from 'node:http';
import { connect } from 'node:net';
import { networkInterfaces } from 'node:os';
import { afterEach, describe, expect, test } from '@jest/globals';
import { ExportError } from '../../src/core/errors.ts';
import { createLog } from '../../src/log.ts';
import { createHealth } from '../../src/status/health.ts';
import { createMetrics } from '../../src/status/metrics.ts';
import { createStatusServer, type StatusServer, type StatusServerOptions } from '../../src/status/server.ts';
import { activity, organizationStatus, runRecord, statusReport } from './support.ts';

const open: StatusServer[] = [];

afterEach(async () => {
  await Promise.all(open.splice(0).map((server) => server.close()));
});

async function serve(given: Partial<StatusServerOptions> = {}) {
  const health = given.health ?? createHealth(['acme']);
  const server = await createStatusServer({
    host: '127.0.0.1',
    port: 0,
    health,
    metrics: createMetrics(),
    readStatus: async () => statusReport(),
    readActivity: async () => activity(),
    log: createLog({ level: 'silent' }),
    nextRunAt: () => undefined,
    statusAgeMs: 0,
    ...given,
  });
  open.push(server);
  return { ...server, health };
}

/** With a path and headers just as they are given, which `fetch` would mend. */
async function ask(
  url: string,
  path: string,
  options: { method?: string; headers?: Record<string, string> } = {},
) {
  const { hostname, port } = new URL(url);
  const outgoing = request({ hostname, port, path, agent: false, ...options });
  outgoing.end();
  const [response] = await once(outgoing, 'response');
  let body = '';
  for await (const chunk of response) body += chunk;
  return { status: response.statusCode as number, headers: response.headers, body };
}

describe('routes', () => {
  test('the page, health, readiness and metrics are served, and nothing else', async () => {
    const { url } = await serve();
    const types = await Promise.all(
      ['/', '/healthz', '/readyz?probe=1', '/metrics'].map(async (path) => {
        const { status, headers } = await ask(url, path);
        return [status, headers['content-type']?.split(';')[0]];
      }),
    );
    expect(types).toEqual([
      [200, 'text/html'],
      [200, 'application/json'],
      [200, 'application/json'],
      [200, 'text/plain'],
    ]);
    for (const path of ['/favicon.ico', '//', '/../package.json', '/constructor', '*']) {
      expect((await ask(url, path)).status).toBe(404);
    }
  });

  test('HEAD gives the headers of GET and no body', async () => {
    const { url } = await serve();
    const [get, head] = [await ask(url, '/readyz'), await ask(url, '/readyz', { method: 'HEAD' })];
    expect(head.body).toBe('');
    expect(head.status).toBe(200);
    expect(head.headers['content-length']).toBe(String(Buffer.byteLength(get.body)));
  });

  test.each(['POST', 'PUT', 'DELETE', 'OPTIONS', 'TRACE'])('%s is refused', async (method) => {
    const { url } = await serve();
    for (const path of ['/', '/nothing']) {
      const { status, headers } = await ask(url, path, { method });
      expect([status, headers.allow]).toEqual([405, 'GET, HEAD']);
    }
  });

  test('each response has the security headers, and the page allows only its own style and script', async () => {
    const { url } = await serve();
    for (const path of ['/', '/healthz', '/readyz', '/metrics', '/nothing']) {
      const { headers } = await ask(url, path);
      expect(headers).toMatchObject({
        'x-content-type-options': 'nosniff',
        'referrer-policy': 'no-referrer',
        'cache-control': 'no-store',
        'x-frame-options': 'DENY',
        'cross-origin-resource-policy': 'same-origin',
      });
      const policy = String(headers['content-security-policy']);
      expect(policy).toMatch(/^default-src 'none';.*frame-ancestors 'none'/);
      expect(policy).not.toContain('unsafe');
      expect(policy.includes("style-src 'sha256-")).toBe(path === '/');
      expect(policy.includes("script-src 'sha256-")).toBe(path === '/');
    }
  });

  test('the page of an unknown organization is not found', async () => {
    const { url } = await serve();
    const found = await Promise.all(
      ['/?organization=acme', '/?organization=nobody', '/?organization='].map(async (path) => {
        const { status, body } = await ask(url, path);
        return [status, body.includes('<h2>No organization of this name</h2>')];
      }),
    );
    expect(found).toEqual([
      [200, false],
      [404, true],
      [404, true],
    ]);
  });

  test('the page is served without its charts when these cannot be read', async () => {
    const readActivity = async () => {
      throw new ExportError('database', 'no such table');
    };
    const { status, body } = await ask((await serve({ readActivity })).url, '/');
    expect([status, body.includes('could not be read')]).toEqual([200, true]);
  });

  test('a fault of the program is a response with 500 and without details', async () => {
    const nextRunAt = () => {
      throw new Error('the name of Alice');
    };
    const { url } = await serve({ nextRunAt });
    const { status, body } = await ask(url, '/');
    expect([status, body]).toEqual([500, 'Internal error; see the log.\n']);
    expect((await ask(url, '/healthz')).status).toBe(200);
  });
});

describe('readiness', () => {
  const ready = async (url: string) => {
    const { status, body } = await ask(url, '/readyz');
    return [status, JSON.parse(body).reasons];
  };

  test('follows the database, while the process stays alive', async () => {
    let isAway = true;
    const { url } = await serve({
      readStatus: async () => {
        if (isAway) throw new ExportError('database-away', 'connect ECONNREFUSED.');
        return statusReport();
      },
    });
    expect(await ready(url)).toEqual([503, ['database: connect ECONNREFUSED.']]);
    expect((await ask(url, '/healthz')).status).toBe(200);
    expect((await ask(url, '/')).body).toContain('Not known: the database does not respond');
    isAway = false;
    expect(await ready(url)).toEqual([200, []]);
    expect((await ask(url, '/metrics')).body).toContain('uipath_audit_export_database_up 1');
    isAway = true;
    expect((await ask(url, '/metrics')).body).toContain('uipath_audit_export_database_up 0');
  });

  test('waits for migrations', async () => {
    const migrations = { applied: [], pending: ['0001_audit_tables'] };
    const { url } = await serve({ readStatus: async () => statusReport({ migrations }) });
    expect(await ready(url)).toEqual([503, ['database: migrations are pending: 0001_audit_tables']]);
  });

  test('ends with a run of this process that failed, not with one of the history', async () => {
    const runs = [runRecord({ outcome: 'failed', error: 'x' })];
    const report = statusReport({ organizations: [organizationStatus({ runs })] });
    const { url, health } = await serve({ readStatus: async () => report });
    health.of('acme').runFailed('run', new ExportError('locked', 'Another worker exports acme.'));
    expect(await ready(url)).toEqual([200, []]);
    health.of('acme').runFailed('run', new ExportError('source-away', 'HTTP 503'));
    expect(await ready(url)).toEqual([503, ['last run: HTTP 503']]);
  });

  test('outlasts one organization of several that fails, and names it', async () => {
    const health = createHealth(['acme', 'beta']);
    const { url } = await serve({ health });
    health.of('acme').runFailed('run', new ExportError('source-away', 'HTTP 503'));
    const { status, body } = await ask(url, '/readyz');
    const failing = ['acme: last run: HTTP 503'];
    expect([status, JSON.parse(body)]).toEqual([200, { ready: true, reasons: [], failing }]);
  });
});

test('status and activity are read once for many simultaneous requests', async () => {
  let questions = 0;
  const readStatus = async () => {
    questions += 1;
    return statusReport();
  };
  const readActivity = async () => {
    questions += 1;
    return activity();
  };
  const { url } = await serve({ readStatus, readActivity, statusAgeMs: 60_000 });
  const responses = await Promise.all(Array.from({ length: 20 }, () => ask(url, '/')));
  expect(responses.every(({ status }) => status === 200)).toBe(true);
  expect(questions).toBe(2);
});

describe('clients', () => {
  /** Sends `text` and returns what it received until the server closed the connection. */
  async function send(url: string, text: string): Promise<string> {
    const { hostname, port } = new URL(url);
    const socket = connect(Number(port), hostname);
    socket.on('error', () => {});
    socket.write(text);
    let received = '';
    socket.on('data', (chunk) => {
      received += chunk;
    });
    await once(socket, 'close');
    return received;
  }

  test.each([
    ['its headers', 'GET / HTTP/1.1\r\nHost: x\r\n'],
    ['its body', 'GET /nothing HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nab'],
    ['anything', ''],
    ['the next request', 'GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n'],
  ])('that do not send %s are dropped', async (_, text) => {
    const { url } = await serve({ clientTimeoutMs: 100 });
    const startedAt = performance.now();
    await send(url, text);
    expect(performance.now() - startedAt).toBeLessThan(5_000);
  });

  test.each([
    ['headers', 'GET / HTTP/1.1\r\nHost: x\r\nX-Slow: '],
    ['a body', 'GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n'],
  ])('that send %s a byte at a time are dropped', async (_, text) => {
    const { url } = await serve({ clientTimeoutMs: 100 });
    const { hostname, port } = new URL(url);
    const socket = connect(Number(port), hostname);
    socket.on('error', () => {}).resume();
    socket.write(text);
    const drip = setInterval(() => socket.write('a'), 20);
    await once(socket, 'close');
    clearInterval(drip);
  });

  test('that do not read their response are dropped', async () => {
    // More than the sockets' buffers on both ends hold.
    const runs = [runRecord({ outcome: 'failed', error: 'x'.repeat(20_000_000) })];
    const report = statusReport({ organizations: [organizationStatus({ runs })] });
    const { url } = await serve({ clientTimeoutMs: 100, readStatus: async () => report });
    const { hostname, port } = new URL(url);
    const socket = connect(Number(port), hostname);
    socket.on('error', () => {});
    socket.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n');
    // The time-out counts from here, however long the page took to make; nothing more is read meanwhile.
    await once(socket, 'readable');
    await new Promise((resolve) => setTimeout(resolve, 2_000));
    let received = 0;
    socket.on('data', (chunk) => {
      received += chunk.length;
    });
    await once(socket.resume(), 'close');
    expect(received).toBeGreaterThan(0);
    expect(received).toBeLessThan(20_000_000);
  });

  test('beyond a hundred at once are turned away', async () => {
    const { url } = await serve();
    const { hostname, port } = new URL(url);
    const sockets = Array.from({ length: 100 }, () => connect(Number(port), hostname).on('error', () => {}));
    await Promise.all(sockets.map((socket) => once(socket, 'connect')));
    const received = send(url, 'GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n');
    expect(await received.catch(() => '')).toBe('');
    for (const socket of sockets) socket.destroy();
  });

  test('that pipeline many requests receive 50 responses', async () => {
    const { url } = await serve({ clientTimeoutMs: 2_000 });
    const received = await send(url, 'GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n'.repeat(60));
    expect(received.match(/HTTP\/1\.1 200 /g)).toHaveLength(50);
  });

  test('with more headers than 8 KiB are refused', async () => {
    const { url } = await serve();
    const response = await send(url, `GET / HTTP/1.1\r\nHost: x\r\nX-Long: ${'a'.repeat(9_000)}\r\n\r\n`);
    expect(response).toMatch(/^HTTP\/1.1 431 /);
  });

  test('that keep a connection open do not delay the shutdown', async () => {
    const { url, close } = await serve();
    const { hostname, port } = new URL(url);
    const socket = connect(Number(port), hostname);
    socket.on('error', () => {});
    socket.write('GET / HTTP/1.1\r\n');
    await once(socket, 'connect');
    const startedAt = performance.now();
    await Promise.all([close(), close()]);
    expect(performance.now() - startedAt).toBeLessThan(3_000);
    await expect(ask(url, '/healthz')).rejects.toThrow(/ECONNREFUSED/);
  });
});

describe('listening', () => {
  test('on a port that is taken is a configuration error that names STATUS_PORT', async () => {
    const { url } = await serve();
    const port = Number(new URL(url).port);
    const error = await serve({ port }).catch((reason) => reason);
    expect(error).toBeInstanceOf(ExportError);
    expect(error).toMatchObject({ code: 'configuration' });
    expect(error.message).toMatch(new RegExp(`127\\.0\\.0\\.1:${port}.*EADDRINUSE.*STATUS_PORT`));
  });

  test('on an address that is not this machine’s names STATUS_HOST', async () => {
    await expect(serve({ host: '203.0.113.1' })).rejects.toThrow(/STATUS_HOST/);
  });

  const hasIpv6 = Object.values(networkInterfaces()).some((all) =>
    all?.some(({ address }) => address === '::1'),
  );
  (hasIpv6 ? test : test.skip)('on IPv6 gives a URL that works', async () => {
    const { url } = await serve({ host: '::1' });
    expect((await fetch(`${url}/healthz`)).status).toBe(200);
  });
});
