import { type Command, InvalidArgumentError } from 'commander';
import { ExportError } from '../core/errors.ts';
import { parseTicks } from '../core/ticks.ts';

export interface CommonOptions {
  envFile?: string;
  json?: boolean;
  organization?: string;
}

/** An option of every command. */
export function withEnvFile(command: Command): Command {
  return command.option('--env-file <path>', 'read variables from this file instead of .env');
}

/** An option of the commands that can work on several organizations. */
export function withOrganization(command: Command): Command {
  return command.option('--organization <name>', 'only this one of several organizations');
}

export function withJson(command: Command): Command {
  return command.option('--json', 'print the result as JSON');
}

export interface RangeOptions {
  /** Ticks. */
  from?: bigint;
  to?: bigint;
}

export function withRange(command: Command): Command {
  return command
    .option('--from <time>', 'oldest time to read (inclusive)', parseTime)
    .option('--to <time>', 'newest time to read (exclusive)', parseTime);
}

/** Throws `configuration` for an empty range. */
export function assertRange({ from, to }: RangeOptions): void {
  if (from === undefined || to === undefined || from < to) return;
  throw new ExportError(
    'configuration',
    '--from must be earlier than --to: the range is half-open, [from, to).',
  );
}

/** Parses a time on the command line to ticks: a date (midnight UTC) or an RFC 3339 time with its offset. */
export function parseTime(text: string): bigint {
  const ticks = parseTicks(/^\d{4}-\d\d-\d\d$/.test(text) ? `${text}T00:00:00Z` : text);
  if (ticks === undefined) {
    throw new InvalidArgumentError('Expected a date like 2026-01-31 or a time like 2026-01-31T08:00:00Z.');
  }
  return ticks;
}

/** Parses a whole number on the command line, 1 or more. */
export function parseCount(text: string): number {
  if (!/^[1-9]\d{0,8}$/.test(text)) throw new InvalidArgumentError('Expected a whole number, 1 or more.');
  return Number(text);
}
