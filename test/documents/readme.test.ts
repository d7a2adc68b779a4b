import { readFileSync } from 'node:fs';
import { describe, expect, test } from '@jest/globals';
import pg from 'pg';
import { variables } from '../../src/config/variables.ts';
import { createMigratedDatabase } from '../support/database.ts';
import { runProgram } from '../support/program.ts';

const read = (name: string) => readFileSync(new URL(`../${name}`, import.meta.url), 'utf8');
const configuration = read('docs/configuration.md');
const commands = read('docs/commands.md');

describe('the documents', () => {
  test('docs/configuration.md names every variable with its default', () => {
    const rows = configuration.split('\n').filter((line) => line.startsWith('| `'));
    for (const [name, variable] of Object.entries(variables)) {
      const row = rows.find((line) => line.includes(`\`${name}\``));
      expect([name, row]).toEqual([name, expect.any(String)]);
      const fallback = 'default' in variable ? variable.default : undefined;
      if (fallback !== undefined) expect([name, row]).toEqual([name, expect.stringContaining(fallback)]);
    }
  });

  test('docs/commands.md names every command of --help and no other', async () => {
    const { stdout } = await runProgram(['--help'], {});
    const offered = [...stdout.matchAll(/^ {2}([a-z]+)(?: \[|\s{2,})/gm)].map(([, name]) => name);
    const section = commands.slice(
      commands.indexOf('| command | does |'),
      commands.indexOf('Each command takes'),
    );
    const described = [...section.matchAll(/`([a-z]+)[ `]/g)].map(([, name]) => name);
    expect(offered.length).toBeGreaterThan(5);
    for (const name of offered) if (name !== 'help') expect(described).toContain(name);
  });

  test.each(['README.md', 'docs/tables.md', 'docs/proof.md'])('the queries of %s run', async (name) => {
    const database = await createMigratedDatabase();
    const pool = new pg.Pool({ connectionString: database.url });
    try {
      const blocks = [...read(name).matchAll(/```sql\n([\s\S]*?)```/g)].map(([, sql]) => sql!);
      expect(blocks.length).toBeGreaterThan(0);
      for (const sql of blocks) await pool.query(sql);
    } finally {
      await pool.end();
      await database.drop();
    }
  });
});
