import { createServer as createHttpServer } from 'node:http';
import { createServer } from 'node:https';
import { type AddressInfo, connect, type Server } from 'node:net';
import { afterEach, expect, test } from '@jest/globals';
import { cert, key } from '../../support/certificate.ts';
import { closeAll, emptyPage, openBench } from '../support.ts';

const servers: Server[] = [];

afterEach(async () => {
  await closeAll();
  for (const server of servers.splice(0)) await new Promise((resolve) => server.close(resolve));
});

async function listen(server: Server): Promise<number> {
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return (server.address() as AddressInfo).port;
}

const credentials = { kind: 'token' as const, accessToken: 'a-fixed-token' };

test('a certificate that is not trusted is an error of configuration, and nothing is sent', async () => {
  let requests = 0;
  const server = createServer({ key, cert }, (request, response) => {
    requests++;
    emptyPage(request, response, '');
  });
  const url = `https://localhost:${await listen(server)}`;
  const { fetchPage, waits } = openBench({ url }, { credentials });
  await expect(fetchPage()).rejects.toMatchObject({
    code: 'configuration',
    message: expect.stringMatching(/certificate of localhost:\d+ is not trusted.*NODE_EXTRA_CA_CERTS/),
  });
  expect(waits).toEqual([]);
  expect(requests).toBe(0);
});

test('https goes through the proxy of HTTPS_PROXY, which sees a tunnel and no token', async () => {
  const origin = await listen(createServer({ key, cert }));
  const tunnels: string[] = [];
  let passed = '';
  const proxy = createHttpServer();
  proxy.on('connect', (request, socket) => {
    tunnels.push(request.url!);
    const onward = connect(origin, '127.0.0.1', () => socket.write('HTTP/1.1 200 OK\r\n\r\n'));
    onward.on('error', () => {});
    socket.on('error', () => {});
    socket.on('data', (bytes: Buffer) => {
      passed += bytes.toString('latin1');
    });
    socket.pipe(onward).pipe(socket);
  });
  const environment = { HTTPS_PROXY: `http://127.0.0.1:${await listen(proxy)}` };
  const { fetchPage } = openBench({ url: 'https://source.example' }, { credentials, environment });
  // The tunnel works: only the certificate behind it is rejected.
  await expect(fetchPage()).rejects.toThrow(/certificate of source\.example is not trusted/);
  expect(tunnels).toEqual(['source.example:443']);
  expect(passed).not.toContain('a-fixed-token');
});

test('a proxy that cannot reach the source is retried', async () => {
  const proxy = createHttpServer();
  proxy.on('connect', (_request, socket) => {
    socket.end('HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n');
  });
  const environment = { HTTPS_PROXY: `http://127.0.0.1:${await listen(proxy)}` };
  const { fetchPage, waits } = openBench({ url: 'https://source.example' }, { credentials, environment });
  await expect(fetchPage()).rejects.toMatchObject({ code: 'source-away' });
  expect(waits).toHaveLength(3);
});
