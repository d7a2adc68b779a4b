/**
 * For the container's HEALTHCHECK: exits 0 when the worker of `start` responds, 1 otherwise. No curl is needed. It reads the
 * environment and `.env` as the worker does.
 */
import { loadEnvironment, parseStatus } from './config/config.ts';

const TIMEOUT_MS = 4_000;
/** Where a server that listens on all addresses is reached. */
const LOOPBACK: Readonly<Record<string, string>> = { '0.0.0.0': '127.0.0.1', '::': '::1' };

try {
  process.exitCode = await check();
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : error}\n`);
  process.exitCode = 1;
}

async function check(): Promise<number> {
  const status = parseStatus(loadEnvironment({}, process.env));
  // With STATUS_PORT=off there is no server to check.
  if (status === undefined) return 0;
  const { host, port } = status;
  if (port === 0)
    throw new Error('STATUS_PORT=0 takes any free port, which is not known here. Set a port, or off.');
  const reached = LOOPBACK[host] ?? host;
  const url = `http://${reached.includes(':') ? `[${reached}]` : reached}:${port}/healthz`;
  const response = await fetch(url, { signal: AbortSignal.timeout(TIMEOUT_MS) }).catch((error) => {
    throw new Error(`No response from ${url}: ${error.cause?.message ?? error.message}`);
  });
  if (response.ok) return 0;
  throw new Error(`${url} responded with HTTP ${response.status}`);
}
