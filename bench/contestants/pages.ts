/** Reads the source's pages as the worker asks for them: so many at once, fetched and parsed. */
import { parseConfig } from '../../src/config/config.ts';
import type { SourceRow } from '../../src/core/event.ts';
import { newCounters } from '../../src/core/store.ts';
import { createLog } from '../../src/log.ts';
import { createUipathSource } from '../../src/uipath/classic/source.ts';

/** Calls `take` with each page, in no order. Returns the number of rows. */
export async function readPages(take: (rows: readonly SourceRow[]) => Promise<void>): Promise<number> {
  const { config } = parseConfig(process.env, 'source');
  const { organization: _organization, baseUrl: _baseUrl, ...settings } = config.source;
  const { pageSize: top, concurrency } = config.export;
  const source = createUipathSource({ ...settings, log: createLog({ level: 'silent' }), environment: {} });
  const options = { signal: new AbortController().signal, meter: newCounters() };
  let next = 0;
  let totalCount = Number.POSITIVE_INFINITY;
  let rows = 0;
  const readOn = async () => {
    while (next < totalCount) {
      const skip = next;
      next += top;
      const page = await source.fetchPage({ skip, top }, options);
      ({ totalCount } = page);
      rows += page.rows.length;
      await take(page.rows);
    }
  };
  await Promise.all(Array.from({ length: concurrency }, readOn));
  source.close();
  return rows;
}
