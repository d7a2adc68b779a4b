import { existsSync, readFileSync } from 'node:fs';
import { expect, test } from '@jest/globals';
import pg from 'pg';
import { createMigratedDatabase } from '../support/database.ts';

const ROOT = new URL('../../', import.meta.url);

test.each([
  'SECURITY.md',
  'README.md',
  'CONTRIBUTING.md',
  'CHANGELOG.md',
  'docs/commands.md',
  'docs/completeness.md',
  'docs/configuration.md',
  'docs/databases.md',
  'docs/glossary.md',
  'docs/how-it-works.md',
  'docs/proof.md',
  'docs/roles.md',
  'docs/tables.md',
  'docs/hostile-input.md',
  'docs/operations.md',
  'docs/metrics.md',
  'docs/organizations.md',
  'docs/bi.md',
  'docs/performance.md',
  'docs/reliability.md',
  'docs/terminal.md',
])('%s links to files that exist', (name) => {
  const text = readFileSync(new URL(name, ROOT), 'utf8');
  const links = [...text.matchAll(/\]\(([^)#:]+)\)/g)].map(([, path]) => path!);
  expect(links.filter((path) => !existsSync(new URL(path, new URL(name, ROOT))))).toEqual([]);
  if (name === 'SECURITY.md') expect(links.length).toBeGreaterThan(20);
});

test.each([
  'docs/databases.md',
  'docs/operations.md',
  'docs/metrics.md',
  'docs/completeness.md',
  'docs/proof.md',
])('%s refers to headings that exist', (name) => {
  const text = readFileSync(new URL(name, ROOT), 'utf8');
  const links = [...text.matchAll(/\]\(([^)#:]*)#([^)]+)\)/g)];
  expect(links.length).toBeGreaterThan(0);
  for (const [, path, anchor] of links) {
    const target = readFileSync(path ? new URL(path, new URL(name, ROOT)) : new URL(name, ROOT), 'utf8');
    expect(anchorsOf(target)).toContain(anchor);
  }
});

function anchorsOf(markdown: string): string[] {
  const headings = markdown.split('\n').filter((line) => /^#+ /.test(line));
  return headings.map((line) =>
    line
      .replace(/^#+ /, '')
      .toLowerCase()
      .replace(/[^\w -]/g, '')
      .replaceAll(' ', '-'),
  );
}

test('the queries of the pages for operators run', async () => {
  const pages = ['docs/operations.md', 'docs/completeness.md', 'docs/proof.md'];
  const texts = pages.map((name) => readFileSync(new URL(name, ROOT), 'utf8'));
  const queries = texts.flatMap((text) =>
    [...text.matchAll(/```sql\n([\s\S]*?)```/g)].map(([, sql]) => sql!),
  );
  expect(queries.length).toBeGreaterThan(6);
  const database = await createMigratedDatabase();
  const pool = new pg.Pool({ connectionString: database.url });
  try {
    for (const sql of queries) await pool.query(sql);
  } finally {
    await pool.end();
    await database.drop();
  }
});
