/** The schedule does not depend on the machine's time zone: around each change of its clock, a run every five minutes. */
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, test } from '@jest/globals';
import { ROOT } from '../support/root.ts';

/** A zone of the machine, and an instant at which its clock changes. */
const CHANGES = [
  ['Europe/Berlin', '2026-10-25T01:00Z'],
  ['Europe/Berlin', '2026-03-29T01:00Z'],
  ['America/New_York', '2026-11-01T06:00Z'],
  ['America/New_York', '2026-03-08T07:00Z'],
  ['Australia/Lord_Howe', '2026-04-04T15:00Z'],
  ['Australia/Lord_Howe', '2026-10-03T15:30Z'],
  ['Antarctica/Troll', '2026-10-25T01:00Z'],
  ['UTC', '2026-10-25T01:00Z'],
] as const;

/** From two hours before the change to two hours after it, by a fake clock (that of jest), which prints when runs began. */
const SCRIPT = `
  import FakeTimers from '@sinonjs/fake-timers';
  const { createSchedule } = await import(process.argv[1]);
  const change = Date.parse(process.argv[2]);
  const clock = FakeTimers.install({ now: change - 7_200_000 });
  const runs = [];
  const log = { debug() {}, info() {}, warn() {}, trace() {} };
  // Reads the clock: the fake one.
  const run = () => runs.push(Math.floor((Date.now() - change) / 1000));
  createSchedule([{ expression: '*/5 * * * *', run }], { timezone: 'UTC', log });
  await clock.tickAsync(14_400_000);
  console.log(JSON.stringify(runs));
  process.exit();`;

test.concurrent.each(CHANGES)('where the machine is in %s, around %s', async (zone, change) => {
  const module = join(ROOT, 'dist/worker/schedule.js');
  const args = ['--input-type=module', '--eval', SCRIPT, '--', module, change];
  const env = { ...process.env, NODE_OPTIONS: '', TZ: zone };
  const { stdout } = await promisify(execFile)(process.execPath, args, { cwd: ROOT, env });
  expect(JSON.parse(stdout)).toEqual(Array.from({ length: 48 }, (_, i) => -7_200 + 300 * (i + 1)));
});
