/** What a run does when its organization's name leads to another source. */
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { App } from '../../src/app.ts';
import { ExportError } from '../../src/core/errors.ts';
import { type RunRequest, runExport } from '../../src/runs/export.ts';
import { type VerifyRequest, verifyAgainstSource } from '../../src/runs/verify-source.ts';
import { makeEvent } from '../../src/simulator/events.ts';
import { createSimulator, type Simulator, type SimulatorOptions } from '../../src/simulator/simulator.ts';
import { type Bench, createApp, createBench, type Row, type Scene } from '../support/bench.ts';
import { fieldsOf, STORED_EVENTS, storedFieldsOf, withoutEach } from '../support/compare.ts';

const EVENTS = 60;
const OTHER_GUID = '00000000-1111-2222-3333-444444444444';

let bench: Bench;
const open: Simulator[] = [];

beforeAll(async () => {
  bench = await createBench();
});
afterAll(async () => {
  await Promise.all(open.map((simulator) => simulator.close()));
  await bench.close();
});

/** The same organization, read from another simulator. */
interface Other {
  simulator: Simulator;
  app: App;
  lines: Row[];
  run(request?: Partial<RunRequest>): Promise<unknown>;
  verify(request?: Partial<VerifyRequest>): Promise<unknown>;
}

async function replace(
  scene: Scene,
  options: SimulatorOptions,
  environment: Record<string, string> | ((simulator: Simulator) => Record<string, string>) = {},
): Promise<Other> {
  const simulator = await createSimulator({ organization: scene.organization, ...options });
  open.push(simulator);
  const variables = typeof environment === 'function' ? environment(simulator) : environment;
  const given = { UIPATH_ORGANIZATION: scene.organization, ...variables };
  const { app, lines } = createApp(simulator, {
    url: bench.database.url,
    pool: bench.pool,
    environment: given,
  });
  const { signal } = new AbortController();
  const range = { from: undefined, to: undefined, shouldRepair: false, onProgress: () => {} };
  return {
    ...{ simulator, app, lines },
    run: (request) => runExport(app, { kind: 'run', signal, ...request }),
    verify: (request) => verifyAgainstSource(app, { ...range, signal, ...request }),
  };
}

const accepting = ({ url }: Simulator) => ({ EXPORT_ACCEPT_SOURCE: url });
const portOf = ({ url }: Simulator) => Number(new URL(url).port);

/** Everything that a refused run must leave unchanged. */
async function stateOf(scene: Scene): Promise<unknown> {
  const read = (text: string) => scene.query(text);
  return {
    events: await read('select ctid::text, xmin::text from audit.events where organization = $1 order by 1'),
    watermark: await read(
      `select to_jsonb(w) - '{lease_run_id,lease_until,lease_pid,updated_at,ranks,proven_at,assessed_at}'::text[] as watermark
       from audit.watermarks w where organization = $1`,
    ),
    coverage: await read('select from_ticks, run_id from audit.coverage where organization = $1'),
    gone: await read('select * from audit.gone_events where organization = $1 order by created_on, event_id'),
    ledger: await read("select batch from audit.ledger where organization = $1 and kind <> 'run'"),
  };
}

async function failureOf(work: Promise<unknown>): Promise<ExportError> {
  const error = await work.then(
    () => undefined,
    (thrown) => thrown,
  );
  expect(error).toBeInstanceOf(ExportError);
  return error as ExportError;
}

const shownBy = (simulator: Simulator) => simulator.rows.map(({ text }) => fieldsOf(JSON.parse(text)));

/** Every stored event is marked 'former source' exactly if the source does not show it, and everything shown is stored. */
async function expectFormer(scene: Scene, simulator: Simulator): Promise<void> {
  const events = await scene.query(STORED_EVENTS);
  const gone = await scene.query(
    `select event_id from audit.gone_events where organization = $1 and state = 'former source'`,
  );
  const former = new Set(gone.map((row) => row.event_id));
  const current = events.filter((row) => !former.has(row.event_id)).map(storedFieldsOf);
  const shown = shownBy(simulator);
  expect({
    unmarked: withoutEach(current, shown).length,
    missing: withoutEach(shown, current).length,
  }).toEqual({ unmarked: 0, missing: 0 });
  expect(former.size + current.length).toBe(events.length);
}

