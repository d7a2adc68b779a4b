import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from '@jest/globals';

const CORE = fileURLToPath(new URL('../../src/core', import.meta.url));

/** Names of the edges: variables, tables, columns, database types. The caller that reports an error of core adds them. */
const FOREIGN =
  /\b(?:UIPATH|EXPORT|DATABASE|HTTP)_[A-Z]+\b|\b(?:audit|bi)\.[a-z]+_?[a-z]*\b|\b[a-z]+(?:_[a-z]+)+\b|PostgreSQL|timestamptz|\buuid\b/g;

/** Members of the text of a ledger entry: docs/ledger.md fixes them. */
const ENTRY_TEXT = /^(committed_at|from_at|to_at|rows_root|rows_list)$/;

test('core names no variable, table, column or type of the database', async () => {
  const files = (await readdir(CORE, { recursive: true })).filter((name) => name.endsWith('.ts'));
  expect(files.length).toBeGreaterThan(20);
  const found = await Promise.all(
    files.map(async (file) => {
      const text = await readFile(join(CORE, file), 'utf8');
      const isAllowed = (word: string) => file.startsWith('ledger/') && ENTRY_TEXT.test(word);
      return (text.match(FOREIGN) ?? []).filter((word) => !isAllowed(word)).map((word) => `${file}: ${word}`);
    }),
  );
  expect(found.flat()).toEqual([]);
});
