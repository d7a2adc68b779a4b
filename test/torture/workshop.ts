/** What lasts for all rounds: the directory, the two clusters, the processes; and how nothing of it is left behind. */
import { execFile } from 'node:child_process';
import { appendFileSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { findPostmaster } from '../../src/embedded-postgres/server.ts';
import { type Program, runProgram, startProgram } from '../support/program.ts';
import { type Cluster, startCluster } from './cluster.ts';

const PREFIX = 'audit-torture-';
/** The cluster of a small file system needs some 60 MB to begin with. */
const DISK = 'size=160m,mode=0755';

export interface Workshop {
  cluster: Cluster;
  /** A cluster on a file system of its own, with the directory it fills; made when it is first asked for. */
  disk(): Promise<{ cluster: Cluster; directory: string }>;
  /** Why there can be no such file system here. */
  noDisk: string | undefined;
  /** Starts the program and remembers it, so that it does not outlive the harness. */
  start(args: readonly string[], environment: Record<string, string>): Program;
  close(): Promise<void>;
}

export async function openWorkshop(): Promise<Workshop> {
  await removeLeftovers();
  const root = await mkdtemp(join(tmpdir(), PREFIX));
  await writeFile(join(root, 'owner'), String(process.pid));
  const programs = new Set<Program>();
  const mount = join(root, 'disk');
  let disk: Promise<{ cluster: Cluster; directory: string }> | undefined;
  let cluster: Cluster | undefined;
  const close = async () => {
    for (const program of programs) program.kill('SIGKILL');
    await Promise.all([...programs].map(({ ended }) => ended));
    await (await disk?.catch(() => undefined))?.cluster.close();
    await cluster?.close();
    await clear(root);
  };
  try {
    const noDisk = await tryDisk(mount);
    cluster = await startCluster(join(root, 'main'), { migrate });
    return {
      cluster,
      noDisk,
      disk() {
        disk ??= openDisk(mount);
        return disk;
      },
      start(args, environment) {
        const program = startProgram(args, environment);
        appendFileSync(join(root, 'programs'), `${program.pid}\n`);
        programs.add(program);
        void program.ended.then(() => programs.delete(program));
        return program;
      },
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}

async function openDisk(mount: string): Promise<{ cluster: Cluster; directory: string }> {
  await run('mount', ['-t', 'tmpfs', '-o', DISK, 'tmpfs', mount]);
  return { cluster: await startCluster(mount, { isSmall: true, migrate }), directory: mount };
}

async function migrate(url: string): Promise<void> {
  const { code, stderr } = await runProgram(['migrate'], { DATABASE_URL: url });
  if (code !== 0) throw new Error(`migrate ended with ${code}:\n${stderr}`);
}

/** Mounts and unmounts once; gives what the system said where it may not. */
async function tryDisk(mount: string): Promise<string | undefined> {
  await mkdir(mount);
  try {
    await run('mount', ['-t', 'tmpfs', '-o', DISK, 'tmpfs', mount]);
    await run('umount', [mount]);
    return undefined;
  } catch (error) {
    return (error as Error).message.trim().split('\n').at(-1);
  }
}

const run = promisify(execFile);

/** What a harness that was killed left: its programs, servers, mounts and directories. */
async function removeLeftovers(): Promise<void> {
  for (const name of await readdir(tmpdir())) {
    if (!name.startsWith(PREFIX)) continue;
    const root = join(tmpdir(), name);
    // Of another user it is none of ours, whatever its files say.
    if ((await stat(root).catch(() => undefined))?.uid !== process.getuid?.()) continue;
    const owner = Number(await readFile(join(root, 'owner'), 'utf8').catch(() => '0'));
    if (owner && /torture|jest/.test(await commandLineOf(owner))) continue;
    await clear(root);
  }
}

async function clear(root: string): Promise<void> {
  const pids = await readFile(join(root, 'programs'), 'utf8').catch(() => '');
  for (const pid of pids.split('\n').filter(Boolean).map(Number)) {
    // The number may be another process's by now.
    if (/dist\/main\.js/.test(await commandLineOf(pid))) process.kill(pid, 'SIGKILL');
  }
  for (const place of ['main', 'disk']) {
    const cluster = join(root, place, 'cluster');
    const postmaster = await findPostmaster(cluster).catch(() => undefined);
    if (postmaster) process.kill(postmaster.pid, 'SIGQUIT');
    for (let tries = 0; tries < 50 && (await findPostmaster(cluster).catch(() => undefined)); tries++)
      await new Promise((resolve) => setTimeout(resolve, 100));
  }
  // Lazily, because a server that just ended may still be leaving.
  await run('umount', ['-l', join(root, 'disk')]).catch(() => {});
  await rm(root, { recursive: true, force: true });
}

async function commandLineOf(pid: number): Promise<string> {
  return readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '');
}
