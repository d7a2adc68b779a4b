import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { MAX_REASONS } from '../../src/runs/rejected-log.ts';
import { makeEvent } from '../../src/simulator/events.ts';
import { type HostileRow, hostileRows } from '../../src/simulator/hostile.ts';
import { type Bench, createBench, type Row, type Scene } from '../support/bench.ts';
import { expectStored, fieldsOf, STORED_EVENTS, storedFieldsOf } from '../support/truth.ts';

const DEEP = 100_000;

/** Beyond the simulator's own: what the store alone must withstand. Each is the exact text of the details. */
const oddDetails: Record<string, string> = {
  'deep, behind brackets in a string that close more than was opened': `{"a":"${']'.repeat(DEEP)}","b":${'['.repeat(DEEP)}`,
  'deep, behind an escaped quote': `{"a":"\\"${']'.repeat(DEEP)}","b":${'['.repeat(DEEP)}${']'.repeat(DEEP)}}`,
  'deep behind closing brackets': `${']'.repeat(DEEP)}${'['.repeat(DEEP)}`,
  '1,000 levels deep': '['.repeat(1000) + ']'.repeat(1000),
  'a string of brackets': `{"a":"${'['.repeat(2000)}"}`,
  'an unclosed string of brackets': `{"a":"${'['.repeat(2000)}`,
  'a number of 200,000 digits': `{"a":${'9'.repeat(200_000)}}`,
  '200,000 numbers': `[${'1,'.repeat(200_000)}1]`,
  'a backslash at the end': '"\\',
  'JSON but for a NUL': '{"a":"x\0y"}',
  'JSON with a lone surrogate': '{"a":"\ud800"}',
};

/** Called events by the simulator; the parser keeps them word for word all the same, which loses nothing either. */
const KEPT_ASIDE = ['an unknown field: array nested 100,000 levels deep'];

let bench: Bench;
let scene: Scene;
let hostile: HostileRow[];
let events: Map<string, Row>;
/** The hostile rows that are events, by their nine fields. */
let byFields: Map<string, HostileRow>;

beforeAll(async () => {
  bench = await createBench();
  const rows = [...hostileRows(), ...Object.entries(oddDetails).map(toRow)];
  hostile = rows.map((row) => (KEPT_ASIDE.includes(row.name) ? { ...row, expected: 'rejected' } : row));
  const areEvents = hostile.filter(({ expected }) => expected === 'event');
  byFields = new Map(areEvents.map((row) => [fieldsOf(JSON.parse(row.text)), row]));
  scene = await bench.open({ events: 500 }, { EXPORT_PAGE_SIZE: '1000' });
  // One by one, so that a row without a readable createdOn stands among typical ones and not beside the last of its kind.
  hostile.forEach(({ text }, i) => {
    scene.simulator.insertLate([spacer(i), text]);
  });
});
afterAll(() => bench.close());

function toRow([name, details]: [string, string], i: number): HostileRow {
  const createdOn = `2023-05-03T00:00:${String(i).padStart(2, '0')}.0000001Z`;
  const text = JSON.stringify({ ...makeEvent('login', { createdOn }), auditLogDetails: details });
  return { name: `details: ${name}`, text, expected: 'event' };
}

function spacer(i: number): string {
  const createdOn = new Date(Date.UTC(2023, 6, 1) + i * 1000).toISOString();
  return JSON.stringify(makeEvent('login', { createdOn, variant: i }));
}

const isEvent = ({ text }: { text: string }) =>
  hostile.find((row) => row.text === text)?.expected !== 'rejected';
const stored = (name: string) => events.get(fieldsOf(JSON.parse(rowNamed(name).text)))!;
const rowNamed = (name: string) => {
  const row = hostile.find((row) => row.name === name);
  if (!row) throw new Error(`the simulator has no hostile row "${name}"`);
  return row;
};

