import { createServer } from 'node:https';
import type { AddressInfo, Server } from 'node:net';
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
