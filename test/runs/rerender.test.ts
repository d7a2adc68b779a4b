/** A source that writes the details of its events differently: real HTTP, real PostgreSQL. */
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { runExport } from '../../src/runs/export.ts';
import { makeEvent } from '../../src/simulator/events.ts';
import { type Bench, createBench, type Row, type Scene } from '../support/bench.ts';
import { FORMS } from '../support/forms.ts';
import { expectCounted } from '../support/roll-ups.ts';
import {
  expectNothingLostOrDoubled,
  expectSame,
  fieldsOf,
  STORED_EVENTS,
  storedFieldsOf,
} from '../support/truth.ts';

const EVENTS = 130;
const FORM_NAMES = Object.keys(FORMS) as (keyof typeof FORMS)[];

let bench: Bench;

beforeAll(async () => {
  bench = await createBench();
});
afterAll(() => bench.close());

/** All events are stored in the first form. */
async function openStored(form: keyof typeof FORMS = 'CRLF', events = EVENTS): Promise<Scene> {
  const scene = await bench.open({ events }, { EXPORT_PAGE_SIZE: '20', EXPORT_SETTLE: '0s' });
  scene.simulator.rewrite(0, events, FORMS[form]);
  for (let runs = 0; runs < 2; runs++) await scene.run();
  return scene;
}

const upgrade = ({ simulator }: Scene, form: keyof typeof FORMS) =>
  simulator.rewrite(0, simulator.length, FORMS[form]);
const backfill = (scene: Scene) => scene.run({ kind: 'backfill', shouldRestart: true });

async function stateOf(scene: Scene): Promise<Row> {
  const [row] = await scene.query(
    `select completeness, stored_events, gone_events, suspected_events,
       (select count(*) from bi.events e where e.organization = $1) as shown,
       (select count(*) from audit.events e where e.organization = $1) as kept
     from bi.export_health where organization = $1`,
  );
  return row!;
}

/** The current rows are what the source shows, and everything else agrees with them. */
async function expectCurrent(scene: Scene, superseded: number): Promise<void> {
  const shown = scene.simulator.rows.map(({ text }) => fieldsOf(JSON.parse(text)));
  const current = (await scene.query(STORED_EVENTS)).filter((row) => row.superseded_by === null);
  expectSame(current.map(storedFieldsOf), shown);
  const events = String(shown.length);
  expect(await stateOf(scene)).toEqual({
    ...{ completeness: 'complete', stored_events: events, shown: events },
    ...{ gone_events: '0', suspected_events: '0', kept: String(shown.length + superseded) },
  });
  await expectCounted(bench);
  await expectNothingLostOrDoubled(scene);
  expect(await scene.verify()).toMatchObject({
    counts: { missing: 0, changed: 0, gone: 0 },
    ...{ rerendered: 0, events: shown.length, stored: shown.length, same: shown.length, superseded },
  });
}

