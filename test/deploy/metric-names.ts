/** What the program exports, to hold alerts and dashboards to. */
import { newCounters } from '../../src/core/store.ts';
import { createMetrics } from '../../src/status/metrics.ts';

/** Every name that /metrics may show, with the three of each histogram. */
export async function exportedNames(): Promise<Set<string>> {
  const metrics = createMetrics({ pool: { totalCount: 0, idleCount: 0, waitingCount: 0 } });
  metrics.follow('acme', {}).observeChunk({
    ...{ done: 0, total: 0, taken: 0, frontier: 0n, waitMs: 0 },
    ...{ counters: newCounters(), result: undefined },
  });
  const { text } = await metrics.render();
  const names = new Set<string>();
  for (const [, name, type] of text.matchAll(/^# TYPE (\S+) (\S+)$/gm)) {
    const suffixes = type === 'histogram' ? ['_bucket', '_sum', '_count'] : [''];
    for (const suffix of suffixes) names.add(name + suffix);
  }
  return names;
}

/** The metrics of this program, of its process and of Node.js that an expression of PromQL asks for; no recorded ones. */
export function metricsIn(expression: string): string[] {
  return [...expression.matchAll(/\b(?:uipath_audit_export|process|nodejs)_[a-z_]+\b/g)].map(
    ([name]) => name,
  );
}
