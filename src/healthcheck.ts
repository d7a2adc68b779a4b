/** For the container's HEALTHCHECK: exits 0 when the worker of `start` responds, 1 otherwise. No curl is needed. */
const port = process.env.STATUS_PORT || '8080';
const host = process.env.STATUS_HOST || '127.0.0.1';
const address = host === '0.0.0.0' || host === '::' ? '127.0.0.1' : host;

// With STATUS_PORT=off there is no server to check.
if (port === 'off') process.exit(0);

try {
  const response = await fetch(`http://${address}:${port}/healthz`, { signal: AbortSignal.timeout(4_000) });
  process.exitCode = response.ok ? 0 : 1;
} catch {
  process.exitCode = 1;
}