const identityOf = async (scene: Scene) =>
  (
    await scene.query(
      'select source_url, source_path, source_partition from audit.watermarks where organization = $1',
    )
  )[0];

const logged = (lines: readonly Row[], text: RegExp) => lines.filter(({ msg }) => text.test(String(msg)));

type Change = (scene: Scene) => {
  options: SimulatorOptions;
  environment?: Record<string, string>;
};

/** On the port of the first simulator, which is closed. */
const samePort = (scene: Scene): SimulatorOptions => ({ port: portOf(scene.simulator) });
const renamed = (scene: Scene) => `renamed-${scene.organization}`;
const renamedPath = (scene: Scene) => ({
  UIPATH_AUDIT_PATH: `/${renamed(scene)}/audit_/api/auditlogs`,
  UIPATH_TOKEN_URL: `{base}/${renamed(scene)}/identity_/connect/token`,
});

const CHANGES: Record<string, Change> = {
  'another port': () => ({ options: {} }),
  'another host': (scene) => ({
    options: samePort(scene),
    environment: { UIPATH_BASE_URL: `http://localhost:${portOf(scene.simulator)}` },
  }),
  'another path': (scene) => ({
    options: samePort(scene),
    environment: {
      UIPATH_AUDIT_PATH: '/audit_/api/auditlogs/{partitionGlobalId}',
      UIPATH_PARTITION_GLOBAL_ID: scene.simulator.partitionGlobalId,
    },
  }),
  'a renamed organization': (scene) => ({
    options: { ...samePort(scene), organization: renamed(scene) },
    environment: renamedPath(scene),
  }),
  'another prt_id': (scene) => ({ options: { ...samePort(scene), partitionGlobalId: OTHER_GUID } }),
  'another port and prt_id': () => ({ options: { partitionGlobalId: OTHER_GUID } }),
  'another host, path and prt_id': (scene) => ({
    options: { ...samePort(scene), organization: renamed(scene), partitionGlobalId: OTHER_GUID },
    environment: {
      ...renamedPath(scene),
      UIPATH_BASE_URL: `http://localhost:${portOf(scene.simulator)}`,
    },
  }),
};

const textsOf = (scene: Scene) => scene.simulator.rows.map(({ text }) => text);
const later = (count: number, year = 2024) =>
  Array.from({ length: count }, (_, variant) =>
    makeEvent('login', { createdOn: `${year}-05-0${1 + (variant % 9)}T00:00:00.1234567Z`, variant }),
  );

/** Histories of another source, and what the message says of them. */
const FOREIGN: Record<string, { rows: (scene: Scene) => SimulatorOptions; found: string }> = {
  foreign: { rows: () => ({ events: EVENTS, seed: 99 }), found: 'it shows 0 of the 3 stored events' },
  'the older half': {
    rows: (scene) => ({ rows: [...textsOf(scene).slice(0, (EVENTS * 2) / 3), ...later(20)] }),
    found: 'it shows 2 of the 3 stored events',
  },
  'the two oldest events': {
    rows: (scene) => ({ rows: [...textsOf(scene).slice(0, 2), ...later(20)] }),
    found: 'it shows 1 of the 3 stored events',
  },
  empty: { rows: () => ({}), found: 'it shows no event at all' },
  'only newer': { rows: () => ({ rows: later(9) }), found: 'is newer than all of them' },
};

async function openStored(environment: Record<string, string> = {}): Promise<Scene> {
  const scene = await bench.open({ events: EVENTS }, environment);
  await scene.run();
  return scene;
}

