import { execFile, spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { stripVTControlCharacters } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import stringWidth from 'string-width';
import { createSimulator, type Simulator } from '../../src/simulator/simulator.ts';
import { coloursFor, cut, hang, pad, widthOf } from '../../src/terminal/screen.ts';
import { layTable } from '../../src/terminal/table.ts';
import { createMigratedDatabase, type TestDatabase } from '../support/database.ts';
import { environmentFor, machineEnvironment, runProgram } from '../support/program.ts';
import { ROOT } from '../support/root.ts';

const plain = coloursFor({ NO_COLOR: '1' });
const coloured = coloursFor({ FORCE_COLOR: '1' });

describe('the width', () => {
  test.each([
    ['of a terminal is its own', { isTTY: true, columns: 97 }, 97],
    ['of one that does not tell is the usual', { isTTY: true, columns: 0 }, 80],
    ['of a very narrow one is not followed', { isTTY: true, columns: 7 }, 40],
    ['of a pipe has no end', { columns: 50 }, Number.POSITIVE_INFINITY],
  ])('%s', (_, screen, width) => {
    expect(widthOf(screen)).toBe(width);
  });
});

describe('text', () => {
  test('is indented by the width of its prefix, without colours', () => {
    const lines = hang(`${coloured.red('✗')} 会社: `, 'one two three four five six seven eight', 30);
    expect(lines.map(stripVTControlCharacters)).toEqual([
      '✗ 会社: one two three four',
      '        five six seven eight',
    ]);
  });

  test('of an item stands below the item, and line breaks stay', () => {
    expect(hang('', 'Two:\n  - one two three four five six\n  - seven', 25)).toEqual([
      'Two:',
      '  - one two three four',
      '    five six',
      '  - seven',
    ]);
  });

  test('without spaces is broken where it is Chinese, and not where it is an address', () => {
    const [first, second] = hang('  ', '日志'.repeat(15), 42);
    expect([first, second]).toEqual([`  ${'日志'.repeat(10)}`, `  ${'日志'.repeat(5)}`]);
    const address = `https://example.com/${'a'.repeat(60)}`;
    expect(hang('  ', `See ${address} there`, 42)).toEqual(['  See', `  ${address}`, '  there']);
  });

  test('is one line in a pipe', () => {
    expect(hang('  ', 'word '.repeat(100).trim(), Number.POSITIVE_INFINITY)).toHaveLength(1);
  });

  test.each([
    ['abcdef', 6, 'abcdef'],
    ['abcdef', 5, 'abcd…'],
    ['株式会社', 5, '株式…'],
    ['株式会社', 6, '株式…'],
    ['👨‍👩‍👧👨‍👩‍👧', 3, '👨‍👩‍👧…'],
  ])('%s in %d columns is %s', (text, width, expected) => {
    expect(cut(text, width)).toBe(expected);
    expect(stringWidth(pad(cut(text, width), width))).toBe(width);
  });
});

describe('a table', () => {
  const columns = [
    { title: 'Name', mayCut: true },
    { title: 'Rows', isNumber: true },
    { title: 'Late', isNumber: true, keep: 9 },
    { title: 'Note', keep: 1 },
  ];
  const rows = [
    ['株式会社テスト', '12', '0', 'first'],
    ['🏢 Büro', '1,234', '0', 'the second of them'],
    [coloured.green('a'), '7', '0', ''],
  ];

  test('is aligned by what a terminal shows, not by the number of characters', () => {
    const lines = layTable(columns, rows, plain, Number.POSITIVE_INFINITY).map(stripVTControlCharacters);
    expect(lines).toEqual([
      '  Name             Rows  Late  Note',
      '  株式会社テスト     12     0  first',
      '  🏢 Büro         1,234     0  the second of them',
      '  a                   7     0',
    ]);
  });

  test('too wide for the terminal loses empty columns first, then those of low priority, then cuts texts', () => {
    const heads = [60, 45, 40, 25, 18].map((width) => layTable(columns, rows, plain, width)[0]);
    expect(heads).toEqual([
      '  Name             Rows  Late  Note',
      '  Name             Rows  Note',
      '  Name             Rows',
      '  Name             Rows',
      '  Name        Rows',
    ]);
    for (const width of [60, 45, 40, 25, 18]) {
      for (const line of layTable(columns, rows.slice(0, 2), coloured, width)) {
        expect(stringWidth(line)).toBeLessThanOrEqual(width);
      }
    }
  });
});

/** From util-linux; every Debian has it. */
const hasScript = spawnSync('script', ['--version']).status === 0;

(hasScript ? describe : describe.skip)('in a pseudo-terminal', () => {
  let database: TestDatabase;
  let simulator: Simulator;
  let environment: Record<string, string>;

  beforeAll(async () => {
    database = await createMigratedDatabase();
    simulator = await createSimulator({ events: 250 });
    environment = environmentFor(simulator, database.url);
    await runProgram(['run'], environment);
  });

  afterAll(async () => {
    await simulator.close();
    await database.drop();
  });

  /** What the program writes where both its outputs are a terminal of `columns` columns. */
  function show(columns: number, command: string, given: Record<string, string> = {}): Promise<string> {
    const main = join(ROOT, 'dist', 'main.js');
    const inside = `stty cols ${columns} rows 40; exec '${process.execPath}' -- '${main}' ${command}`;
    const env = {
      ...machineEnvironment(),
      TERM: 'xterm-256color',
      SHELL: '/bin/sh',
      ...environment,
      ...given,
    };
    return new Promise((resolve) => {
      execFile('script', ['-qec', inside, '/dev/null'], { env }, (_, stdout) =>
        resolve(stdout.replaceAll('\r', '')),
      );
    });
  }

  test.each([60, 80, 120])('status keeps to %d columns', async (columns) => {
    const lines = stripVTControlCharacters(await show(columns, 'status')).split('\n');
    expect(lines.filter((line) => stringWidth(line) > columns)).toEqual([]);
    expect(lines.find((line) => line.startsWith('  Run '))).toMatch(/ Outcome +New/);
  });

  test('status and check are coloured, except with NO_COLOR', async () => {
    for (const command of ['status', 'check']) {
      expect(await show(80, command)).toContain(`${coloured.green('✓')} `);
      expect(await show(80, command, { NO_COLOR: '1' })).not.toContain('\u001b');
    }
  });

  test('run shows a bar and its result, no log lines, and the next command', async () => {
    const shown = await show(80, 'run', { NO_COLOR: '1' });
    expect(shown).toMatch(/Export █+ 100% {2}\d+ of \d+/);
    expect(shown).toMatch(/\nRun \d+: 0 new events, .*\.\nNext: node dist\/main\.js status\n$/);
    expect(shown).not.toContain('INFO');
  });

  test('help is wrapped to the terminal', async () => {
    const lines = stripVTControlCharacters(await show(60, '--help')).split('\n');
    expect(lines.filter((line) => line.length > 60)).toEqual([]);
  });

  test('an error is broken at words, its first one red', async () => {
    const shown = await show(60, 'status', { DATABASE_URL: 'postgres://nobody@127.0.0.1:1/x' });
    expect(shown.startsWith(coloured.red('error:'))).toBe(true);
    expect(
      stripVTControlCharacters(shown)
        .split('\n')
        .filter((line) => line.length > 60),
    ).toEqual([]);
  });
});
