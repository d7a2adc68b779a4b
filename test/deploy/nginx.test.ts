/** The recipe of deploy/nginx with a real nginx, before the status server with a token; only paths and ports are replaced. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { get } from 'node:http';
import { Agent, request } from 'node:https';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { createLog } from '../../src/log.ts';
import { createHealth } from '../../src/status/health.ts';
import { createMetrics } from '../../src/status/metrics.ts';
import { createStatusServer, type StatusServer } from '../../src/status/server.ts';
import { activity, statusReport } from '../status/support.ts';
import { type Authority, createAuthority } from '../support/authority.ts';
import { hasNginx } from '../support/nginx.ts';
import { ROOT } from '../support/root.ts';

const NAME = 'audit.example.org';
const TOKEN = 'token-of-the-worker';
const PASSWORD = 'alice-has-a-password';

(hasNginx ? describe : describe.skip)('behind nginx', () => {
  let directory: string;
  let authority: Authority;
  let worker: StatusServer;
  let nginx: ChildProcess;
  let ports: { http: number; https: number };

  beforeAll(async () => {
    directory = mkdtempSync(join(tmpdir(), 'audit-nginx-'));
    authority = createAuthority(directory, 'authority');
    const { cert, key } = authority.issue(NAME, { names: `DNS:${NAME}` });
    const tokenFile = join(directory, 'status-token');
    writeFileSync(tokenFile, `${TOKEN}\n`);
    worker = await createStatusServer({
      ...{ host: '127.0.0.1', port: 0, health: createHealth(['acme']), metrics: createMetrics() },
      ...{ readStatus: async () => statusReport(), readActivity: async () => activity() },
      ...{ log: createLog({ level: 'silent' }), nextRunAt: () => undefined },
      token: { value: TOKEN, file: tokenFile },
    });
    const hash = execFileSync('openssl', ['passwd', '-apr1', PASSWORD], { encoding: 'utf8' }).trim();
    writeFileSync(join(directory, 'users'), `alice:${hash}\n`);
    writeFileSync(join(directory, 'token'), `proxy_set_header Authorization "Bearer ${TOKEN}";\n`);
    ports = { http: await freePort(), https: await freePort() };
    writeFileSync(join(directory, 'recipe.conf'), adapt({ cert, key }));
    writeFileSync(
      join(directory, 'nginx.conf'),
      // The processes of nginx lose root's rights by themselves, and could not read this directory.
      `${process.getuid?.() === 0 ? 'user root;\n' : ''}daemon off;\npid ${directory}/pid;\nerror_log stderr;\nevents {}\nhttp {\naccess_log off;\n` +
        ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
          .map((name) => `${name}_temp_path ${directory}/${name};\n`)
          .join('') +
        `include ${directory}/recipe.conf;\n}\n`,
    );
    nginx = spawn('nginx', ['-p', directory, '-c', join(directory, 'nginx.conf')], { stdio: 'pipe' });
    let said = '';
    nginx.stderr!.on('data', (text) => {
      said += text;
    });
    await once(nginx, 'spawn');
    while ((await plain().catch(() => undefined)) === undefined && nginx.exitCode === null)
      await new Promise((resolve) => setTimeout(resolve, 20));
    if (nginx.exitCode !== null) throw new Error(said);
  });

  afterAll(async () => {
    if (nginx.exitCode === null) {
      nginx.kill('SIGTERM');
      await once(nginx, 'exit');
    }
    await worker.close();
    rmSync(directory, { recursive: true });
  });

  /** The recipe with the files and ports of this test. */
  function adapt({ cert, key }: { cert: string; key: string }): string {
    const recipe = readFileSync(join(ROOT, 'deploy', 'nginx', 'uipath-audit-export.conf'), 'utf8');
    const changes: [string, string][] = [
      ['server 127.0.0.1:8080', `server ${new URL(worker.url).host}`],
      ['listen 80;', `listen 127.0.0.1:${ports.http};`],
      ['listen [::]:80;', ''],
      ['listen 443 ssl http2;', `listen 127.0.0.1:${ports.https} ssl http2;`],
      ['listen [::]:443 ssl http2;', ''],
      [`/etc/nginx/${NAME}.crt`, cert],
      [`/etc/nginx/${NAME}.key`, key],
      [
        'auth_basic_user_file /etc/nginx/uipath-audit-export.users;',
        `auth_basic_user_file ${directory}/users;`,
      ],
      ['include /etc/nginx/uipath-audit-export.token;', `include ${directory}/token;`],
    ];
    return changes.reduce((text, [from, to]) => {
      expect(text.split(from)).toHaveLength(2);
      return text.replace(from, to);
    }, recipe);
  }

  async function plain() {
    const outgoing = get({
      host: '127.0.0.1',
      port: ports.http,
      path: '/x',
      headers: { Host: NAME },
      agent: false,
    });
    const [response] = await once(outgoing, 'response');
    response.resume();
    return { status: response.statusCode, location: response.headers.location };
  }

  async function ask(path: string, authorization?: string) {
    const agent = new Agent({ ca: readFileSync(authority.cert) });
    const outgoing = request({
      ...{ host: '127.0.0.1', port: ports.https, servername: NAME, path, agent },
      headers: { Host: NAME, ...(authorization !== undefined && { Authorization: authorization }) },
    });
    outgoing.end();
    const [response] = await once(outgoing, 'response');
    let body = '';
    for await (const chunk of response) body += chunk;
    agent.destroy();
    return { status: response.statusCode as number, headers: response.headers, body };
  }

  const basic = (password: string) => `Basic ${Buffer.from(`alice:${password}`).toString('base64')}`;

  test('http leads to https', async () => {
    expect(await plain()).toEqual({ status: 301, location: `https://${NAME}/x` });
  });

  test('the page needs a person of nginx, whose password the worker does not receive', async () => {
    expect((await ask('/')).status).toBe(401);
    expect((await ask('/', basic('wrong'))).status).toBe(401);
    expect((await ask('/', `Bearer ${TOKEN}`)).status).toBe(401);
    const { status, body, headers } = await ask('/?organization=acme', basic(PASSWORD));
    expect([status, body.includes('Complete and current')]).toEqual([200, true]);
    expect(headers).toMatchObject({
      'strict-transport-security': 'max-age=31536000',
      'content-security-policy': expect.stringContaining("default-src 'none'"),
    });
  });

  test('the metrics need the token of the worker', async () => {
    expect((await ask('/metrics')).status).toBe(401);
    expect((await ask('/metrics', basic(PASSWORD))).status).toBe(401);
    const { status, body } = await ask('/metrics', `Bearer ${TOKEN}`);
    expect([status, body.includes('uipath_audit_export_database_up 1')]).toEqual([200, true]);
  });

  test('health and readiness are open, and nothing else is served', async () => {
    expect(await Promise.all(['/healthz', '/readyz'].map(async (path) => (await ask(path)).status))).toEqual([
      200, 200,
    ]);
    for (const path of ['/other', '/metrics/', '/healthz/x'])
      expect((await ask(path, basic(PASSWORD))).status).toBe(404);
  });
});

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}