describe('a source at', () => {
  describe.each(Object.entries(CHANGES))('%s', (_, change) => {
    test('with the same history is accepted, logged and remembered', async () => {
      const scene = await openStored();
      await scene.close();
      const { options, environment } = change(scene);
      const other = await replace(scene, { events: EVENTS, ...options }, environment);
      const before = await identityOf(scene);
      await other.run();
      expect(await identityOf(scene)).not.toEqual(before);
      expect(logged(other.lines, /^the source moved from http/)).toHaveLength(1);
      other.simulator.append(3);
      const requests = other.simulator.counts.list;
      await other.run();
      expect(other.simulator.counts.list - requests).toBeLessThanOrEqual(3);
      expect(logged(other.lines, /moved/)).toHaveLength(1);
      await expectFormer(scene, other.simulator);
      expect(await scene.query('select from audit.gone_events where organization = $1')).toEqual([]);
    });

    test.each(Object.entries(FOREIGN))('with a history that is %s is refused', async (_, { rows, found }) => {
      const scene = await openStored();
      const source = rows(scene);
      await scene.close();
      const { options, environment } = change(scene);
      const other = await replace(scene, { ...source, ...options }, environment);
      const before = await stateOf(scene);
      for (const attempt of [other.run, other.verify, () => other.verify({ shouldRepair: true })]) {
        const error = await failureOf(attempt());
        expect(error.code).toBe('other-source');
        expect(error.message).toContain(found);
        expect(error.message).toContain(scene.simulator.url);
        expect(error.message).toContain(other.app.config.source.auditUrl);
        expect(error.message).toContain(`EXPORT_ACCEPT_SOURCE=${other.app.config.source.baseUrl}`);
        expect(error.message).not.toMatch(/simulated-secret|eyJ/);
      }
      expect(await stateOf(scene)).toEqual(before);
      expect((await scene.runs())[0]).toMatchObject({ outcome: 'failed', rows_inserted: '0' });
    });

    test.each(Object.entries(FOREIGN))('with a history that is %s can be accepted', async (_, { rows }) => {
      const scene = await openStored();
      const source = rows(scene);
      await scene.close();
      const { options, environment } = change(scene);
      const other = await replace(scene, { ...source, ...options }, (simulator) => ({
        ...environment,
        EXPORT_ACCEPT_SOURCE: environment?.UIPATH_BASE_URL ?? simulator.url,
      }));
      await other.run();
      await expectFormer(scene, other.simulator);
      expect(logged(other.lines, /^accepted http.* as the new source/)).toHaveLength(1);
      expect(await scene.query('select from audit.gaps where organization = $1')).toEqual([]);

      other.simulator.append(later(10, 2025));
      await other.run();
      expect(logged(other.lines, /accepted/)).toHaveLength(1);
      expect(logged(other.lines, /has not changed; remove EXPORT_ACCEPT_SOURCE/)).toHaveLength(1);
      await expectFormer(scene, other.simulator);
    });
  });
});

test('the messages name both addresses with their partitions', async () => {
  const scene = await openStored();
  const other = await replace(scene, { events: EVENTS, seed: 99, partitionGlobalId: OTHER_GUID });
  const { message } = await failureOf(other.run());
  const path = `/${scene.organization}/audit_/api/auditlogs`;
  expect(message).toBe(
    `${other.simulator.url}${path} (partition ${OTHER_GUID}) is not the source that the stored events of ${scene.organization} ` +
      `came from: it shows 0 of the 3 stored events that were looked for. They were read from ${scene.simulator.url}${path} ` +
      `(partition ${scene.simulator.partitionGlobalId}). Nothing was stored. Check UIPATH_BASE_URL, UIPATH_ORGANIZATION and ` +
      'UIPATH_AUDIT_PATH, and whose token it is. If the source was replaced, set ' +
      `EXPORT_ACCEPT_SOURCE=${other.simulator.url} and call \`run\`; export another organization under another ` +
      'UIPATH_ORGANIZATION or into another database.',
  );
  expect((await scene.runs())[0]).toMatchObject({ outcome: 'failed', error: message });
});

test.each(['recheck', 'backfill'] as const)('a %s refuses another source as well', async (kind) => {
  const scene = await openStored();
  const other = await replace(scene, { events: EVENTS, seed: 99 });
  const before = await stateOf(scene);
  expect((await failureOf(other.run({ kind }))).code).toBe('other-source');
  expect(await stateOf(scene)).toEqual(before);
});

