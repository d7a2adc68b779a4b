import { createRequire } from 'node:module';
import { types } from 'node:util';
import pino from 'pino';
import { standardError } from './stdio.ts';
import { createRedactor, type Redactor, redactJsonLine } from './text/redaction.ts';

export type Logger = pino.Logger;

export interface LogOptions {
  level: pino.LevelWithSilent;
  /** Values that no line may contain, in any common encoding; see `secretsOf` in config.ts. */
  secrets?: Iterable<string>;
  /** Replaces `secrets` if the redactor is shared, for example to add a new token to it. */
  redactor?: Redactor;
  /** Receives whole lines, one per call. Default: standard error, since standard output is for results. */
  destination?: pino.DestinationStream;
  /** Readable lines instead of JSON. Default: true if the destination is standard error and that is a terminal. */
  pretty?: boolean;
  /** Colours in pretty lines. Default: true unless NO_COLOR is set. */
  colours?: boolean;
}

const mark = '[redacted]';
const maxDepth = 8;
const maxCauses = 10;
const structure = ['level', 'time', 'pid', 'hostname'];
const secretNames = [
  'authorization',
  'Authorization',
  'headers',
  'cookie',
  'token',
  'password',
  'secret',
  'client_secret',
  'clientSecret',
  'access_token',
  'accessToken',
  'refresh_token',
  'refreshToken',
];
const secretName =
  /^((proxy)?authorization|headers|(set)?cookie|pass(word|wd)?|(client)?secret|(access|refresh|id)?token|apikey)$/;

/**
 * Creates a logger that writes each line synchronously, so that the last one is not lost at exit. A line that cannot be written is
 * dropped and counted (see stdio.ts): no call throws or blocks, and results never depend on the log. Secrets are redacted by field
 * name at any depth, and by value in every finished line. Bigints are written as strings; errors as type, message, code, stack and
 * the messages of their causes, never with their request.
 */
export function createLog(options: LogOptions): Logger {
  const { destination = standardError() } = options;
  const { pretty = options.destination === undefined && process.stderr.isTTY === true } = options;
  const { colours = !process.env.NO_COLOR } = options;
  const redactor = options.redactor ?? createRedactor(options.secrets);
  const asPretty = pretty ? loadPretty(colours) : undefined;
  const render = (line: string) => {
    const safe = redactJsonLine(line.trimEnd(), redactor, structure);
    return asPretty ? asPretty(safe) : `${safe}\n`;
  };
  if (options.destination === undefined) {
    standardError().describeDropped = (lines, reason) => render(describeDropped(lines, reason));
  }
  return pino(
    {
      level: options.level,
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: {
        level: (label) => ({ level: label }),
        log: (fields) => toLoggable(fields) as Record<string, unknown>,
      },
      // These two also apply to the bindings of child loggers, which pino does not pass through formatters.log.
      serializers: { err: (error: unknown) => toLoggable(error) },
      redact: {
        paths: secretNames.flatMap((name) => [name, `*.${name}`, `*.*.${name}`]),
        censor: mark,
      },
    },
    { write: (line: string) => destination.write(render(line)) },
  );
}

/** Renders a log line that is written at any log level, since it replaces lines that passed the level. */
function describeDropped(dropped: number, reason: string): string {
  const time = new Date().toISOString();
  const msg = `${dropped} log lines before this one were dropped: ${reason}`;
  return JSON.stringify({ level: 'warn', time, pid: process.pid, dropped, msg });
}

/** Loads pino-pretty on demand: it is a seventh of all modules at start. */
function loadPretty(colours: boolean): (line: string) => string {
  const { prettyFactory } = createRequire(import.meta.url)('pino-pretty') as typeof import('pino-pretty');
  const format = prettyFactory({
    colorize: colours,
    ignore: 'pid,hostname',
    translateTime: false,
    singleLine: true,
  });
  return (line) => format(forPeople(JSON.parse(line)));
}

/** One line: the message of a run's end says what its many fields say. */
function forPeople({ msg, ...fields }: Record<string, unknown>): object {
  const { level, time, err } = fields;
  const shown = 'outcome' in fields ? { level, time, ...(err === undefined ? {} : { err }) } : fields;
  return typeof msg === 'string' ? { ...shown, msg: msg.replace(/\s*\n\s*/g, ' ') } : shown;
}

/** Returns a copy that JSON can represent, with the fields redacted whose names denote secrets. */
function toLoggable(value: unknown, within: readonly object[] = []): unknown {
  if (typeof value === 'bigint') return value.toString();
  if (typeof value !== 'object' || value === null) return value;
  if (isError(value)) return describeError(value);
  if (ArrayBuffer.isView(value)) return `[${value.byteLength} bytes]`;
  if (within.includes(value)) return '[circular]';
  if (within.length >= maxDepth) return '[nested too deeply]';
  const inside = [...within, value];
  if (Array.isArray(value)) return value.map((item) => toLoggable(item, inside));
  if ('toJSON' in value && typeof value.toJSON === 'function') return toLoggable(value.toJSON(), inside);
  const entries = Object.entries(value).map(([name, item]) => [
    name,
    isSecret(name, item) ? mark : toLoggable(item, inside),
  ]);
  return Object.fromEntries(entries);
}

function isSecret(name: string, value: unknown): boolean {
  const isEmpty = value === undefined || value === null || typeof value === 'boolean';
  return !isEmpty && secretName.test(name.replace(/[-_]/g, '').toLowerCase());
}

function describeError(error: Error): Record<string, unknown> {
  const causes = causesOf(error);
  return {
    type: error.name,
    message: error.message,
    code: codeOf(error),
    stack: error.stack,
    ...(causes.length > 0 && { causes }),
  };
}

/** Returns one text for each cause, nearest first. A cause that is not an error gives its text or its type. */
function causesOf(error: Error): string[] {
  const found: Error[] = [];
  const texts: string[] = [];
  const visit = (cause: unknown) => {
    if (cause === undefined || texts.length >= maxCauses || found.includes(cause as Error)) return;
    if (!isError(cause)) {
      texts.push(typeof cause === 'object' ? 'a cause that is not an error' : String(cause));
      return;
    }
    const code = codeOf(cause);
    texts.push(`${cause.name}: ${cause.message}${code === undefined ? '' : ` (${code})`}`);
    follow(cause);
  };
  const follow = (from: Error) => {
    found.push(from);
    // If all addresses of a host fail, Node throws an AggregateError with an empty message.
    if ('errors' in from && Array.isArray(from.errors)) for (const part of from.errors) visit(part);
    visit(from.cause);
  };
  follow(error);
  return texts;
}

/** Also true for an error of another realm, such as Node's own errors inside jest. */
function isError(value: unknown): value is Error {
  return value instanceof Error || types.isNativeError(value);
}

function codeOf(error: Error): string | number | undefined {
  const { code } = error as { code?: unknown };
  return typeof code === 'string' || typeof code === 'number' ? code : undefined;
}
