import { type Command, InvalidArgumentError } from 'commander';
import { parseTimeInput, type TimeInput } from '../calendar/time-input.ts';
import { openZone } from '../calendar/zone.ts';
import type { DatabaseConfig } from '../config/config.ts';
import { ExportError } from '../core/errors.ts';
import { formatTicks } from '../core/ticks.ts';
import type { Logger } from '../log.ts';

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

/** For the help of an option. */
export const TIME_FORMS =
  'Times: 2026-01-31, 2026-01 (its first day), today or yesterday mean midnight in EXPORT_TIMEZONE (UTC unless set); ' +
  '7d, 12h, 30m or 2w mean that long before now; 2026-01-31T08:00:00Z needs an offset or Z.';

export interface RangeOptions {
  from?: TimeInput;
  to?: TimeInput;
}

/** A half-open range in ticks. */
export interface Range {
  from: bigint | undefined;
  to: bigint | undefined;
  /** `from` was given as a duration before now: another call means another instant by the same words. */
  isFromBeforeNow: boolean;
}

export function withRange(command: Command): Command {
  return command
    .option('--from <time>', 'oldest time to read (inclusive): 2026-01-31, yesterday, 7d', parseTime)
    .option('--to <time>', 'newest time to read (exclusive)', parseTime);
}

/** Resolves the times by the clock and EXPORT_TIMEZONE. Throws `configuration` for an empty range. */
export function resolveRange({ from, to }: RangeOptions, { timezone }: DatabaseConfig['export']): Range {
  const [now, zone] = [Date.now(), openZone(timezone)];
  const range = {
    from: from?.resolve(now, zone),
    to: to?.resolve(now, zone),
    isFromBeforeNow: from?.isBeforeNow ?? false,
  };
  if (range.from === undefined || range.to === undefined || range.from < range.to) return range;
  throw new ExportError(
    'configuration',
    `--from must be earlier than --to: the range is half-open, [from, to), and from ${formatTicks(range.from)} to ` +
      `${formatTicks(range.to)} it contains nothing.`,
  );
}

/** Logs what the words of a range mean. */
export function logRange({ from, to }: Range, log: Logger): void {
  if (from === undefined && to === undefined) return;
  const shown = { from: from && formatTicks(from), to: to && formatTicks(to) };
  log.info(shown, 'only events of this range are read');
}

/** Parses a time on the command line. */
export function parseTime(text: string): TimeInput {
  const input = parseTimeInput(text);
  if (input) return input;
  throw new InvalidArgumentError(
    'Expected a date like 2026-01-31, a time like 2026-01-31T08:00:00Z, a time before now like 7d or 12h, today or yesterday.',
  );
}

/** Parses a whole number on the command line, 1 or more. */
export function parseCount(text: string): number {
  if (!/^[1-9]\d{0,8}$/.test(text)) throw new InvalidArgumentError('Expected a whole number, 1 or more.');
  return Number(text);
}
