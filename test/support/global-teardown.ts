import './global-setup.ts';

/** Stops the run's PostgreSQL. Jest calls it after passed and failed tests alike. */
export default async function teardown(): Promise<void> {
  await globalThis.testServer?.stop();
}