describe('a list full of hostile rows', () => {
  test('is read to its end, each row stored exactly or kept verbatim, and every neighbour too', async () => {
    const summary = await scene.run();
    const { counts, examples, same } = await scene.verify();
    expect({ counts, examples }).toEqual({ counts: { missing: 0, changed: 0, gone: 0 }, examples: [] });
    expect(same).toBe(summary.counters.inserted);
    expect(summary).toMatchObject({ outcome: 'succeeded', warnings: [] });
    const rejected = hostile.filter((row) => row.expected === 'rejected').length;
    expect(rejected).toBeGreaterThan(40);
    expect(summary.counters).toMatchObject({ rejected, inserted: scene.simulator.length - rejected });
    await expectStored(scene, scene.simulator.rows, isEvent);
    events = new Map((await scene.query(STORED_EVENTS)).map((row) => [storedFieldsOf(row), row]));
  });

  test('says why of each rejected row in the table, and of each reason in one log line', async () => {
    const reasons = await scene.query('select reason from audit.rejected_events where organization = $1');
    expect(reasons.filter(({ reason }) => (reason as string).length < 10)).toEqual([]);
    const warned = scene.lines.filter(({ msg }) => msg === 'rows kept in audit.rejected_events');
    expect(warned.length).toBe(Math.min(new Set(reasons.map(({ reason }) => reason)).size, MAX_REASONS + 1));
    expect(warned.reduce((sum, { rows }) => sum + (rows as number), 0)).toBe(reasons.length);
    const texts = scene.simulator.rows.map((row) => row.text.slice(0, 300));
    for (const { reason, example } of warned)
      expect(reason === 'other reasons' || texts.includes(example as string)).toBe(true);
  });

  test('keeps unknown fields in extra, or else in the exact text of the row', () => {
    for (const row of events.values()) {
      const text = rowOf(row)?.text;
      if (row.raw !== null) expect(row.raw).toBe(text);
      else expect(JSON.parse((row.extra as string) ?? '{}')).toEqual(unknownFieldsOf(text ?? '{}'));
    }
    expect(stored('an unknown field: number of 30 digits').raw).not.toBeNull();
    expect(stored('500 unknown fields')).toMatchObject({
      raw: null,
      extra: expect.stringContaining('field499'),
    });
  });

  test('has texts without what PostgreSQL cannot hold in their columns, U+FFFD in its place', () => {
    expect(stored('a NUL in category').category).toBe('before\ufffdafter');
    expect(stored('a lone high surrogate in message').message).toBe('before\ufffdafter');
    expect(stored('an escaped emoji in userName')).toMatchObject({ user_name: '😀', raw: null });
    expect(stored('null in all eight nullable fields')).toMatchObject({
      category: null,
      details_raw: null,
      raw: null,
    });
    expect(stored('empty strings in all eight nullable fields')).toMatchObject({
      category: '',
      details_raw: '',
    });
  });
});

describe('the parsed copy of the details', () => {
  test.each([
    'details that are not JSON',
    'details that are JSON cut in the middle',
    'details with a NUL escape',
    'details with a NUL escape in a key',
    'details with a lone surrogate escape',
    'details with the number 1e400000',
    'details nested 100,000 levels deep',
    'details with a byte order mark',
    'details with NaN',
    'details of 1 MB that are not JSON',
    'null in auditLogDetails',
    'an empty string in auditLogDetails',
    'a NUL in auditLogDetails',
    'details: deep, behind brackets in a string that close more than was opened',
    'details: deep, behind an escaped quote',
    'details: deep behind closing brackets',
    'details: an unclosed string of brackets',
    'details: a number of 200,000 digits',
    'details: a backslash at the end',
    'details: JSON but for a NUL',
    'details: JSON with a lone surrogate',
  ])('is null for %s', (name) => {
    expect(stored(name).details).toBeNull();
  });

  test.each([
    ['details that are a JSON scalar', '5'],
    ['details that are the JSON null', 'null'],
    ['details with an escaped backslash before u0000', '{"path": "C:\\\\u0000"}'],
    ['details with duplicate keys', '{"a": 2, "b": {"c": 2}}'],
    ['details with -0 and trailing zeros', '{"a": 0, "b": 1.10, "c": 100}'],
    ['details with a __proto__ key', '{"__proto__": {"polluted": true}}'],
    [
      'details with a 30-digit number',
      '{"a": 123456789012345678901234567890, "b": 0.123456789012345678901234567890}',
    ],
    ['details: 1,000 levels deep', '['.repeat(1000) + ']'.repeat(1000)],
    ['details: a string of brackets', `{"a": "${'['.repeat(2000)}"}`],
  ])('of %s is what PostgreSQL reads', (name, text) => {
    expect(stored(name).details).toBe(text);
  });

  test('is there for every typical row and for 1 MB of JSON', async () => {
    const names = [
      'details of 1 MB of JSON',
      'details with a key of 100,000 characters',
      'details: 200,000 numbers',
    ];
    for (const name of names) expect((stored(name).details as string).length).toBeGreaterThan(100_000);
    const typical = [...events.values()].filter((row) => !rowOf(row));
    expect(typical.filter((row) => row.details === null)).toEqual([]);
  });
});

describe('a second run over the same list', () => {
  test('stores nothing anew, and rewrites nothing', async () => {
    const versions =
      'select event_id, ctid::text, xmin::text from audit.events where organization = $1 order by 1';
    const before = await scene.query(versions);
    const { counters } = await scene.run({ kind: 'backfill' });
    expect(counters).toMatchObject({ inserted: 0, updated: 0 });
    expect(await scene.query(versions)).toEqual(before);
    await expectStored(scene, scene.simulator.rows, isEvent);
  });
});

/** The hostile row that a stored event came from; none for a typical one. */
function rowOf(row: Row): HostileRow | undefined {
  return byFields.get(storedFieldsOf(row));
}

function unknownFieldsOf(text: string): Record<string, unknown> {
  const known = Object.keys(makeEvent('login'));
  return Object.fromEntries(Object.entries(JSON.parse(text)).filter(([name]) => !known.includes(name)));
}
