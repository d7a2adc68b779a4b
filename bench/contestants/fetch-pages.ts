/** Limit 2: every page fetched and parsed as the worker does it, so many at once, and then forgotten. */
import { readPages } from './pages.ts';

const startedAt = performance.now();
const rows = await readPages(async () => {});
const seconds = (performance.now() - startedAt) / 1000;
process.stdout.write(JSON.stringify({ rows, seconds }));