describe('every event in another form', () => {
  test.each(FORM_NAMES.map((form, i) => [FORM_NAMES.at(i - 1)!, form]))(
    '%s becomes %s: a run, then a backfill, supersede the old rows, and nothing is doubled',
    async (from, to) => {
      const scene = await openStored(from);
      const changed = new Set(scene.simulator.rows.map(({ text }) => text));
      upgrade(scene, to);
      const rerendered = scene.simulator.rows.filter(({ text }) => !changed.has(text)).length;
      expect(rerendered).toBeGreaterThan(EVENTS / 4);

      // It meets the newest and the oldest events only.
      const { counters, proof, warnings } = await scene.run();
      expect(proof).toMatchObject({ state: 'complete' });
      expect(counters.superseded).toBeLessThan(rerendered);
      expect(counters).toMatchObject({ inserted: counters.superseded, late: 0 });
      expect(warnings).toEqual(
        counters.superseded > 0 ? [expect.stringContaining('writes the details of')] : [],
      );
      expect(await stateOf(scene)).toMatchObject({
        ...{ completeness: 'complete', shown: String(EVENTS), stored_events: String(EVENTS) },
        ...{ gone_events: '0', suspected_events: '0' },
      });
      await expectCounted(bench);
      expect(await scene.verify()).toMatchObject({
        counts: { missing: 0, changed: 0, gone: 0 },
        rerendered: rerendered - counters.superseded,
      });

      const rest = await backfill(scene);
      expect(rest.counters).toMatchObject({
        superseded: rerendered - counters.superseded,
        late: 0,
        updated: 0,
      });
      expect((await scene.runs())[0]).toMatchObject({
        rows_superseded: String(rest.counters.superseded),
        rows_late: '0',
      });
      await expectCurrent(scene, rerendered);
      expect((await backfill(scene)).counters).toMatchObject({ inserted: 0, superseded: 0 });
    },
  );

  test('the scrub meets them page by page', async () => {
    const scene = await openStored();
    upgrade(scene, 'LF');
    let superseded = 0;
    for (let runs = 0; runs < 12; runs++) {
      const { counters, proof } = await scene.run();
      expect(proof).toMatchObject({ state: 'complete' });
      superseded += counters.superseded;
    }
    await expectCurrent(scene, superseded);
  });

  test('there and back again: an old row is current again, and no row is added', async () => {
    const scene = await openStored('CRLF');
    for (const form of ['LF', 'compact', 'CRLF', 'compact', 'LF'] as const) {
      upgrade(scene, form);
      await backfill(scene);
      const [{ kept }] = (await scene.query(
        'select count(*) as kept from audit.events where organization = $1',
      )) as [Row];
      await expectCurrent(scene, Number(kept) - EVENTS);
    }
    const rows = await scene.query(
      `select count(*) as forms from audit.events where organization = $1 group by created_on_ticks, user_name, category, action, message
       having count(*) > 3 and count(*) filter (where superseded_by is null) < 2`,
    );
    expect(rows).toEqual([]);
  });

  test('verify before any run finds the other form, and no difference; --repair replaces the rows', async () => {
    const scene = await openStored();
    const before = new Set(scene.simulator.rows.map(({ text }) => text));
    upgrade(scene, 'LF');
    const rerendered = scene.simulator.rows.filter(({ text }) => !before.has(text)).length;
    const counts = { missing: 0, changed: 0, gone: 0 };
    expect(await scene.verify()).toMatchObject({ counts, rerendered, repaired: 0 });
    expect(await scene.verify({ shouldRepair: true })).toMatchObject({ counts, rerendered, repaired: 0 });
    expect((await scene.runs())[0]).toMatchObject({ rows_superseded: String(rerendered), kind: 'verify' });
    await scene.run();
    await expectCurrent(scene, rerendered);
    upgrade(scene, 'CRLF');
    expect(await scene.verify({ shouldRepair: true })).toMatchObject({ counts, rerendered, repaired: 0 });
    await scene.run();
    await expectCurrent(scene, rerendered);
  });

  test('copies in which an older version stored every event twice are healed', async () => {
    const scene = await openStored();
    upgrade(scene, 'LF');
    const { counters } = await backfill(scene);
    await scene.query('update audit.events set superseded_by = null where organization = $1');
    expect((await backfill(scene)).counters).toMatchObject({ inserted: 0, superseded: counters.superseded });
    await expectCurrent(scene, counters.superseded);
  });

  test('while they are deleted at the head, and others are added', async () => {
    const scene = await openStored();
    upgrade(scene, 'LF');
    scene.simulator.deleteHead(45);
    scene.simulator.append(15);
    await scene.run();
    await backfill(scene);
    expect(await stateOf(scene)).toMatchObject({
      completeness: 'complete',
      shown: String(EVENTS + 15),
      gone_events: '0',
    });
    await expectCounted(bench);
    await expectNothingLostOrDoubled(scene);
  });
});

test('half of a page in another form', async () => {
  const scene = await openStored();
  const { simulator } = scene;
  const before = new Set(simulator.rows.map(({ text }) => text));
  simulator.rewrite(55, 10, FORMS.LF);
  simulator.rewrite(118, 12, FORMS.LF);
  const rerendered = simulator.rows.filter(({ text }) => !before.has(text)).length;
  await scene.run();
  await backfill(scene);
  await expectCurrent(scene, rerendered);
});

