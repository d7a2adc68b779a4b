/** The questions of docs/bi.md with their SQL, as a reader finds them there. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT } from './root.ts';

export interface Question {
  /** As in the document, for example `7. Who logged in at an hour that is unusual for them?` */
  title: string;
  kind: 'dashboard' | 'drill-down';
  sql: string;
}

export function readQuestions(): Question[] {
  const text = readFileSync(join(ROOT, 'docs/bi.md'), 'utf8');
  const blocks = text.matchAll(/^### (\d+\. .+)\n\n```sql\n-- (dashboard|drill-down)\n([\s\S]*?);\n```$/gm);
  return [...blocks].map(([, title, kind, sql]) => ({
    title: title!,
    kind: kind as Question['kind'],
    sql: sql!,
  }));
}
