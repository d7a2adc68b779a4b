/** Limit 2: every page fetched and parsed as the worker does it, so many at once, and then forgotten. */
import { parseConfig } from '../../src/config/config.ts';
import { newCounters } from '../../src/core/store.ts';
import { createLog } from '../../src/log.ts';
import { createUipathSource } from '../../src/uipath/classic/source.ts';

const { config } = parseConfig(process.env, 'source');
const { organization: _organization, baseUrl: _baseUrl, ...settings } = config.source;
const { pageSize: top, concurrency } = config.export;
const source = createUipathSource({ ...settings, log: createLog({ level: 'silent' }), environment: {} });
const options = { signal: new AbortController().signal, meter: newCounters() };

const startedAt = performance.now();
let next = 0;
let totalCount = Number.POSITIVE_INFINITY;
let rows = 0;
await Promise.all(Array.from({ length: concurrency }, readOn));
const seconds = (performance.now() - startedAt) / 1000;
source.close();
process.stdout.write(JSON.stringify({ rows, seconds }));

async function readOn(): Promise<void> {
  while (next < totalCount) {
    const skip = next;
    next += top;
    const page = await source.fetchPage({ skip, top }, options);
    ({ totalCount } = page);
    rows += page.rows.length;
  }
}