/** Rows of one time between others, as many as a page. */
async function openGroup(rows: readonly string[]): Promise<Scene> {
  const scene = await bench.open({ events: 0 }, { EXPORT_PAGE_SIZE: '20', EXPORT_SETTLE: '0s' });
  const others = Array.from({ length: 30 }, (_, i) =>
    makeEvent('login', { createdOn: `2026-01-01T00:00:${10 + i}Z`, variant: i }),
  );
  scene.simulator.append([...others, ...rows]);
  for (let runs = 0; runs < 2; runs++) await scene.run();
  return scene;
}

const AT = '2026-01-01T00:00:20.5000000Z';
const twin = (userName: string, details = '{\r\n  "a": 1\r\n}', rest: Record<string, string> = {}) =>
  JSON.stringify({
    ...makeEvent('login', { createdOn: AT }),
    ...{ userName, email: `${userName}@example.com`, auditLogDetails: details },
    ...rest,
  });
const LF = '{\n  "a": 1\n}';

async function replaceGroup({ simulator }: Scene, rows: readonly string[]): Promise<void> {
  const at = simulator.rows.findIndex(({ text }) => JSON.parse(text).createdOn === AT);
  const count = simulator.rows.filter(({ text }) => JSON.parse(text).createdOn === AT).length;
  simulator.deleteAt(at, count);
  simulator.insertLate(rows);
}

/** The rows of the group: user, details, and whether it is superseded or absent. */
async function groupOf(scene: Scene): Promise<string[]> {
  const rows = await scene.query(
    `select user_name, details_raw, superseded_by, g.state from audit.events e
     left join audit.gone_events g using (organization, log, created_on, event_id)
     where e.organization = $1 and created_on = '${AT}' order by user_name, details_raw desc, ordinal`,
  );
  return rows.map(({ user_name: name, details_raw: details, superseded_by: by, state }) => {
    const form = String(details).includes('\r') ? 'CRLF' : details === LF ? 'LF' : details;
    return [name, form, by === null ? null : 'superseded', state].filter((word) => word !== null).join(' ');
  });
}

/** Twice: the second run decides what is gone. */
async function runTwice(scene: Scene): Promise<void> {
  for (let runs = 0; runs < 2; runs++) await backfill(scene);
  for (let runs = 0; runs < 2; runs++) await scene.run();
  await expectCounted(bench);
}