test('the former source continues after a refusal without a search', async () => {
  const scene = await openStored();
  const other = await replace(scene, { events: EVENTS, seed: 99 });
  await failureOf(other.run());
  const before = await identityOf(scene);
  scene.simulator.append(5);
  expect(await scene.countRequests(() => scene.run())).toBeLessThanOrEqual(3);
  expect(await identityOf(scene)).toEqual(before);
  expect(await scene.query('select from audit.gone_events where organization = $1')).toEqual([]);
});

describe('the remembered source', () => {
  test('is written by the first run and costs a later one no request and no write', async () => {
    const scene = await openStored();
    const { url, partitionGlobalId } = scene.simulator;
    expect(await identityOf(scene)).toEqual({
      source_url: url,
      source_path: `/${scene.organization}/audit_/api/auditlogs`,
      source_partition: partitionGlobalId,
    });
    await scene.run();
    const before = await stateOf(scene);
    const tokens = scene.simulator.counts.token;
    expect(await scene.countRequests(() => scene.run())).toBe(3);
    expect(scene.simulator.counts.token).toBe(tokens);
    expect(await stateOf(scene)).toEqual(before);
  });

  test('changes freely while no event is stored', async () => {
    const scene = await bench.open();
    await scene.run();
    const other = await replace(scene, { events: EVENTS, seed: 99 });
    await other.run();
    await expectFormer(scene, other.simulator);
    expect(await identityOf(scene)).toMatchObject({ source_url: other.simulator.url });
  });

  test('is not replaced by the first run that fails', async () => {
    const scene = await bench.open({ events: EVENTS, faults: [{ fault: 404 }] });
    expect((await failureOf(scene.run())).code).toBe('configuration');
    scene.simulator.set({ faults: [] });
    await scene.run();
    await expectFormer(scene, scene.simulator);
  });

  test.each([
    ['with its history is remembered without a log line', 1, undefined],
    ['with another history is refused', 99, 'other-source'],
  ])('of a database of an older version %s', async (_, seed, code) => {
    const scene = await openStored();
    await scene.query(
      'update audit.watermarks set source_url = null, source_path = null where organization = $1',
    );
    const other = await replace(scene, { events: EVENTS, seed });
    if (code === undefined) {
      await other.run();
      expect(await identityOf(scene)).toMatchObject({ source_url: other.simulator.url });
      expect(logged(other.lines, /moved|source/)).toEqual([]);
    } else {
      const error = await failureOf(other.run());
      expect(error.code).toBe(code);
      expect(error.message).toContain('A worker of an older version stored them without their address.');
    }
  });

  test('has a partition that may be unknown, and that only another known one changes', async () => {
    const scene = await openStored();
    await scene.close();
    const port = portOf(scene.simulator);
    const token = { UIPATH_ACCESS_TOKEN: 'rt_opaque', UIPATH_CLIENT_ID: '', UIPATH_CLIENT_SECRET: '' };
    const opaque = await replace(scene, { port, seed: 99, events: EVENTS, accessToken: 'rt_opaque' }, token);
    // No search: the other history would not pass it.
    await opaque.run({ kind: 'run' });
    expect(await identityOf(scene)).toMatchObject({ source_partition: scene.simulator.partitionGlobalId });

    await scene.query('update audit.watermarks set source_partition = null where organization = $1');
    await opaque.simulator.close();
    const known = await replace(scene, { port, seed: 98, events: EVENTS, partitionGlobalId: OTHER_GUID });
    await known.run();
    expect(await identityOf(scene)).toMatchObject({ source_partition: OTHER_GUID });

    await known.simulator.close();
    const changed = await replace(scene, { port, seed: 97, events: EVENTS });
    expect((await failureOf(changed.run())).code).toBe('other-source');
  });

  test('keeps the partition when a source without one moved', async () => {
    const scene = await openStored();
    const token = { UIPATH_ACCESS_TOKEN: 'rt_opaque', UIPATH_CLIENT_ID: '', UIPATH_CLIENT_SECRET: '' };
    const other = await replace(scene, { events: EVENTS, accessToken: 'rt_opaque' }, token);
    await other.run();
    expect(await identityOf(scene)).toMatchObject({
      source_url: other.simulator.url,
      source_partition: scene.simulator.partitionGlobalId,
    });
  });

  test.each([
    ['api version', { UIPATH_API_VERSION: '2.0' }],
    ['language', { UIPATH_LANGUAGE: 'de' }],
    ['slash at the end of the path', { UIPATH_AUDIT_PATH: '/{organization}/audit_/api/auditlogs/' }],
  ])('does not depend on the %s', async (_, environment) => {
    const scene = await openStored();
    await scene.close();
    const options = { seed: 99, events: EVENTS, port: portOf(scene.simulator) };
    const other = await replace(scene, options, environment as Record<string, string>);
    const before = await identityOf(scene);
    await other.run();
    expect(await identityOf(scene)).toEqual(before);
  });
});

