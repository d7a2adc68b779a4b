/** How fast the loads were, and what they cost whom. */
import { cpus } from 'node:os';
import { type Load, type Loads, peakMegabytes, rates } from '../loads.ts';
import { formatNumber, formatSpread, type View } from '../present.ts';
import { type Spread, spreadOf } from '../statistics.ts';

export function viewsOfLoads(played: Loads): View[] {
  return [viewOfSpeed(played), viewOfCpu(played), viewOfCpuPerMillion(played)];
}

function viewOfSpeed(played: Loads): View {
  return {
    title: 'Backfill at zero latency: speed and memory',
    head: ['', 'rows', 'seconds', 'rows/s', 'peak MB of its process'],
    rows: Object.entries(played).map(([name, loads]) => [
      name,
      formatNumber(loads[0]!.rows),
      formatSpread(spreadOf(loads.map(({ seconds }) => seconds)), 2),
      formatSpread(spreadOf(rates(loads))),
      formatSpread(spreadOf(loads.map(peakMegabytes))),
    ]),
  };
}

type CpuOf = (load: Load) => number | undefined;

const PARTIES: Record<string, CpuOf> = {
  client: ({ client }) => client.cpuSeconds,
  simulator: ({ simulatorCpuSeconds }) => simulatorCpuSeconds,
  database: ({ databaseCpuSeconds }) => databaseCpuSeconds,
};

/** `undefined` where the database took part on another machine. */
function cpuOfAll(load: Load): number | undefined {
  const isPartUnknown = load.walBytes !== undefined && load.databaseCpuSeconds === undefined;
  if (isPartUnknown) return undefined;
  return Object.values(PARTIES).reduce((sum, cpuOf) => sum + (cpuOf(load) ?? 0), 0);
}

/** As far as they could be measured: who takes part in a load and who does not is the same in all rounds. */
function spreadOfCpu(loads: readonly Load[], cpuOf: CpuOf): Spread | undefined {
  const known = loads.flatMap((load) => cpuOf(load) ?? []);
  return known.length === 0 ? undefined : spreadOf(known);
}

function viewOfCpu(played: Loads): View {
  return {
    title: 'The same: CPU seconds',
    head: ['', ...Object.keys(PARTIES)],
    rows: Object.entries(played).map(([name, loads]) => [
      name,
      ...Object.values(PARTIES).map((cpuOf) => showCpu(spreadOfCpu(loads, cpuOf))),
    ]),
  };
}

function viewOfCpuPerMillion(played: Loads): View {
  const perMillion = (cpuOf: CpuOf) => (load: Load) => {
    const cpu = cpuOf(load);
    return cpu === undefined ? undefined : (cpu / load.rows) * 1e6;
  };
  return {
    title: `The same: CPU seconds a million rows; the machine has ${cpus().length} a second`,
    head: ['', ...Object.keys(PARTIES), 'all'],
    rows: Object.entries(played).map(([name, loads]) => [
      name,
      ...[...Object.values(PARTIES), cpuOfAll].map((cpuOf) => showCpu(spreadOfCpu(loads, perMillion(cpuOf)))),
    ]),
  };
}

function showCpu(spread: Spread | undefined): string | undefined {
  return spread && formatSpread(spread, 1);
}
