/** Lines that dotenv reads differently from what is written are warnings with line and name; other encodings are errors. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { loadEnvironment, parseConfig } from '../../src/config/config.ts';
import { parseDotenv } from '../../src/config/dotenv.ts';
import { runProgram } from '../support/program.ts';

const SECRET = 'UIPATH_CLIENT_SECRET';
let directory: string;

beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'audit-dotenv-'));
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

function write(name: string, content: string | Buffer): string {
  const path = join(directory, name);
  writeFileSync(path, content);
  return path;
}

describe('a line that dotenv reads as written gives no warning', () => {
  test.each([
    [`${SECRET}=abcd`, 'abcd'],
    [`export ${SECRET} = abcd  `, 'abcd'],
    [`${SECRET}="ab#cd"`, 'ab#cd'],
    [`${SECRET}='ab#cd' # a comment`, 'ab#cd'],
    [`${SECRET}=\`ab"'#cd\``, 'ab"\'#cd'],
    [`${SECRET}=ab$cd$ef`, 'ab$cd$ef'],
    [`${SECRET}='a\\nb'`, 'a\\nb'],
    [`# it's a comment with "\n\n${SECRET}=abcd\r\n`, 'abcd'],
    [`LOG_LEVEL=info\r${SECRET}=abcd\r`, 'abcd'],
    [`${SECRET}=`, ''],
  ])('%j', (text, value) => {
    expect(parseDotenv(text)).toMatchObject({ values: { [SECRET]: value }, warnings: [] });
  });

  test('nor does a comment after a value that is not a secret', () => {
    expect(parseDotenv('LOG_LEVEL=info # quiet\nSTATUS_PORT="off" # none')).toEqual({
      values: { LOG_LEVEL: 'info', STATUS_PORT: 'off' },
      warnings: [],
    });
  });
});

describe('a line that dotenv reads differently gives a warning without its value', () => {
  test.each([
    [`${SECRET}=hush#hush`, 'cut off at a #'],
    [`${SECRET}=#hushhush`, 'cut off at a #'],
    [`${SECRET}=hush #hush`, 'cut off at a #'],
    [`${SECRET}=hush"x#hush"`, 'cut off at a #'],
    [`${SECRET}="hush#hush`, 'cut off at a #'],
    [`${SECRET}="hush"#"hush"x`, 'cut off at a #'],
    [`UIPATH_SCOPE=hush#hush`, 'cut off at a #'],
    [`UIPATH_SCOPE=#hush`, 'cut off at a #'],
    [`${SECRET}="hushhush`, 'quotation mark'],
    [`${SECRET}=hushhush'`, 'quotation mark'],
    [`${SECRET}="hush"hush`, 'quotation mark'],
    [`${SECRET}="hush\\nhush"`, 'becomes a line break'],
    [`${SECRET}="hush\nX=hush"`, 'continues to line 4'],
    [`${SECRET}=x\n${SECRET}=hush`, 'also set in line 3'],
  ])('%j: %s', (text, what) => {
    const { warnings } = parseDotenv(`# first\n\n${text}`);
    expect(warnings).toEqual([expect.stringContaining(what)]);
    expect(warnings[0]).toMatch(/^line [34]: .*\b(UIPATH_CLIENT_SECRET|UIPATH_SCOPE)\b/);
    expect(warnings[0]).not.toContain('hush');
  });

  test('a line that is not an assignment gives a warning', () => {
    const { warnings } = parseDotenv('hush hush\nLOG_LEVEL info\n');
    expect(warnings).toEqual([
      'line 1 is not an assignment (NAME=value) and has no effect.',
      'line 2 is not an assignment (NAME=value) and has no effect.',
    ]);
  });

  test('the number of warnings is limited', () => {
    expect(parseDotenv('A B\n'.repeat(10_000)).warnings).toHaveLength(21);
  });
});

test('a copy of the environment keeps the warnings', () => {
  const envFile = write('warned.env', `${SECRET}=ab#cd\nDATABASE_URL=postgres://h/d\n`);
  const { warnings } = parseConfig({ ...loadEnvironment({ envFile }, {}) }, 'database');
  expect(warnings).toEqual([expect.stringMatching(/warned\.env, line 1: UIPATH_CLIENT_SECRET is cut off/)]);
});

const wide = (text: string, size: 2 | 4, isBig: boolean) => {
  const bytes = Buffer.alloc(text.length * size);
  [...text].forEach((character, i) => {
    bytes[i * size + (isBig ? size - 1 : 0)] = character.charCodeAt(0);
  });
  return bytes;
};
const ENCODINGS: [string, (text: string) => Buffer][] = [
  ['UTF-16 LE', (text) => wide(`${text}`, 2, false)],
  ['UTF-16 BE', (text) => wide(text, 2, true)],
  ['UTF-32 LE', (text) => wide(text, 4, false)],
  ['UTF-32 BE', (text) => wide(text, 4, true)],
  ['UTF-16 LE', (text) => Buffer.concat([Buffer.from('fffe', 'hex'), wide(text, 2, false)])],
  ['UTF-16 BE', (text) => Buffer.concat([Buffer.from('feff', 'hex'), wide(text, 2, true)])],
  ['UTF-32 LE', (text) => Buffer.concat([Buffer.from('fffe0000', 'hex'), wide(text, 4, false)])],
  ['UTF-32 BE', (text) => Buffer.concat([Buffer.from('0000feff', 'hex'), wide(text, 4, true)])],
  ['not UTF-8', (text) => Buffer.from(text.replace('hush', 'h\u00fcsh'), 'latin1')],
];

describe.each(ENCODINGS)('a file whose encoding is %s is an error that names it', (encoding, convert) => {
  const explained = new RegExp(`its encoding is ${encoding}.*UTF-8 is expected.*Set-Content -Encoding utf8`);

  test('as .env', () => {
    const envFile = write('wide.env', convert(`${SECRET}=hush\r\n`));
    expect(() => loadEnvironment({ envFile }, {})).toThrow(explained);
    expect(() => loadEnvironment({ envFile }, {})).toThrow('Cannot read ');
  });

  test('as a secret file, and as the organizations file', () => {
    const secret = { UIPATH_CLIENT_SECRET_FILE: write('secret', convert('hush-hush-hush')) };
    const given = { UIPATH_ORGANIZATION: 'acme', UIPATH_CLIENT_ID: 'client' };
    expect(() => parseConfig({ ...given, ...secret }, 'source')).toThrow(explained);
    const path = write('list.json', convert('[{"UIPATH_ORGANIZATION":"hush"}]'));
    expect(() => parseConfig({ UIPATH_ORGANIZATIONS_FILE: path }, 'sources')).toThrow(explained);
  });
});

test('UTF-8 with a byte order mark is read, and a comment in another encoding is ignored', () => {
  const marked = write('marked.env', `\uFEFF${SECRET}=s\u00fc\u00df\r\n`);
  expect(loadEnvironment({ envFile: marked }, {})).toEqual({ [SECRET]: 's\u00fc\u00df' });
  const commented = write('commented.env', Buffer.from(`# Schl\u00fcssel\n${SECRET}=abc\n`, 'latin1'));
  expect(loadEnvironment({ envFile: commented }, {})).toEqual({ [SECRET]: 'abc' });
});

test('the program exits with 2 and names the encoding, and warns about a # without showing the value', async () => {
  const utf16 = write('powershell.env', Buffer.from(`\uFEFF${SECRET}=hush\r\n`, 'utf16le'));
  const refused = await runProgram(['check', '--env-file', utf16], {});
  expect(refused.code).toBe(2);
  expect(refused.stdout + refused.stderr).toMatch(/powershell\.env: its encoding is UTF-16 LE/);
  const cut = write(
    'cut.env',
    `UIPATH_ORGANIZATION=acme\nUIPATH_CLIENT_ID=c\n${SECRET}=hush#hush\nDATABASE_URL=x\n`,
  );
  const warned = await runProgram(['run', '--env-file', cut], {});
  expect([warned.code, warned.stderr]).toEqual([
    2,
    expect.stringContaining('line 3: UIPATH_CLIENT_SECRET is cut off'),
  ]);
  expect(warned.stderr).not.toContain('hush');
}, 60_000);