describe('the search for stored events', () => {
  test.each([1, 2])('compares %i stored events if there are no more', async (events) => {
    const scene = await bench.open({ events });
    await scene.run();
    const foreign = await replace(scene, { events: EVENTS, seed: 99, startAt: new Date('2022-12-01') });
    expect((await failureOf(foreign.run())).message).toContain(`shows 0 of the ${events} stored event`);
    const same = await replace(scene, { events });
    await same.run();
    expect(await identityOf(scene)).toMatchObject({ source_url: same.simulator.url });
  });

  test('ignores events that the retention of the source deleted, also in part of a tie', async () => {
    const scene = await bench.open({
      rows: [
        ...Array.from({ length: 4 }, (_, variant) =>
          makeEvent('login', { createdOn: '2023-01-01T00:00:00Z', variant }),
        ),
        ...Array.from({ length: 6 }, (_, i) =>
          makeEvent('login', { createdOn: `2023-01-0${2 + i}T00:00:00Z` }),
        ),
      ],
    });
    await scene.run();
    for (const deleted of [2, 1, 1, 3]) {
      const rows = textsOf(scene).slice(deleted);
      const other = await replace(scene, { rows });
      await other.run();
      expect(await identityOf(scene)).toMatchObject({ source_url: other.simulator.url });
    }
  });

  test('continues behind events that the source deletes meanwhile', async () => {
    const scene = await openStored();
    const other = await replace(scene, { events: EVENTS, moves: { deleteHead: 0.5 } });
    await other.run();
    expect(await identityOf(scene)).toMatchObject({ source_url: other.simulator.url });
  });

  test('ignores events that are known to be gone', async () => {
    const scene = await openStored();
    const rows = textsOf(scene).slice(0, -1);
    const other = await replace(scene, { rows });
    expect((await failureOf(other.run())).message).toContain('2 of the 3');
    await scene.query(
      `insert into audit.gone_events (organization, log, created_on, event_id, created_on_ticks, state, suspected_run_id)
       select organization, log, created_on, event_id, created_on_ticks, 'gone', run_id from audit.events
       where organization = $1 order by created_on desc limit 1`,
    );
    await other.run();
    expect(await identityOf(scene)).toMatchObject({ source_url: other.simulator.url });
  });

  test('ignores events that are newer than EXPORT_SETTLE: a replica may not have them yet', async () => {
    const scene = await openStored();
    const rows = textsOf(scene);
    // Reads the clock: an event of this moment is newer than EXPORT_SETTLE.
    scene.simulator.append([makeEvent('login', { createdOn: new Date().toISOString() })]);
    await scene.run();
    const other = await replace(scene, { rows });
    await other.run();
    expect(await identityOf(scene)).toMatchObject({ source_url: other.simulator.url });
  });

  test('finds events in a long list by few requests', async () => {
    const scene = await bench.open({ events: 6000 }, { EXPORT_PAGE_SIZE: '1000' });
    await scene.run();
    const other = await replace(scene, { events: 6000, shuffleTies: true });
    const requests = other.simulator.counts.list;
    await other.run();
    expect(other.simulator.counts.list - requests).toBeLessThan(60);
    expect(await identityOf(scene)).toMatchObject({ source_url: other.simulator.url });
  });

  test.each([
    ['503', 503],
    ['429', 429],
    ['a lost connection', 'reset'],
  ] as const)('is no result if the source fails with %s', async (_, fault) => {
    for (const after of [0, 1, 3]) {
      const scene = await openStored();
      const faults = [{ fault, after }];
      const other = await replace(scene, { events: EVENTS, faults }, (simulator) => ({
        ...(after === 1 ? accepting(simulator) : {}),
        RETRY_LIMIT: '2',
      }));
      const before = await stateOf(scene);
      expect((await failureOf(other.run())).code).toBe('source-away');
      expect(await stateOf(scene)).toEqual(before);
      other.simulator.set({ faults: [] });
      await other.run();
      expect(await identityOf(scene)).toMatchObject({ source_url: other.simulator.url });
    }
  });
});