describe('events of one time', () => {
  test('twins and others are each superseded by their own', async () => {
    const scene = await openGroup(['A', 'B', 'B', 'C'].map((name) => twin(name)));
    await replaceGroup(
      scene,
      ['C', 'B', 'A', 'B'].map((name) => twin(name, LF)),
    );
    await runTwice(scene);
    expect(await groupOf(scene)).toEqual([
      ...['A CRLF superseded', 'A LF', 'B CRLF superseded', 'B CRLF superseded', 'B LF', 'B LF'],
      ...['C CRLF superseded', 'C LF'],
    ]);
    const pairs = await scene.query(
      `select old.user_name = new.user_name as is_same from audit.events old
       join audit.events new on new.organization = old.organization and new.event_id = old.superseded_by
       where old.organization = $1`,
    );
    expect(pairs).toEqual(Array(4).fill({ is_same: true }));
    await expectCurrent(scene, 4);
  });

  test('a new event of the same user and category with other details is new, and the old one is gone', async () => {
    const scene = await openGroup([twin('A')]);
    await replaceGroup(scene, [twin('A', '{"a":2}')]);
    await runTwice(scene);
    expect(await groupOf(scene)).toEqual(['A {"a":2}', 'A CRLF gone']);
    expect((await scene.runs())[0]).toMatchObject({ rows_superseded: '0' });
    expect((await scene.verify()).counts).toEqual({ missing: 0, changed: 0, gone: 1 });
  });

  test.each<[string, { userName?: string } & Record<string, string>]>([
    ['user', { userName: 'B' }],
    ['category', { category: 'Other' }],
    ['action', { action: 'Other' }],
    ['source', { source: 'Other' }],
  ])('another %s makes it another event', async (_name, rest) => {
    const scene = await openGroup([twin('A')]);
    await replaceGroup(scene, [twin('A', LF, rest)]);
    await runTwice(scene);
    expect((await groupOf(scene)).sort()).toEqual(['A CRLF gone', `${rest.userName ?? 'A'} LF`].sort());
  });

  test('an event that is shown beside the other form is another one', async () => {
    const scene = await openGroup([twin('A')]);
    await replaceGroup(scene, [twin('A'), twin('A', LF)]);
    await runTwice(scene);
    expect(await groupOf(scene)).toEqual(['A LF', 'A CRLF'].sort());
    await expectCurrent(scene, 0);
  });

  test('of two twins, one deleted and one in another form: one is superseded, one is gone', async () => {
    const scene = await openGroup([twin('A'), twin('A')]);
    await replaceGroup(scene, [twin('A', LF)]);
    await runTwice(scene);
    expect((await groupOf(scene)).sort()).toEqual(['A CRLF gone', 'A CRLF superseded', 'A LF']);
    expect(await stateOf(scene)).toMatchObject({ shown: '32', gone_events: '1', completeness: 'complete' });
  });

  test('one event that becomes two: one is superseded, one is late', async () => {
    const scene = await openGroup([twin('A')]);
    await replaceGroup(scene, [twin('A', LF), twin('A', LF)]);
    const { counters } = await backfill(scene);
    expect(counters).toMatchObject({ inserted: 2, superseded: 1, late: 1 });
    await runTwice(scene);
    expect((await groupOf(scene)).sort()).toEqual(['A CRLF superseded', 'A LF', 'A LF']);
    await expectCurrent(scene, 1);
  });

  test('a gone event that comes back in another form is no longer gone', async () => {
    const scene = await openGroup([twin('A')]);
    await replaceGroup(scene, []);
    await runTwice(scene);
    expect(await groupOf(scene)).toEqual(['A CRLF gone']);
    scene.simulator.insertLate([twin('A', LF)]);
    await runTwice(scene);
    expect((await groupOf(scene)).sort()).toEqual(['A CRLF superseded shown again', 'A LF']);
    await expectCurrent(scene, 1);
  });

  test('details that are no JSON count as the same with other line ends only', async () => {
    const scene = await openGroup([twin('A', 'one\r\ntwo'), twin('B', 'one\r\ntwo')]);
    await replaceGroup(scene, [twin('A', 'one\ntwo'), twin('B', 'one two')]);
    await runTwice(scene);
    expect((await groupOf(scene)).map((row) => row.replaceAll('\n', ' ')).sort()).toEqual(
      ['A CRLF superseded', 'A one two', 'B CRLF gone', 'B one two'].sort(),
    );
  });

  test('rows with characters that the database cannot store are compared by their exact text', async () => {
    const odd = '{"name":"a\\u0000b"}';
    const scene = await openGroup([twin('A', odd), twin('B\0', '{\r\n}')]);
    await replaceGroup(scene, [twin('A', '{ "name" : "a\\u0000b" }'), twin('B\0', '{ }')]);
    await runTwice(scene);
    await expectCurrent(scene, 2);
  });

  test('an event deleted after it was superseded is gone once', async () => {
    const scene = await openGroup([twin('A')]);
    await replaceGroup(scene, [twin('A', LF)]);
    await runTwice(scene);
    await replaceGroup(scene, []);
    await runTwice(scene);
    expect((await groupOf(scene)).sort()).toEqual(['A CRLF superseded', 'A LF gone']);
    expect((await scene.verify()).counts).toEqual({ missing: 0, changed: 0, gone: 1 });
  });
});

test('an accepted source in which the events have another form supersedes them', async () => {
  const scene = await openStored();
  upgrade(scene, 'LF');
  const { app } = scene;
  const accepting = {
    ...app,
    config: { ...app.config, export: { ...app.config.export, acceptSource: app.config.source.baseUrl } },
  };
  await scene.query(`update audit.watermarks set completeness = 'source changed' where organization = $1`);
  await runExport(accepting, { kind: 'run', signal: new AbortController().signal });
  await scene.run();
  const [{ old }] = (await scene.query(
    'select count(*) as old from audit.events where organization = $1 and superseded_by is not null',
  )) as [Row];
  await expectCurrent(scene, Number(old));
});
