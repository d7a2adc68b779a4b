/** `npm run bench`: sections one after another, each with its tables as soon as it is done, and all figures as JSON. */
import { mkdir, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { CommanderError } from 'commander';
import { describeMachine, readLoad, sayMachine } from './machine.ts';
import { createProgram, type Options } from './options.ts';
import { renderView, type Target, viewOfTargets } from './present.ts';
import { openScene, type Scene } from './scene.ts';
import type { Findings, Section } from './section.ts';
import { backfillSection } from './sections/backfill.ts';
import { biSection } from './sections/bi.ts';
import { changesSection } from './sections/changes.ts';
import { completenessSection } from './sections/completeness.ts';
import { footprintSection } from './sections/footprint.ts';
import { growthSection } from './sections/growth.ts';
import { indexesSection } from './sections/indexes.ts';
import { largeSection } from './sections/large.ts';
import { latencySection } from './sections/latency.ts';
import { ledgerSection } from './sections/ledger.ts';
import { memorySection } from './sections/memory.ts';
import { migrationSection } from './sections/migration.ts';
import { organizationsSection } from './sections/organizations.ts';
import { partitionsSection } from './sections/partitions.ts';
import { quietSection } from './sections/quiet.ts';
import { rereadSection } from './sections/reread.ts';
import { rollupSection } from './sections/rollup.ts';
import { runHistorySection } from './sections/run-history.ts';
import { tamperingSection } from './sections/tampering.ts';
import { toolsSection } from './sections/tools.ts';
import { verifySection } from './sections/verify.ts';

const STANDARD: Section[] = [
  ...[backfillSection, latencySection, rereadSection, verifySection],
  ...[growthSection, quietSection, completenessSection, rollupSection, biSection, toolsSection],
  ...[changesSection, footprintSection],
];
/** Played only when they are named. */
const EXTRA: Section[] = [
  memorySection,
  ledgerSection,
  tamperingSection,
  organizationsSection,
  migrationSection,
  partitionsSection,
  runHistorySection,
  indexesSection,
  largeSection,
];

const names = (sections: readonly Section[]) => sections.map(({ name }) => name);
await createProgram({ standard: names(STANDARD), extra: names(EXTRA) }, bench)
  .parseAsync()
  .catch((error) => {
    if (!(error instanceof CommanderError)) throw error;
    process.exitCode = error.exitCode === 0 ? 0 : 2;
  });

async function bench(options: Options): Promise<void> {
  const loadAtStart = readLoad();
  const startedAt = performance.now();
  const report = (line: string) => {
    const seconds = (performance.now() - startedAt) / 1000;
    process.stderr.write(`${seconds.toFixed(0).padStart(5)} s  ${line}\n`);
  };
  const stopped = stopOnSignals();
  // A reader that has seen enough, as `head`, must not leave a server behind.
  process.stdout.on('error', () => {});
  let scene: Scene | undefined;
  try {
    scene = await openScene(options, report);
    // Not the sections' end: closing the scene ends what they wait for.
    const all = measureAll(scene, loadAtStart);
    all.catch(() => {});
    await Promise.race([all, aborted(stopped)]);
  } catch (error) {
    process.stderr.write(`bench: ${(error as Error).message}\n`);
    process.exitCode = 1;
  } finally {
    await scene?.close();
  }
  if (stopped.aborted) process.exit(130);
}

async function measureAll(scene: Scene, loadAtStart: number): Promise<void> {
  const { options } = scene;
  const machine = await describeMachine(scene.server, loadAtStart);
  say(sayMachine(machine));
  const found: Record<string, Findings> = {};
  for (const { name, measure } of [...STANDARD, ...EXTRA].filter(({ name }) => options.only.includes(name))) {
    scene.report(`--- ${name}`);
    found[name] = await measure(scene);
    sayFindings(found[name]);
  }
  const targets: Target[] = Object.values(found).flatMap((findings) => findings.targets);
  if (targets.length > 0) say(renderView(viewOfTargets(targets, options)));
  await writeJson(options.json, { machine, options, sections: found });
  scene.report(`all figures are in ${options.json}`);
}

function sayFindings({ views, notes }: Findings): void {
  for (const view of views) say(renderView(view));
  if (notes.length > 0) say(notes.join('\n'));
}

function say(text: string): void {
  process.stdout.write(`${text}\n\n`);
}

async function writeJson(file: string, value: unknown): Promise<void> {
  await mkdir(dirname(file), { recursive: true });
  await writeFile(file, `${JSON.stringify(value, null, 2)}\n`);
}

/** The first signal ends the bench and what it started; the second one ends it at once. */
function stopOnSignals(): AbortSignal {
  const controller = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => controller.abort());
  return controller.signal;
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });
}
