/** What the indexes for BI tools cost a load: with and without each of them, in turn. */
import { loadOrganization } from '../load-organization.ts';
import { formatNumber, formatSpread } from '../present.ts';
import type { Scene } from '../scene.ts';
import type { Section } from '../section.ts';
import { ratioOf } from '../statistics.ts';

const INDEXES = [
  'events_by_stored_at',
  'events_by_day',
  'events_by_user',
  'events_by_target',
  'events_by_area',
];
const ALL = 'all of them';

interface Cost {
  seconds: number;
  databaseCpuSeconds: number | undefined;
  walBytes: number;
}

export const indexesSection: Section = {
  name: 'indexes',
  async measure(scene) {
    const variants = new Map<string, readonly string[]>([
      ['none', []],
      ...INDEXES.map((index) => [index, [index]] as const),
      [ALL, INDEXES],
    ]);
    const found = new Map([...variants.keys()].map((name) => [name, [] as Cost[]]));
    for (let round = 0; round < scene.options.rounds; round++)
      for (const [name, kept] of variants) found.get(name)!.push(await load(scene, kept));
    const none = found.get('none')!;
    const ratio = (costs: Cost[], figureOf: (cost: Cost) => number | undefined) => {
      const [with_, without] = [costs, none].map((list) => list.flatMap((cost) => figureOf(cost) ?? []));
      return with_!.length === 0 ? undefined : formatSpread(ratioOf(with_!, without!), 3);
    };
    return {
      views: [
        {
          title: `A load of ${formatNumber(scene.options.events)} events with these indexes / with none of them`,
          head: ['', 'time', 'CPU of the database', 'WAL'],
          rows: [...found]
            .filter(([name]) => name !== 'none')
            .map(([name, costs]) => [
              name,
              ratio(costs, ({ seconds }) => seconds),
              ratio(costs, ({ databaseCpuSeconds }) => databaseCpuSeconds),
              ratio(costs, ({ walBytes }) => walBytes),
            ]),
        },
      ],
      targets: [],
      notes: [],
      figures: Object.fromEntries(found),
    };
  },
};

function load(scene: Scene, kept: readonly string[]): Promise<Cost> {
  return scene.withDatabase(async (database) => {
    for (const index of INDEXES) if (!kept.includes(index)) await database.query(`drop index audit.${index}`);
    const cpuBefore = await scene.server.cpuSeconds();
    const walBefore = await database.walBytes();
    const { seconds } = await loadOrganization(database.url, scene.options.biEvents, scene.options.events);
    const cpuAfter = await scene.server.cpuSeconds();
    return {
      seconds,
      databaseCpuSeconds:
        cpuBefore === undefined || cpuAfter === undefined ? undefined : cpuAfter - cpuBefore,
      walBytes: (await database.walBytes()) - walBefore,
    };
  });
}
