/** Gives the page the version of package.json, as the bundle has it. Imported before what shows it. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT } from '../support/root.ts';

const { version } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'));
Object.assign(globalThis, { BUILD: { version, commit: 'a1b2c3d' } });