describe('a source that is accepted', () => {
  test('at the same address, after a count found that it changed', async () => {
    const scene = await openStored();
    await scene.close();
    const options = { port: portOf(scene.simulator), events: EVENTS, seed: 99 };
    await scene.query(`update audit.watermarks set completeness = 'source changed' where organization = $1`);
    const other = await replace(scene, options, accepting);
    await other.run();
    await expectFormer(scene, other.simulator);
    const [state] = await scene.query('select state from audit.completeness where organization = $1');
    expect(state).not.toEqual({ state: 'source changed' });
  });

  test('is not compared again while EXPORT_ACCEPT_SOURCE stays set', async () => {
    const scene = await openStored();
    const other = await replace(scene, { events: EVENTS, seed: 99 }, accepting);
    await other.run();
    await other.run();
    const before = await stateOf(scene);
    const requests = other.simulator.counts.list;
    await other.run();
    expect(other.simulator.counts.list - requests).toBe(3);
    expect(await stateOf(scene)).toEqual(before);
  });

  test('needs no marks if it shows the stored events', async () => {
    const scene = await openStored();
    const other = await replace(scene, { events: EVENTS }, accepting);
    await other.run();
    expect(logged(other.lines, /accepted/)).toEqual([]);
    expect(logged(other.lines, /moved/)).toHaveLength(1);
    expect(await scene.query('select from audit.gone_events where organization = $1')).toEqual([]);
  });

  test('can be left again: its events are then of the former source, and those of the first no longer', async () => {
    const scene = await openStored();
    const other = await replace(scene, { rows: [...textsOf(scene).slice(10, 20), ...later(9)] }, accepting);
    await other.run();
    await expectFormer(scene, other.simulator);
    const back = await replace(scene, { events: EVENTS }, accepting);
    await back.run();
    await expectFormer(scene, back.simulator);
    expect(
      await scene.query(
        `select state, count(*), count(shown_again_at) as shown from audit.gone_events where organization = $1 group by 1 order by 1`,
      ),
    ).toEqual([
      { state: 'former source', count: '9', shown: '0' },
      { state: 'shown again', count: String(EVENTS - 10), shown: String(EVENTS - 10) },
    ]);
  });

  test('raises no alarm, and ends suspicions', async () => {
    const scene = await openStored();
    const shown = textsOf(scene).slice(0, 30);
    await scene.query(
      `insert into audit.gone_events (organization, log, created_on, event_id, created_on_ticks, state, suspected_run_id)
       select organization, log, created_on, event_id, created_on_ticks, 'suspected', run_id from audit.events where organization = $1`,
    );
    const other = await replace(
      scene,
      { rows: shown.concat(later(9).map((row) => JSON.stringify(row))) },
      accepting,
    );
    await scene.query(
      `update audit.watermarks set source_url = 'https://old', completeness = 'source changed' where organization = $1`,
    );
    // Reads the clock: the time is written only, and compared with the clock that the program reads.
    await scene.query(
      `update audit.gone_events set state = 'gone', gone_at = now() where organization = $1 and event_id in (
         select event_id from audit.gone_events where organization = $1 order by created_on desc limit 1)`,
    );
    // Every event is suspected, so that none is compared: the search finds nothing that contradicts the address.
    await scene.query(`delete from audit.gone_events where organization = $1 and event_id in (
      select event_id from audit.gone_events where organization = $1 order by created_on desc offset 1 limit 1)`);
    await other.run();
    expect(
      await scene.query(
        `select state, count(*), count(gone_at) as dated, count(gone_run_id) as run from audit.gone_events where organization = $1 and state <> 'dismissed'
         group by 1 order by 1`,
      ),
    ).toEqual([
      { state: 'former source', count: '29', dated: '29', run: '29' },
      // It was gone at the former source already.
      { state: 'gone', count: '1', dated: '1', run: '0' },
    ]);
    expect(
      (
        await scene.query(
          'select suspected_events, gone_events from audit.completeness where organization = $1',
        )
      )[0],
    ).toEqual({ suspected_events: '0', gone_events: '1' });
  });

  test.each([0, 1, 2, 3, 5, 8])(
    'is accepted as a whole after a run that was stopped at response %i',
    async (at) => {
      const scene = await openStored();
      const options = { rows: [...textsOf(scene).slice(20, 40), ...later(20)] };
      const other = await replace(scene, options, (simulator) => ({
        ...accepting(simulator),
        EXPORT_PAGE_SIZE: '10',
        EXPORT_CONCURRENCY: '1',
      }));
      const stop = new AbortController();
      let responses = 0;
      const { source } = other.app;
      const read: typeof source.read = async function* (...given) {
        for await (const chunk of source.read(...given)) {
          yield chunk;
          if (++responses > at + 8) stop.abort();
        }
      };
      const app = { ...other.app, source: { ...source, read } };
      await runExport(app, { kind: 'run', signal: stop.signal }).catch((error) => {
        expect(error).toMatchObject({ code: 'interrupted' });
      });
      await other.run();
      await expectFormer(scene, other.simulator);
      expect((await identityOf(scene))?.source_url).toBe(other.simulator.url);
    },
  );

  test('may have millions of events less: slices of any size are marked', async () => {
    const scene = await bench.open({ events: 25_000 }, { EXPORT_PAGE_SIZE: '5000' });
    await scene.run();
    const rows = textsOf(scene);
    const other = await replace(scene, { rows: [rows[0]!, rows[12_345]!, rows.at(-1)!] }, accepting);
    await scene.query(`update audit.watermarks set completeness = 'source changed' where organization = $1`);
    await scene.query(
      `update audit.watermarks set source_url = $2 where organization = $1`,
      other.simulator.url,
    );
    await other.run();
    await expectFormer(scene, other.simulator);
  });

  test.each([
    ['of a range', { from: 0n }, false],
    ['that is resumed', {}, true],
  ])('is not accepted by a backfill %s, which does not read everything', async (_, range, isResumed) => {
    const scene = await openStored();
    const other = await replace(scene, { events: EVENTS, seed: 99 }, accepting);
    if (isResumed) {
      await scene.query(
        `insert into audit.runs (organization, log, kind, outcome, frontier_ticks) values ($1, 'classic', 'backfill', 'failed', 0)`,
      );
    }
    const before = await stateOf(scene);
    expect(await failureOf(other.run({ kind: 'backfill', ...range }))).toMatchObject({
      code: 'configuration',
      message: expect.stringContaining('Call `run`'),
    });
    expect(await stateOf(scene)).toEqual(before);
    await other.run({ kind: 'backfill', shouldRestart: true });
    await expectFormer(scene, other.simulator);
  });

  test('is not accepted by verify', async () => {
    const scene = await openStored();
    const other = await replace(scene, { events: EVENTS, seed: 99 }, accepting);
    const before = await stateOf(scene);
    expect((await failureOf(other.verify({ shouldRepair: true }))).code).toBe('other-source');
    expect(await stateOf(scene)).toEqual(before);
  });
});

test('verify reads a source that moved, and remembers nothing', async () => {
  const scene = await openStored();
  const other = await replace(scene, { events: EVENTS });
  const before = await identityOf(scene);
  const { report } = (await other.verify()) as { report: object };
  expect(report).toMatchObject({
    same: EVENTS,
    counts: { missing: 0, changed: 0, gone: 0 },
  });
  expect(await identityOf(scene)).toEqual(before);
});
