/** Time is a parameter: no test's outcome hangs on the date, and no result of the program on the process' time zone. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from '@jest/globals';
import { ROOT } from '../support/root.ts';

const READS_CLOCK =
  /\bDate\.now\(|\bnew Date\(\)|(?<![.\w])now\(\)|\b(current_date|current_timestamp|localtime(stamp)?|clock_timestamp)\b/;
/** Why a test may, on a line above. In a comment with the code, so that it moves with it. */
const REASON = /\/\/ Reads the clock: \S/;
const LINES_ABOVE = 2;

const USES_LOCAL_TIME =
  /\.(get|set)(Day|Date|Month|FullYear|Hours|Minutes|Seconds|TimezoneOffset)\(|\bprocess\.env\.TZ\b|\.toLocaleTimeString\(/;

/** The torture campaign plays in real time, with a clock of its own; its verdicts have tests like any other. */
const IN_REAL_TIME = /^torture\//;

function findLines(folder: string, isFound: (line: string, above: string[]) => boolean): string[] {
  return readdirSync(join(ROOT, folder), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts') && name !== 'calendar.test.ts' && !IN_REAL_TIME.test(name))
    .flatMap((name) => {
      const lines = readFileSync(join(ROOT, folder, name), 'utf8').split('\n');
      return lines.flatMap((line, i) => {
        const above = lines.slice(Math.max(0, i - LINES_ABOVE), i);
        return isFound(line, above) ? [`${folder}/${name}:${i + 1}: ${line.trim()}`] : [];
      });
    });
}

// A failure here: give the instant as a parameter; use performance.now() for a deadline. Where the test needs the real time
// and passes at every date (.ci/calendar), say why: "// Reads the clock: reason".
test('no test reads the clock without a reason', () => {
  expect(
    findLines('test', (line, above) => READS_CLOCK.test(line) && !above.some((text) => REASON.test(text))),
  ).toEqual([]);
});

test.each([
  ['const at = Date.now();', true],
  ['new Date()', true],
  ["where created_on > now() - interval '1 day'", true],
  ['generate_series(current_date - 3, current_date)', true],
  ['clock_timestamp() - started_at', true],
  ['performance.now()', false],
  ['new Date(Date.UTC(2026, 0, 1))', false],
  ['scene.now', false],
])('%s reads the clock: %s', (line, isRead) => {
  expect(READS_CLOCK.test(line)).toBe(isRead);
});

// The getters for UTC give the same in every time zone.
test.each(['src', 'test'])('nothing in %s uses the time zone of the process', (folder) => {
  expect(findLines(folder, (line) => USES_LOCAL_TIME.test(line))).toEqual([]);
});
