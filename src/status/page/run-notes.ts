import type { RunRecord } from '../../postgres/read/status.ts';

/** An error or warning of one or more runs. */
export interface RunNote {
  runIds: string[];
  text: string;
  isError: boolean;
}

/**
 * Returns the errors and warnings of runs in their order, each text once: an outage fails many runs with the same message.
 * Leaves out texts that one of the `shown` reasons contains.
 */
export function noteRuns(runs: readonly RunRecord[], shown: readonly string[]): RunNote[] {
  const notes = new Map<string, RunNote>();
  for (const { runId, error, warnings } of runs) {
    for (const text of new Set([...(error === null ? [] : [error]), ...warnings])) {
      const note = notes.get(text) ?? { runIds: [], text, isError: text === error };
      note.runIds.push(runId);
      notes.set(text, note);
    }
  }
  return [...notes.values()].filter(({ text }) => !shown.some((reason) => reason.includes(text)));
}

/** `Run 7`, or `Runs 9, 8 and 7`. */
export function nameRuns({ runIds }: RunNote): string {
  const last = runIds.at(-1)!;
  return runIds.length === 1 ? `Run ${last}` : `Runs ${runIds.slice(0, -1).join(', ')} and ${last}`;
}
