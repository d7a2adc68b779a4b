import type { RunRecord } from '../../postgres/read/status.ts';

/** What one or more runs had to say. */
interface RunNote {
  runIds: string[];
  text: string;
  isError: boolean;
}

/**
 * The errors and warnings of runs, each text once, in the runs' order: an outage fails many runs in the same words.
 * What stands in one of `told` already is left out.
 */
export function noteRuns(runs: readonly RunRecord[], told: readonly string[]): RunNote[] {
  const notes = new Map<string, RunNote>();
  for (const { runId, error, warnings } of runs) {
    for (const text of new Set([...(error === null ? [] : [error]), ...warnings])) {
      const note = notes.get(text) ?? { runIds: [], text, isError: text === error };
      note.runIds.push(runId);
      notes.set(text, note);
    }
  }
  return [...notes.values()].filter(({ text }) => !told.some((reason) => reason.includes(text)));
}

/** `Run 7`, or `Runs 9, 8 and 7`. */
export function nameRuns({ runIds }: RunNote): string {
  const last = runIds.at(-1)!;
  return runIds.length === 1 ? `Run ${last}` : `Runs ${runIds.slice(0, -1).join(', ')} and ${last}`;
}
