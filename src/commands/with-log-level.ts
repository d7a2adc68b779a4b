import type { CommandContext } from '../app.ts';
import { loadEnvironment } from '../config/config.ts';

/**
 * The context with the log at `level` unless one is set: the result should not be mixed with lines about a database
 * that starts and stops. Throws `configuration` for a file that cannot be read.
 */
export function withLogLevel(
  context: CommandContext,
  envFile: string | undefined,
  level: 'warn' | 'error',
): CommandContext {
  const environment = loadEnvironment(envFile === undefined ? {} : { envFile }, context.environment);
  return { ...context, environment: { ...environment, LOG_LEVEL: environment.LOG_LEVEL || level } };
}

/** The same where a person looks on: they get the result and a bar, and no line of the log that says it again. */
export function withLogLevelForTerminal(
  context: CommandContext,
  envFile: string | undefined,
): CommandContext {
  const hasPerson = process.stdout.isTTY === true && process.stderr.isTTY === true;
  return hasPerson ? withLogLevel(context, envFile, 'warn') : context;
}
