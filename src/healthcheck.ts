/**
 * For the container's HEALTHCHECK: exits 0 when the worker of `start` is ready, 1 with the reasons otherwise. No curl is needed. It
 * reads the environment and `.env` as the worker does.
 */
import { loadEnvironment, parseStatus } from './config/config.ts';

/** The worker itself waits 5 s for the database. */
const TIMEOUT_MS = 8_000;
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
  const url = `http://${reached.includes(':') ? `[${reached}]` : reached}:${port}/readyz`;
  const response = await fetch(url, { signal: AbortSignal.timeout(TIMEOUT_MS) }).catch((error) => {
    throw new Error(`No response from ${url}: ${error.cause?.message ?? error.message}`);
  });
  if (response.ok) return 0;
  const reasons = await response
    .json()
    .then((body) => (body as { reasons: string[] }).reasons.join('; '))
    .catch(() => '');
  throw new Error(`${url} responded with HTTP ${response.status}${reasons && `: ${reasons}`}`);
}
