import { spawnSync } from 'node:child_process';

/** Whether Debian's package `nginx` is there. Without it the tests of its recipe are skipped, and say so. */
export const hasNginx = spawnSync('nginx', ['-v']).status === 0;

if (!hasNginx) console.log('nginx is not installed (Debian: nginx): the tests of deploy/nginx are skipped.');
