/** For the container's HEALTHCHECK: exits 0 when the worker of `start` answers, 1 otherwise. No curl is needed. */
const port = process.env.STATUS_PORT || '8080';
const host = process.env.STATUS_HOST || '127.0.0.1';
const address = host === '0.0.0.0' || host === '::' ? '127.0.0.1' : host;

// With STATUS_PORT=off nothing answers, and nothing can be checked.
if (port === 'off') process.exit(0);

try {
  const answer = await fetch(`http://${address}:${port}/healthz`, { signal: AbortSignal.timeout(4_000) });
  process.exitCode = answer.ok ? 0 : 1;
} catch {
  process.exitCode = 1;
}
