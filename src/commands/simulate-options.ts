import { readFileSync } from 'node:fs';
import { InvalidArgumentError } from 'commander';
import { openZone } from '../calendar/zone.ts';
import { ExportError } from '../core/errors.ts';
import { dateOfTicks } from '../core/ticks.ts';
import { parseRecording } from '../recording/format.ts';
import { FAULT_NAMES, type FaultRule, parseFaultRule } from '../simulator/faults.ts';
import { createReplay, type Replay } from '../simulator/replay.ts';
import { nearest } from '../text/suggest.ts';
import { parseTime } from './options.ts';

/** The parsed options of `simulate`. Rates are rows per list request, except those per minute. */
export interface SimulateOptions {
  host: string;
  port: number;
  organization: string;
  events: number;
  seed: number;
  startAt?: Date;
  appendsPerMinute: number;
  latePerMinute: number;
  hostile?: boolean;
  pageCap?: number[];
  detailsBytes: number;
  latency: number | [number, number];
  shuffleTies?: boolean;
  ignoreSortOrder?: boolean;
  gzip?: boolean;
  prerender?: boolean;
  appendRate: number;
  lateRate: number;
  deleteHeadRate: number;
  deleteMiddleRate: number;
  tokenLife: number;
  fault: FaultRule[];
  replay?: string;
  json?: boolean;
}

const LAST_PORT = 65_535;

export function parseWhole(text: string): number {
  if (!/^\d{1,15}$/.test(text)) throw new InvalidArgumentError('Expected a whole number of 0 or more.');
  return Number(text);
}

/** Reads the file of a recording. Throws `configuration`. */
export function readReplay(path: string): Replay {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException;
    throw new ExportError('configuration', `Cannot read the recording ${path}: ${code ?? message}.`, {
      cause,
    });
  }
  return createReplay(parseRecording(text, path));
}

export function parsePort(text: string): number {
  if (!/^\d{1,5}$/.test(text) || Number(text) > LAST_PORT) {
    throw new InvalidArgumentError(`Expected a port from 0 to ${LAST_PORT}, for example 8090.`);
  }
  return Number(text);
}

export function parseHost(text: string): string {
  if (!/^[\w.:-]+$/.test(text)) {
    throw new InvalidArgumentError('Expected a host name or address, for example 127.0.0.1, 0.0.0.0 or ::1.');
  }
  return text;
}

export function parseRate(text: string): number {
  if (!/^\d+(\.\d+)?$/.test(text)) {
    throw new InvalidArgumentError('Expected a number of 0 or more, for example 60 or 0.5.');
  }
  return Number(text);
}

export function parseCaps(text: string): number[] {
  if (!/^[1-9]\d{0,14}(,[1-9]\d{0,14})*$/.test(text)) {
    throw new InvalidArgumentError(
      'Expected a whole number of 1 or more, or a list of them, for example 50,10.',
    );
  }
  return text.split(',').map(Number);
}

export function parseLatency(text: string): number | [number, number] {
  const match = /^(\d+(?:\.\d+)?)(?:-(\d+(?:\.\d+)?))?$/.exec(text);
  if (!match)
    throw new InvalidArgumentError('Expected milliseconds or a range of them, for example 100 or 50-200.');
  const [, from, to] = match;
  return to === undefined ? Number(from) : [Number(from), Number(to)];
}

/** Parses a time by the clock and UTC. */
export function parseStart(text: string): Date {
  return dateOfTicks(parseTime(text).resolve(Date.now(), openZone('UTC')));
}

export function parseFault(text: string, before: FaultRule[]): FaultRule[] {
  try {
    return [...before, parseFaultRule(text)];
  } catch (error) {
    const meant = nearest(text.split(':')[0]!, FAULT_NAMES);
    const isMistyped = meant !== undefined && !text.startsWith(meant) && !/^\d/.test(text);
    const suggestion = isMistyped ? ` Did you mean ${meant}?` : '';
    throw new InvalidArgumentError(`${(error as Error).message}.${suggestion}`);
  }
}
