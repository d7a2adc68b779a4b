/** The prose uses the field's terms: docs/glossary.md. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from '@jest/globals';
import { ROOT } from '../support/root.ts';

/** Each phrase with what to write instead. */
const BANNED: readonly [RegExp, string][] = [
  [/\bin vain\b/i, 'no response after N attempts: reason'],
  [/\bwithout a word\b/i, 'without recording an outcome, without a message'],
  [/\b(un)?mend(s|ed|ing)?\b/i, 'repair, fix'],
  [/\bjust so\b/i, 'unchanged, identical'],
  [/\banswer(s|ed|ing)?\b/i, 'response, respond; result of a query'],
  [/\bin silence\b/i, 'silently'],
  [/\bword for word\b/i, 'verbatim'],
  [/\blast words\b/i, 'final update'],
  [/\b(hears?|told) of\b/i, 'receives'],
  [/\bas it should be\b/i, 'differences found'],
  [/\bkept aside\b/i, 'kept in audit.rejected_events'],
  [/\b(asks?|asked) (again )?for\b/i, 'request'],
  [/\bwhoever\b/i, 'name the actor'],
];

/** Pages whose subject is questions and their answers. */
const EXCEPT: Record<string, RegExp> = { 'docs/bi.md': /answer/i };

function filesOf(folder: string, ending: RegExp): string[] {
  return readdirSync(join(ROOT, folder), { recursive: true, encoding: 'utf8' })
    .filter((name) => ending.test(name))
    .map((name) => `${folder}/${name}`);
}

const files = [
  ...filesOf('src', /\.ts$/),
  ...filesOf('docs', /\.md$/),
  ...filesOf('deploy', /\.(ya?ml|sql)$/),
  ...[
    'README.md',
    'SECURITY.md',
    'CONTRIBUTING.md',
    'CHANGELOG.md',
    '.env.example',
    'compose.yaml',
    'Dockerfile',
  ],
];

test.each(BANNED)('%s is not written', (phrase, instead) => {
  const found = files.flatMap((file) => {
    if (EXCEPT[file]?.test(phrase.source)) return [];
    const lines = readFileSync(join(ROOT, file), 'utf8').split('\n');
    return lines.flatMap((line, i) => (phrase.test(line) ? [`${file}:${i + 1}: ${line.trim()}`] : []));
  });
  expect({ instead, found }).toEqual({ instead, found: [] });
});

test('a phrase of the list is found where it stands', () => {
  expect(BANNED.filter(([phrase]) => phrase.test('Asked 8 times in vain'))).toHaveLength(1);
});
